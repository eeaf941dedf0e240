"""Options that several commands share, so that each means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imer.core.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Show where in the code an error came from.")]
LogFile = Annotated[Path | None, typer.Option("--log-file", help="Append every message to this JSON-lines file.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random choice.")]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or cuda:<index>. auto: CUDA where there is one.")
]
Features = Annotated[Path, typer.Argument(metavar="FEATURES.h5", help="A feature store, from `imer extract`.")]
Window = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Cut clips without a timed transcript into windows so long.")
]
Channels = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="Who is on each channel of the sound, such as agent,customer: each is heard by themselves.",
    ),
]
Whole = Annotated[
    bool, typer.Option("--whole", help="Clips are not cut at the cues of a timed transcript beside them.")
]


def words(text: str | None) -> tuple[str, ...]:
    """Return what a list with commas names, each once and no empty ones."""
    return tuple(dict.fromkeys(word.strip() for word in (text or "").split(",") if word.strip()))


def check_count(option: str, value: int | None) -> None:
    """Refuse a number of things below 1."""
    if value is not None and value < 1:
        raise UsageError(f"{option} is at least 1, but {value} was given.")


def names(text: str | None) -> tuple[str, ...]:
    """Return the names of an option that takes several, such as agent,customer; none where it is not given."""
    return () if text is None else tuple(name.strip() for name in text.split(","))
