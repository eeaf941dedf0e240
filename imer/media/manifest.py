"""Read a manifest: CSV, TSV or JSONL, one row an utterance.

Columns: `utterance_id` (required), `media` or (`audio`, `visual`) paths relative to the manifest, `audio_channel` (left,
right or a number from 1; without it the mean of all), `start`, `end` (seconds, or clock times such as `0:01:02.5`), `text`,
`dialogue_id`, `position`, `speaker`, `session`, `split` (train|val|test). Every other column is kept as a label. An absent
cell means that the modality is absent for that utterance: data, not an error.

A fault of the whole file (no such file, no header, no rows) is an error; a broken row is reported with its line, and
every other row is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imer.core.errors import InvalidInput, listed
from imer.core.files import followed
from imer.core.types import Utterance
from imer.media.cells import COLUMNS, MAX_ID_BYTES, BadRow, Places, utterance_of
from imer.media.positions import with_positions
from imer.media.rows import known_names, read_rows


@dataclass(frozen=True)
class RowProblem:
    """A row that cannot be used, and why."""

    line: int
    utterance_id: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(frozen=True)
class Manifest:
    """What a manifest says: its usable utterances in order, its broken rows, its columns, its number of rows."""

    path: Path
    utterances: tuple[Utterance, ...]
    problems: tuple[RowProblem, ...]
    columns: tuple[str, ...]
    n_rows: int


def read_manifest(path: Path, *, allow_outside: bool = False) -> Manifest:
    """Read and check a manifest; media files are not opened.

    Paths may not leave the manifest's folder unless `allow_outside` is true.

    Raises
    ------
    InvalidInput
        The file is missing or unreadable, is not CSV, TSV or JSONL, has no `utterance_id` column, or has no rows.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    known = known_names(columns, COLUMNS)
    columns = [known.get(column, column) for column in columns]
    if "utterance_id" not in columns:
        raise InvalidInput(
            f"{path} has no column utterance_id, which every manifest needs; it has {listed(columns) or 'no columns'}."
        )
    if too_long := [column for column in columns if len(column.encode(errors="replace")) > MAX_ID_BYTES]:
        raise InvalidInput(
            f"{path}: the column name {too_long[0][:40]}… is longer than {MAX_ID_BYTES} bytes; shorten it."
        )
    utterances: list[Utterance] = []
    problems: list[RowProblem] = []
    seen: dict[str, int] = {}
    numbers: dict[str, int | None] = {}
    n_rows = 0
    places = Places(followed(path.parent), allow_outside)
    for line, cells in rows:
        name = ""
        try:
            if isinstance(cells, str):
                raise BadRow(cells)
            cells = {known.get(column, column): value for column, value in cells.items()}
            name = cells.get("utterance_id", "").strip()
            utterance, number = utterance_of(cells, line, n_rows, places)
            if name in seen:
                raise BadRow(f"utterance_id {name!r} is used already on line {seen[name]}")
            seen[name], numbers[name] = line, number
            utterances.append(utterance)
        except BadRow as problem:
            problems.append(RowProblem(line, name, str(problem)))
        n_rows += 1
    if not n_rows:
        raise InvalidInput(f"{path} has a header but no rows: there is no utterance to work on.")
    if not utterances:
        raise InvalidInput(f"{path} has no usable row ({len(problems)} are broken): {listed(problems, 3)}.")
    return Manifest(path, with_positions(utterances, numbers), tuple(problems), tuple(columns), n_rows)
