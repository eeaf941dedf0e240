"""Whether the parts of a feature store fit each other: lengths, offsets, indices.

A digest says that nothing was changed; it does not say that whoever wrote the file wrote sense. What readers index
with is checked once, when a store is opened, so that a wrong file is refused and never a wrong number.
"""

from __future__ import annotations

import h5py
import numpy as np

from imer.core.errors import InvalidInput
from imer.core.types import Verdict
from imer.store.profile import read_attribute

_STRINGS = ("utterance_id", "dialogue_id", "speaker", "session", "split")


def check_structure(file: h5py.File) -> None:
    """Refuse a store whose parts do not fit each other.

    Raises
    ------
    InvalidInput
        An array has another length than there are utterances, offsets do not ascend to the end of what they cut, an
        index points at nothing, or an utterance has values and is not present, or the other way round.
    KeyError
        A part is missing.
    """
    n = int(read_attribute(file, "n_utterances"))
    index = file["index"]
    for name in _STRINGS:
        _require(index[name].shape == (n,) and index[name].dtype.kind == "S", index[name], f"{n} strings")
    ids = index["utterance_id"][...]
    _require(len(np.unique(ids)) == n, index["utterance_id"], "one id an utterance, no two alike")
    for name, kind in (("position", "i"), ("start_s", "f"), ("end_s", "f")):
        _require(index[name].shape == (n,) and index[name].dtype.kind == kind, index[name], f"{n} numbers")
    _check_texts(index, n)
    for key in file["columns"]:
        _check_texts(file["columns"][key], n)
    for key, label in file["labels"].items():
        _check_label(label, file["classes"].get(key), n)
    for features in file["features"].values():
        for feature in features.values():
            _check_feature(feature, n)
    for digests in file.get("sources", {}).values():
        _require(digests.shape == (n,) and digests.dtype.kind == "S", digests, f"{n} digests")
    if "part" in file:
        _check_part(file["part"], n)
    for verdicts in file["quality"].values():
        known = verdicts.shape == (n,) and verdicts.dtype == np.uint8
        _require(known and int(verdicts[...].max(initial=0)) <= max(Verdict), verdicts, f"{n} verdicts")


def _require(holds: bool, item: h5py.Group | h5py.Dataset, expected: str) -> None:
    if not holds:
        raise InvalidInput(
            f"{item.file.filename}: {item.name} is not what it should be: {expected}; make the file again."
        )


def _check_part(part: h5py.Group, n: int) -> None:
    rows = part["row"]
    _require(rows.shape == (n,) and rows.dtype == np.int64, rows, f"{n} places in the whole")
    values, n_whole = rows[...], int(read_attribute(part, "n_whole"))
    ascends = bool((np.diff(values) > 0).all()) and values.min(initial=0) >= 0 and values.max(initial=-1) < n_whole
    _require(ascends, rows, f"ascending places below {n_whole}")


def _check_offsets(offsets: h5py.Dataset, n: int, total: int) -> None:
    fits = offsets.shape == (n + 1,) and offsets.dtype == np.int64
    values = offsets[...] if fits else np.empty(0)
    fits = fits and values[0] == 0 and values[-1] == total and bool((np.diff(values) >= 0).all())
    _require(fits, offsets, f"{n + 1} offsets that ascend from 0 to {total}")


def _check_texts(group: h5py.Group, n: int) -> None:
    text = group["text"]
    _require(text.ndim == 1 and text.dtype == np.uint8, text, "the bytes of texts")
    _check_offsets(group["text_offsets"], n, len(text))


def _check_label(label: h5py.Dataset, classes: h5py.Dataset | None, n: int) -> None:
    if classes is None:
        _require(label.shape == (n,) and label.dtype.kind == "f", label, f"{n} numbers")
        return
    _require(classes.ndim == 1 and classes.dtype.kind == "S", classes, "names of classes")
    _require(label.shape == (n,) and label.dtype == np.int64, label, f"{n} indices of classes")
    values = label[...]
    known = values.min(initial=0) >= -1 and values.max(initial=-1) < len(classes)
    _require(bool(known), label, f"indices of {len(classes)} classes")


def _check_feature(feature: h5py.Group, n: int) -> None:
    values, present = feature["values"], feature["present"]
    _require(values.ndim == 2 and values.dtype == np.float32, values, "float32 values, one row a vector")
    _check_offsets(feature["offsets"], n, len(values))
    _require(present.shape == (n,) and present.dtype == np.uint8, present, f"{n} times 0 or 1")
    _require(int(present[...].max(initial=0)) <= 1, present, f"{n} times 0 or 1")
    has_rows_N = np.diff(feature["offsets"][...]) > 0
    _require(
        np.array_equal(has_rows_N, present[...]), feature, "values of every utterance that is present, and of no other"
    )
