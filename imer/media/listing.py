"""Write a manifest of clips, to be filled in: who speaks, what is said, which part and which emotion."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from imer.core.errors import UsageError
from imer.core.files import published_file
from imer.core.types import Utterance
from imer.media.tables import csv_row

COLUMNS = (
    "utterance_id", "media", "start", "end", "text", "dialogue_id", "position", "speaker", "split", "emotion",
)  # fmt: skip


def write_listing(utterances: Sequence[Utterance], out: Path, *, overwrite: bool = False) -> int:
    """Write a CSV file with a row an utterance, media as seen from its folder; return how many media lie outside of that.

    Raises
    ------
    UsageError
        `out` has the suffix of another kind of file.
    OutputExists
        `out` exists and `overwrite` is false.
    """
    if out.suffix.lower() not in ("", ".csv"):
        raise UsageError(f"The manifest is written as CSV: give {out} the suffix .csv.")
    folder = out.resolve().parent
    rows: list[list[object]] = []
    outside = set()
    for u in utterances:
        media = "" if u.audio is None else os.path.relpath(Path(u.audio).resolve(), folder)
        if media.startswith(os.pardir + os.sep):
            outside.add(media)
        times = ["" if at is None else f"{at:.10g}" for at in (u.start_s, u.end_s)]
        rows.append([u.utterance_id, media, *times, u.text or "", u.dialogue_id, u.position, u.speaker, "", ""])
    with published_file(out, overwrite=overwrite) as part, open(part, "w", encoding="utf-8", newline="") as file:
        file.writelines(csv_row(row) for row in (COLUMNS, *rows))
    return len(outside)
