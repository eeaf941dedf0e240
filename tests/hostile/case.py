"""One hostile file: how it is made, its row of the manifest, and what must become of each modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.encode import Originals


@dataclass(frozen=True)
class World:
    """Where the corpus is made: clips to make it from, a folder that it must not reach, a port nobody may call."""

    originals: Originals
    outside: Path
    port: int

    @property
    def canary(self) -> Path:
        """A perfectly good clip outside the root; no file of the corpus may make anyone open it."""
        return self.outside / "canary.mkv"


Make = Callable[[Path, World], object]


@dataclass(frozen=True)
class Case:
    """`audio` and `visual` are a verdict, or a code of errors.jsonl; "A|B" where both are right.

    `path` is relative to the root. `row` overrides cells of the manifest's row. `fast`: also in the suite.
    """

    family: str
    path: str
    make: Make
    audio: str
    visual: str
    text: str = "empty_text"
    row: dict[str, str] = field(default_factory=dict)
    fast: bool = False

    @property
    def name(self) -> str:
        return f"{self.family}/{self.path}"

    @property
    def utterance_id(self) -> str:
        return self.row.get("utterance_id", self.name).strip()

    def accepts(self, modality: str, found: str) -> bool:
        return found in {"audio": self.audio, "visual": self.visual, "text": self.text}[modality].split("|")


def content(data: bytes) -> Make:
    """A file of these bytes."""
    return lambda path, _: path.write_bytes(data)


def nothing(path: Path, _: World) -> None:
    """A file that is not made."""
