"""CSV and TSV, row by row: a broken row costs only itself.

A quote that is never closed would swallow every row after it. So each record is read by itself and strictly; where that
fails, or takes several lines and has the wrong number of cells, its first line is the broken one and the next begins a row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from imer.core.errors import InvalidInput, listed

MAX_CELL_BYTES = 16 << 20  # a transcript of a very long recording still fits …
MAX_CELL_LINES = 1_000  # … and that of one with many paragraphs
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_DELIMITERS = (";", "\t", ",")  # spreadsheets write semicolons where a comma is the decimal sign

Row = tuple[int, dict[str, str] | str]  # (line, cells by column), or (line, what is wrong with the row)


def table_rows(text: str, delimiter: str, path: Path, *keys: str) -> tuple[list[str], Iterator[Row]]:
    """Return the column names and an iterator over the rows.

    Of several delimiters the one counts that sets any of the columns `keys` apart.

    Raises
    ------
    InvalidInput
        The first line is no header, or names a column twice.
    """
    csv.field_size_limit(MAX_CELL_BYTES)
    lines = list(io.StringIO(text, newline=""))
    head = 1 if lines and lines[0].lower().startswith("sep=") else 0  # what spreadsheets write for each other
    delimiter = _delimiter(lines, head, delimiter, keys)
    try:
        header, first = _record(lines, head, delimiter)
    except (csv.Error, StopIteration) as error:
        raise InvalidInput(f"{path}, line {head + 1}, is not a table header ({error}).") from error
    every = [name.strip() for name in header]
    columns = [name for name in every if name]  # nameless: columns that somebody emptied, row numbers of R and pandas
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise InvalidInput(f"{path} names the column {listed(repeated)} more than once.")

    def rows() -> Iterator[Row]:
        at = first
        while at < len(lines):
            line = at + 1
            try:
                values, after = _record(lines, at, delimiter)
            except csv.Error as error:
                yield line, f"not a row of the table ({error}); are its quotes closed?"
                at += 1
                continue
            if not any(value.strip() for value in values):
                at = after
            elif len(values) != len(every):
                several = f" (lines {line} to {after} by its quotes)" if after > line else ""
                yield line, f"{len(values)} cells where the header has {len(every)}{several}"
                at += 1
            else:
                cells = dict(zip(every, values, strict=True))
                cells.pop("", None)
                yield line, _with_points(cells, keys) if delimiter == ";" else cells
                at = after

    return columns, rows()


def _with_points(cells: dict[str, str], keys: Sequence[str]) -> dict[str, str]:
    """Return cells with decimal points for commas, as spreadsheets write them where cells are set apart by semicolons."""
    return {
        name: value.replace(",", ".")
        if name.lower() not in (*keys, "text") and _DECIMAL_COMMA.fullmatch(value)
        else value
        for name, value in cells.items()
    }


def csv_row(cells: Iterable[object]) -> str:
    """Return a line of CSV. The `csv` module leaves a carriage return bare where lines end in a line feed alone."""
    return ",".join(map(csv_cell, cells)) + "\n"


def csv_cell(cell: object) -> str:
    """Return a cell of CSV, in quotes where it needs them."""
    text = str(cell)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n\r') else text


def _record(lines: Sequence[str], at: int, delimiter: str) -> tuple[list[str], int]:
    """Return the cells of the record that begins on a line, and the line after it (both counted from 0)."""
    end = min(at + MAX_CELL_LINES, len(lines))
    reader = csv.reader((lines[i] for i in range(at, end)), delimiter=delimiter, strict=True)
    return next(reader), at + reader.line_num


def _delimiter(lines: Sequence[str], head: int, usual: str, keys: Sequence[str]) -> str:
    for delimiter in (usual, *_DELIMITERS):
        try:
            header, _ = _record(lines, head, delimiter)
        except (csv.Error, StopIteration):
            continue
        if any(name.strip().lower() in keys for name in header):
            return delimiter
    return usual
