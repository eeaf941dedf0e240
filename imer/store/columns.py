"""A manifest's own columns in the store: numbers, classes, or long texts. The kind is decided over all utterances.

A part of a manifest (one shard of an extraction) is written with the kinds of the whole, so that a class has the same
index in every part, and parts can be put together again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import h5py
import numpy as np

from imer.core.types import Utterance
from imer.store import profile

UNLABELLED_CLASS = -1
_PADDED = re.compile(r"[+-]?0[0-9]")  # codes such as 007; a number has no such zero
LARGEST_EXACT = 2.0**53  # up to here float64 has every whole number
MAX_LABEL_BYTES = 256  # a column with longer cells is kept as text, not as classes


@dataclass(frozen=True)
class Column:
    """What a column is: "number", "class" (with the class names, sorted) or "text"."""

    kind: str
    classes: tuple[str, ...] = ()


def column_kinds(utterances: Sequence[Utterance]) -> dict[str, Column]:
    """Return column name → what it is, for every column that `imer` does not use itself."""
    kinds: dict[str, Column] = {}
    for name in dict.fromkeys(name for u in utterances for name in u.labels):
        cells = {u.labels.get(name, "").strip() for u in utterances}
        if any(len(cell.encode()) > MAX_LABEL_BYTES for cell in cells):
            kinds[name] = Column("text")
        elif name != "emotion" and as_numbers(list(cells)) is not None:
            kinds[name] = Column("number")
        else:
            kinds[name] = Column("class", tuple(sorted(cell for cell in cells if cell)))
    return kinds


def write_columns(file: h5py.File, utterances: Sequence[Utterance], kinds: Mapping[str, Column]) -> None:
    """Write the groups labels, classes and columns."""
    labels, classes, columns = (file.create_group(name) for name in ("labels", "classes", "columns"))
    for name, column in sorted(kinds.items()):
        cells = [u.labels.get(name, "").strip() for u in utterances]
        key = dataset_name(name)
        dataset: h5py.HLObject
        if column.kind == "text":
            joined, offsets = profile.encode_texts(u.labels.get(name, "") for u in utterances)
            dataset = columns.create_group(key)
            profile.put(dataset, "text", joined)
            profile.put(dataset, "text_offsets", offsets)
        elif column.kind == "number":
            dataset = profile.put(labels, key, np.array([_number(cell) for cell in cells], dtype=np.float64))
        else:
            index = {cell: i for i, cell in enumerate(column.classes)}
            dataset = profile.put(
                labels, key, np.array([index.get(c, UNLABELLED_CLASS) for c in cells], dtype=np.int64)
            )
            profile.put(classes, key, profile.encode_strings(column.classes))
        profile.put_attribute(dataset, "name", name)


def dataset_name(name: str) -> str:
    """Return a column's name as one path component of HDF5 (a slash, or a lone dot, would be a path)."""
    return quote(name, safe=" ()[]{}:;,+&@!?#=*") if name.strip(".") else name.replace(".", "%2E")


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan


def as_numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Return the cells as float64 with NaN for empty ones, or None where any cell is not a number.

    `01_02` is none, though Python reads it as 102, nor is `007`, nor a number with more digits than float64 keeps: two names
    of videos or subjects must not become one.
    """
    if any("_" in cell or _PADDED.match(cell) for cell in cells):
        return None
    try:
        values = np.array([_number(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        return None
    return None if (np.abs(values[np.isfinite(values)]) >= LARGEST_EXACT).any() else values


def number_text(value: float) -> str:
    """Return a number as a manifest has it: a whole one without a point, any other with all its digits; NaN is empty."""
    if math.isnan(value):
        return ""
    minus_zero = value == 0.0 and math.copysign(1.0, value) < 0
    return str(int(value)) if value.is_integer() and not minus_zero else repr(value)
