"""Make the corpus: a root with everything in it, a manifest of all and one of the good clips, and a folder outside.

Everything comes from two seconds of a moving face and a voice that are drawn and encoded here, so the same files come
out every time. Nothing is fetched. The corpus takes about 80 MB on the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clips import write_manifest
from tests.hostile import damage, films, headers, places, pretenders, sounds
from tests.hostile.case import Case, World
from tests.hostile.encode import FORMATS, Originals, sound, write

# The good clips, which nothing around them may change: (utterance id, file, start, end).
GOOD = (
    ("good/first", "good/talk.mp4", "", ""),
    ("good/part", "good/talk.mkv", "0.5", "1.5"),
    *((f"good/{kind}", f"good/talk.{kind}", "", "") for kind in FORMATS if kind != "mp4"),
    ("good/last", "good/talk.mp4", "1", ""),
)
_LARGE = 100 << 20
FEW_GOOD = ("good/first", "good/part", "good/wav", "good/last")


def all_cases() -> list[Case]:
    return [
        *damage.cases(), *pretenders.cases(), *headers.cases(), *sounds.cases(), *films.cases(), *places.cases(),
    ]  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """A corpus on the disk."""

    base: Path
    cases: tuple[Case, ...]
    good: tuple[str, ...]
    world: World

    @property
    def root(self) -> Path:
        return self.base / "root"

    @property
    def manifest(self) -> Path:
        return self.root / "all.csv"

    @property
    def good_manifest(self) -> Path:
        return self.root / "good.csv"

    def files(self) -> Iterator[Path]:
        return (path for path in sorted(self.root.rglob("*")) if path.is_file() and not path.is_symlink())

    def digest(self) -> str:
        """A digest over the files: all but those that name this folder or port, and what is in very large ones."""
        whole = hashlib.sha256()
        for path in self.files():
            name = path.relative_to(self.root)
            if name.parts[0] != "playlist" and path.suffix != ".csv":
                whole.update(str(name).encode() + (path.read_bytes() if path.stat().st_size < _LARGE else b""))
        return whole.hexdigest()[:16]


def build(base: Path, port: int, cases: Sequence[Case], *, few_good: bool = False) -> Corpus:
    """Make the corpus under `base`; `port` is one that its playlists and addresses name."""
    world = World(Originals(base / "originals"), base / "outside", port)
    world.outside.mkdir(parents=True)
    write(world.canary, voice=sound(), audio_codec="flac")
    root = base / "root"
    (root / "good").mkdir(parents=True)
    good = [entry for entry in GOOD if not few_good or entry[0] in FEW_GOOD]
    for _, file, _, _ in good:
        (root / file).write_bytes(world.originals[file.rsplit(".", 1)[1]])
    good_rows = [
        {"utterance_id": name, "media": file, "start": start, "end": end, "text": f"This is {name}."}
        for name, file, start, end in good
    ]
    rows: list[dict[str, str]] = []
    every = max(len(cases) // len(good), 1)
    left = list(good_rows)
    for number, case in enumerate(cases):
        if number % every == 0 and left:
            rows.append(left.pop(0))
        path = root / case.family / case.path
        path.parent.mkdir(parents=True, exist_ok=True)
        case.make(path, world)
        rows.append(
            {"utterance_id": case.name, "media": f"{case.family}/{case.path}", "text": "", **_filled(case, world)}
        )
    corpus = Corpus(base, tuple(cases), tuple(name for name, *_ in good), world)
    write_manifest(corpus.manifest, [*rows, *left])
    with open(corpus.manifest, "a", encoding="utf-8") as file:
        file.write("too,few\r\n")
    write_manifest(corpus.good_manifest, good_rows)
    return corpus


def _filled(case: Case, world: World) -> dict[str, str]:
    filled = {"{port}": str(world.port), "{canary}": str(world.canary)}
    cells = dict(case.row)
    for mark, value in filled.items():
        cells = {column: cell.replace(mark, value) for column, cell in cells.items()}
    return cells
