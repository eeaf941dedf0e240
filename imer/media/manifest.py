"""Read a manifest: CSV, TSV or JSONL, one row an utterance.

Columns: `utterance_id` (required), `media` or (`audio`, `visual`) paths relative to the manifest, `audio_channel` (left,
right or a number from 1; without it the mean of all), `start`, `end` (seconds), `text`, `dialogue_id`, `position`,
`speaker`, `session`, `split` (train|val|test). Every other column is kept as a label. An absent cell means that the
modality is absent for that utterance: data, not an error.

A fault of the whole file (no such file, no header, no rows) is an error; a broken row is reported with its line, and
every other row is used.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput, did_you_mean, listed
from imer.core.types import SPLITS, Utterance
from imer.media.positions import with_positions
from imer.media.tables import Row, table_rows

COLUMNS = (
    "utterance_id", "media", "audio", "visual", "audio_channel", "start", "end", "text", "dialogue_id", "position",
    "speaker", "session", "split",
)  # fmt: skip
DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
MAX_ID_BYTES = 512
MAX_CHANNELS = 1024
MAX_POSITION = 2**53  # the whole numbers that are exact
# How R, pandas, databases and spreadsheets spell an empty cell. It means what an empty cell means, but in `utterance_id`.
NOT_AVAILABLE = frozenset({"NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"})
_CHANNEL_WORDS = {"left": "1", "right": "2"}
_SPLIT_WORDS = {"valid": "val", "validation": "val", "dev": "val", "training": "train", "testing": "test"}


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


class _BadRow(Exception):
    """A row that cannot be used; its message becomes a RowProblem."""


def read_manifest(path: Path, *, allow_outside: bool = False) -> Manifest:
    """Read and check a manifest; media files are not opened.

    Paths may not leave the manifest's folder unless `allow_outside` is true.

    Raises
    ------
    InvalidInput
        The file is missing or unreadable, is not CSV, TSV or JSONL, has no `utterance_id` column, or has no rows.
    """
    path = Path(path)
    columns, rows = _read_rows(path)
    known = _known_names(columns)
    columns = [known.get(column, column) for column in columns]
    if "utterance_id" not in columns:
        near = did_you_mean("utterance_id", columns) if columns else "it has no columns"
        raise InvalidInput(f"{path} has no column utterance_id, which every manifest needs; {near}")
    if too_long := [column for column in columns if len(column.encode(errors="replace")) > MAX_ID_BYTES]:
        raise InvalidInput(
            f"{path}: the column name {too_long[0][:40]}… is longer than {MAX_ID_BYTES} bytes; shorten it."
        )
    utterances: list[Utterance] = []
    problems: list[RowProblem] = []
    seen: dict[str, int] = {}
    numbers: dict[str, int | None] = {}
    n_rows = 0
    places = _Places(path.parent.resolve(), allow_outside)
    for line, cells in rows:
        name = ""
        try:
            if isinstance(cells, str):
                raise _BadRow(cells)
            cells = {known.get(column, column): value for column, value in cells.items()}
            name = cells.get("utterance_id", "").strip()
            utterance, number = _utterance(cells, line, n_rows, places)
            if name in seen:
                raise _BadRow(f"utterance_id {name!r} is used already on line {seen[name]}")
            seen[name], numbers[name] = line, number
            utterances.append(utterance)
        except _BadRow as problem:
            problems.append(RowProblem(line, name, str(problem)))
        n_rows += 1
    if not n_rows:
        raise InvalidInput(f"{path} has a header but no rows: there is no utterance to work on.")
    if not utterances:
        raise InvalidInput(f"{path} has no usable row ({len(problems)} are broken): {listed(problems, 3)}.")
    return Manifest(path, with_positions(utterances, numbers), tuple(problems), tuple(columns), n_rows)


def _known_names(columns: list[str]) -> dict[str, str]:
    """Return the columns that are ours but for their capitals: `Utterance_ID` → `utterance_id`."""
    mine = {column: column.lower() for column in columns if column not in COLUMNS and column.lower() in COLUMNS}
    spelt = list(mine.values())
    return {column: name for column, name in mine.items() if name not in columns and spelt.count(name) == 1}


def _read_rows(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Return the column names and an iterator over the rows."""
    suffix = path.suffix.lower()
    if suffix not in DELIMITERS and suffix not in JSON_LINES:
        raise InvalidInput(
            f"{path} is not a manifest: expected a .csv, .tsv or .jsonl file, found {suffix or 'no suffix'}."
        )
    if not path.is_file():
        raise InvalidInput(f"The manifest {path} does not exist or is not a file.")
    try:
        content = path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InvalidInput(f"{path} is UTF-16 text, as Excel's 'Unicode Text'; save it as 'CSV UTF-8'.")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"The manifest {path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidInput(
            f"{path} is not UTF-8 text (line {line}); save it as UTF-8 (in Excel: CSV UTF-8)."
        ) from error
    if not text.strip():
        raise InvalidInput(f"The manifest {path} is empty.")
    return _json_rows(text) if suffix in JSON_LINES else table_rows(text, DELIMITERS[suffix], path, "utterance_id")


def _json_rows(text: str) -> tuple[list[str], Iterator[Row]]:
    parsed: list[Row] = []
    columns: dict[str, None] = {}
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content, object_pairs_hook=_without_repeats)
            if not isinstance(record, dict):
                raise ValueError("not an object")
            cells = {str(key): _as_cell(value) for key, value in record.items()}
        except (ValueError, RecursionError) as error:
            parsed.append((line, f"not a JSON object ({error})"))
            continue
        columns.update(dict.fromkeys(cells))
        parsed.append((line, cells))
    return list(columns), iter(parsed)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{listed(sorted({name for name in names if names.count(name) > 1}))} is named more than once")
    return record


def _as_cell(value: Any) -> str:
    if value is None or value != value:  # null, or NaN, which is how pandas writes an empty cell
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _utterance(cells: dict[str, str], line: int, row: int, places: _Places) -> tuple[Utterance, int | None]:
    """Check one row; return its utterance, and what it says of its place in its dialogue, which `with_positions` decides.

    The values of its own columns are stripped; a text is kept as written.
    """
    stripped = {column: value.strip() for column, value in cells.items()}
    stripped |= {column: "" for column, value in stripped.items() if _is_empty(column, value)}

    def cell(column: str) -> str:
        return stripped.get(column, "")

    name = cell("utterance_id")
    if not name:
        raise _BadRow("utterance_id is empty")
    whole = "\n".join(cells.values())
    if "\x00" in whole or not encodable(whole):
        raise _BadRow(f"{name!a}: a cell holds a NUL character or half of a surrogate pair")
    for column in ("utterance_id", "dialogue_id", "speaker", "session"):
        if len(cell(column).encode(errors="replace")) > MAX_ID_BYTES:
            raise _BadRow(f"{name[:40]}…: {column} is longer than {MAX_ID_BYTES} bytes")
    start_s, end_s = _seconds(cell("start"), "start", name), _seconds(cell("end"), "end", name)
    if end_s is not None and end_s <= (start_s or 0.0):
        raise _BadRow(f"{name}: end {end_s:g} s is not after start {start_s or 0.0:g} s")
    media = places.path(cell("media"), "media", name)
    split = _SPLIT_WORDS.get(cell("split").lower(), cell("split").lower())
    if split and split not in SPLITS:
        raise _BadRow(f"{name}: split {cell('split')!r} is not one of {', '.join(SPLITS)}")
    labels = {column: value for column, value in stripped.items() if column and column not in COLUMNS}
    sentiment = labels.get("sentiment", "")
    if sentiment and _parsed(float, sentiment) is None:
        raise _BadRow(f"{name}: sentiment {sentiment!r} is not a number{_with_a_point(sentiment)}")
    number = _position(cell("position"), name)
    utterance = Utterance(
        utterance_id=name,
        dialogue_id=cell("dialogue_id") or name,
        position=0,
        line=line,
        row=row,
        speaker=cell("speaker"),
        session=cell("session"),
        split=split,
        audio=places.path(cell("audio"), "audio", name) or media,
        visual=places.path(cell("visual"), "visual", name) or media,
        start_s=start_s,
        end_s=end_s,
        channel=_channel(cell("audio_channel"), name),
        text=cells["text"] if cell("text") else ("" if "text" in cells else None),
        labels=labels,
    )
    return utterance, number


def _is_empty(column: str, value: str) -> bool:
    """Say whether a cell stands for an empty one. A time that is not a number is a mistake of whoever computed it."""
    if column == "utterance_id" or (column in ("start", "end") and value.lower() == "nan"):
        return False
    return value in NOT_AVAILABLE


def encodable(text: str) -> bool:
    """Say whether the text has a UTF-8 form (half of a surrogate pair, as JSON may spell one, has none)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parsed(kind: Callable[[str], Any], text: str) -> Any | None:
    """Return the number, or None where the text is none (`1_000` neither, which Python would read), or not finite."""
    try:
        value = math.nan if "_" in text else kind(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _with_a_point(text: str) -> str:
    """Say how to write a number whose decimal sign is a comma, as spreadsheets write it in many countries."""
    return "; write it with a decimal point" if _parsed(float, text.replace(",", ".", 1)) is not None else ""


def _seconds(text: str, column: str, name: str) -> float | None:
    if not text:
        return None
    value = _parsed(float, text)
    if value is None or value < 0:
        raise _BadRow(f"{name}: {column} {text!r} is not a time in seconds{_with_a_point(text)}")
    return float(value)


def _channel(text: str, name: str) -> int | None:
    if not text:
        return None
    number = _parsed(float, _CHANNEL_WORDS.get(text.lower(), text))
    if number is None or not number.is_integer() or not 1 <= number <= MAX_CHANNELS:
        raise _BadRow(f"{name}: audio_channel {text!r} is not left, right or a number from 1")
    return int(number)


def _position(text: str, name: str) -> int | None:
    if not text:
        return None
    value = _parsed(float, text)
    if value is None or value != int(value) or abs(value) > MAX_POSITION:
        raise _BadRow(f"{name}: position {text!r} is not a whole number")
    return int(value)


class _Places:
    """Paths of the manifest, which may name local files below its folder only; each is followed once."""

    def __init__(self, root: Path, allow_outside: bool) -> None:
        self._root, self._allow_outside = root, allow_outside
        self._known: dict[str, Path] = {}

    def path(self, text: str, column: str, name: str) -> Path | None:
        """Return the path that a cell names, or None for an empty one."""
        if not text:
            return None
        if text not in self._known:
            self._known[text] = self._checked(text, column, name)
        return self._known[text]

    def _checked(self, text: str, column: str, name: str) -> Path:
        if "://" in text or text.startswith(("concat:", "subfile:", "data:", "file:", "pipe:", "crypto:")):
            raise _BadRow(f"{name}: {column} {text!r} is a URL or protocol; only local files are read")
        path = self._root / text
        try:
            inside = self._allow_outside or path.resolve().is_relative_to(self._root)
        except (OSError, RuntimeError) as error:  # Python tells of a circle of links by a RuntimeError
            raise _BadRow(f"{name}: {column} {text!r} cannot be followed ({error})") from None
        if not inside:
            raise _BadRow(
                f"{name}: {column} {text!r} lies outside the manifest's folder (allow it with --allow-outside)"
            )
        return path
