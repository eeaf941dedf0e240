"""Tables of features (CSV, TSV), as OpenFace, Praat, R or pandas write them → a feature store.

The rows of a table belong to the utterances that its column `utterance_id` names; or a folder has a table for each utterance,
called by it (`<utterance_id>.csv`). One row for each utterance makes vectors; several are frames, in their order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imer.core.errors import InvalidInput, UsageError, counted, listed
from imer.core.files import followed
from imer.core.types import ARRAYS, Utterance
from imer.interop.incoming import Imported, Incoming, write_import
from imer.media.cells import NOT_AVAILABLE
from imer.media.columns import doubts
from imer.media.encoding import decoded
from imer.media.manifest import read_manifest
from imer.media.rows import DELIMITERS
from imer.media.tables import table_rows

KEY = "utterance_id"
TIMES = ("time_s", "timestamp")  # in seconds, of a frame: `imer` and OpenFace
NO_FEATURES = frozenset({KEY, "frame", "face_id", *TIMES})
REGULAR_SHARE = 0.01  # frames are as far apart as usual, if not by more than this share


@dataclass
class _Table:
    """What is read of the tables of one modality: the rows of each utterance."""

    names: tuple[str, ...] = ()
    rows: dict[str, list[np.ndarray]] = field(default_factory=dict)
    steps_s: list[float] = field(default_factory=list)  # from frame to frame
    left_out: tuple[str, ...] = ()
    unknown: Counter[str] = field(default_factory=Counter)  # utterances that the manifest does not have → rows


def import_csv(manifest_path: Path, tables: Mapping[str, Path], out: Path, *, overwrite: bool = False) -> Imported:
    """Write a store from a manifest and, for each modality, a table or a folder of tables.

    Columns that hold numbers are features; `frame`, `face_id` and times are not, nor is what holds words. An utterance
    without rows, or with rows of empty cells alone, does not have the modality.

    Raises
    ------
    UsageError
        No table is named.
    InvalidInput
        The manifest or a table cannot be used, tables of a folder differ in their columns, or none has a row for any
        utterance.
    """
    if not tables:
        raise UsageError("Name at least one table, such as --features audio=audio.csv.")
    manifest = read_manifest(manifest_path, allow_outside=True)  # its media are not opened
    notes = doubts(manifest.utterances, ())  # no media, no words: of dialogues
    if manifest.problems:
        broken = counted(len(manifest.problems), "row of the manifest is broken", "rows of the manifest are broken")
        notes.append(f"{broken} and left out: {listed(manifest.problems, 3)}.")
    columns: dict[str, Incoming] = {}
    files: list[Path] = []
    for modality, path in tables.items():
        read, found = _read(Path(path), manifest.utterances)
        files += found
        columns[modality] = _incoming(modality, read, manifest.utterances)
        if read.left_out:
            notes.append(f"{modality}: columns without numbers are left out: {listed(read.left_out, 5)}.")
        if read.unknown:
            strange = counted(read.unknown.total(), "row is", "rows are")
            notes.append(
                f"{modality}: {strange} of utterances that the manifest does not have: {listed(read.unknown, 3)}."
            )
    made = write_import(out, manifest.utterances, columns, files, "data import csv", overwrite=overwrite)
    return Imported(made.content_sha256, made.n_utterances, made.n_mended, tuple(notes))


def _incoming(modality: str, read: _Table, utterances: Sequence[Utterance]) -> Incoming:
    rows = [read.rows.get(utterance.utterance_id) for utterance in utterances]
    values = [
        None if own is None or np.isnan(own).all() else np.stack(own) for own in rows
    ]  # empty cells are no values
    is_frames = bool(read.steps_s) or any(own is not None and len(own) > 1 for own in rows)
    return Incoming(
        f"{ARRAYS}{modality}", "frame" if is_frames else "utterance", values, _hop_s(read.steps_s), read.names
    )


def _hop_s(steps_s: Sequence[float]) -> float | None:
    """Return how far frames are apart; None where that is not always the same."""
    if not steps_s:
        return None
    usual_s = float(np.median(steps_s))
    is_regular = (
        usual_s > 0 and float(np.mean(np.abs(np.array(steps_s) - usual_s) > REGULAR_SHARE * usual_s)) < REGULAR_SHARE
    )
    return round(usual_s, 6) if is_regular else None


def _read(path: Path, utterances: Sequence[Utterance]) -> tuple[_Table, list[Path]]:
    names = {utterance.utterance_id for utterance in utterances}
    if not path.is_dir():
        table = _Table()
        _take(table, path, _rows_of(path, KEY), names)
        if not table.names:
            raise InvalidInput(f"{path} has no column with numbers, or no row.")
        return table, [path]
    table, files = _Table(), []
    for utterance in utterances:
        for suffix in DELIMITERS:
            file = path / f"{utterance.utterance_id}{suffix}"
            if followed(file).is_relative_to(followed(path)) and file.is_file():
                _take(table, file, _rows_of(file, ""), names, utterance.utterance_id)
                files.append(file)
    if not files:
        raise InvalidInput(
            f"{path} has a table for no utterance of the manifest, such as {utterances[0].utterance_id}.csv."
        )
    return table, files


def _rows_of(path: Path, key: str) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Return a table's columns and its rows with their lines."""
    try:
        text = decoded(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"The table {path} cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    first = text.partition("\n")[0]
    usual = max(",;\t", key=first.count) if not key else DELIMITERS.get(path.suffix.lower(), ",")
    columns, rows = table_rows(text, usual, path, key)
    if key and key not in columns:
        raise InvalidInput(
            f"{path} has no column {key}; it has {listed(columns, 8)}. Name the column of utterances so."
        )

    def whole() -> Iterator[tuple[int, dict[str, str]]]:
        for line, cells in rows:
            if isinstance(cells, str):
                raise InvalidInput(f"{path}, line {line}: {cells}.")
            yield line, cells

    return columns, whole()


def _take(
    table: _Table,
    path: Path,
    found: tuple[list[str], Iterable[tuple[int, dict[str, str]]]],
    names: set[str],
    own: str = "",
) -> None:
    """Add the rows of a table; all of them are of one utterance where that is named."""
    columns, rows = found
    clock = next((name for name in TIMES if name in columns), None)
    features: list[str] = []
    last: tuple[str, float] | None = None
    for line, cells in rows:
        if not features:
            features = [name for name in columns if name not in NO_FEATURES and _number(cells[name]) is not None]
            if table.names and tuple(features) != table.names:
                raise InvalidInput(f"{path} has other columns with numbers than the tables before it.")
            table.names = tuple(features)
            table.left_out = tuple(name for name in columns if name not in NO_FEATURES and name not in features)
        name = own or cells[KEY].strip()
        if name not in names:
            table.unknown[name] += 1
            continue
        values = [_number(cells[column]) for column in features]
        if None in values:
            wrong = features[values.index(None)]
            raise InvalidInput(f"{path}, line {line}: {wrong} {cells[wrong]!r} is not a number.")
        time_s = None if clock is None else _number(cells[clock])
        if time_s is not None and last is not None and last[0] == name:
            table.steps_s.append(time_s - last[1])
        last = None if time_s is None else (name, time_s)
        table.rows.setdefault(name, []).append(np.array(values, dtype=np.float32))


def _number(cell: str) -> float | None:
    """Return a cell's number, NaN for an empty one; None for what is no number."""
    text = cell.strip()
    if not text or text in NOT_AVAILABLE:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return None
