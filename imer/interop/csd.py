"""Computational sequences of the CMU-Multimodal SDK (`.csd`) → a feature store.

`/<root>/data/<entry>/features` [T, D] and `intervals` [T, 2] in seconds, an entry a video (or `video[i]` after alignment).
The labels' intervals are the utterances; a feature's vector is the mean over the rows that overlap the utterance. What a
sequence lacks is not present: nothing is thrown away because another sequence does not have it. Metadata is not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from imer.core.errors import InvalidInput
from imer.core.types import Utterance
from imer.interop.child import read_in_child
from imer.interop.incoming import Imported, Incoming, write_import
from imer.media.positions import with_positions

MAX_BYTES = 64 << 30
MAX_DECLARED_BYTES, MAX_DECLARED_RATIO = 4 << 30, 1000  # of one dataset, and per stored byte
LIMIT_S = 60.0
PAUSE = "sp"  # what stands for a silence in sequences of words
EPSILON_S = 1e-5
_MOSEI = ("sentiment", "happiness", "sadness", "anger", "surprise", "disgust", "fear")
_FILTERS = {1, 2, 3}  # deflate, shuffle, fletcher32


def import_csd(labels: Path, features: Mapping[str, Path], out: Path, *, overwrite: bool = False) -> Imported:
    """Write an utterance-level store from a sequence of labels and one sequence per modality.

    Labels of one column are `sentiment`, of seven those of CMU-MOSEI, of any other number `label0`, `label1` and so on.
    A sequence of words becomes the utterances' text instead of a feature.

    Raises
    ------
    InvalidInput
        A file is missing, is no such sequence, or is unsafe to read.
    """
    utterances = _utterances(Path(labels), out)
    columns: dict[str, Incoming] = {}
    n_mended = 0
    for modality, path in features.items():
        with _sequence(Path(path), out) as entries:
            videos = _Videos(entries)
            if videos.holds_words:
                utterances = [_with_words(u, videos.during(u)) for u in utterances]
                continue
            means: list[np.ndarray | None] = []
            for utterance in utterances:
                rows = videos.during(utterance)
                n_mended += 0 if rows is None else int(rows.size - np.isfinite(rows).sum())
                means.append(None if rows is None else _mean(rows))
        columns[modality] = Incoming(f"csd/{Path(path).stem}", "utterance", means)
    files = [Path(labels), *map(Path, features.values())]
    return write_import(out, utterances, columns, files, "data import csd", overwrite=overwrite, n_mended=n_mended)


def _mean(rows_TD: np.ndarray) -> np.ndarray:
    """Return the mean row [1, D]; values that are no finite numbers count as 0, as the SDK's users set them, unless all are."""
    if not np.isfinite(rows_TD).any():
        return np.full((1, rows_TD.shape[1]), np.nan)
    return np.where(np.isfinite(rows_TD), rows_TD, 0.0).mean(axis=0, dtype=np.float64)[None]


def _utterances(path: Path, out: Path) -> list[Utterance]:
    utterances: list[Utterance] = []
    with _sequence(path, out) as entries:
        for entry in sorted(entries, key=_place):
            values, intervals = _read(entries, entry)
            if values.dtype.kind not in "fiu":
                raise InvalidInput(f"{path}: the labels of {entry} are no numbers.")
            names = _label_names(values.shape[1])
            for i, (row, (start, end)) in enumerate(zip(values, intervals, strict=True)):
                name = entry if "[" in entry and len(values) == 1 else f"{entry}[{i}]"
                cells = {label: "" if math.isnan(v) else f"{v:.9g}" for label, v in zip(names, row, strict=True)}
                number = len(utterances)
                utterances.append(
                    Utterance(name, entry.partition("[")[0], 0, line=number + 2, row=number, start_s=float(start),
                              end_s=float(end), labels=cells)
                )  # fmt: skip
    if not utterances:
        raise InvalidInput(f"{path} holds no labelled interval.")
    return list(with_positions(utterances, dict.fromkeys(u.utterance_id for u in utterances)))  # by time


def _place(entry: str) -> tuple[str, int, str]:
    """Return the order of an entry: aligned ones are called `video[number]`, and 10 comes after 9."""
    video, _, number = entry.removesuffix("]").partition("[")
    return video, int(number) if number.isdecimal() else 0, entry


def _label_names(width: int) -> tuple[str, ...]:
    return _MOSEI[:width] if width in (1, len(_MOSEI)) else tuple(f"label{i}" for i in range(width))


class _Videos:
    """The rows of a sequence by video, one video in memory at a time. After an alignment `video[i]` are parts of `video`."""

    def __init__(self, entries: h5py.Group) -> None:
        self._entries = entries
        self._parts: dict[str, list[str]] = {}
        for entry in sorted(entries, key=_place):
            self._parts.setdefault(_place(entry)[0], []).append(entry)
        self._read: tuple[str, np.ndarray, np.ndarray] | None = None

    @property
    def holds_words(self) -> bool:
        return any(self._entries[entry]["features"].dtype.kind == "S" for entry in self._entries)

    def during(self, utterance: Utterance) -> np.ndarray | None:
        """Return the rows [T, D] that overlap an utterance by more than an instant; None where there is none.

        Not the number of a part counts but its time: what was aligned to words is numbered by words.
        """
        if utterance.dialogue_id not in self._parts or utterance.start_s is None or utterance.end_s is None:
            return None
        if self._read is None or self._read[0] != utterance.dialogue_id:
            read = [_read(self._entries, entry) for entry in self._parts[utterance.dialogue_id]]
            values, intervals = (np.concatenate(parts) for parts in zip(*read, strict=True))
            self._read = (utterance.dialogue_id, values, intervals)
        _, values, intervals = self._read
        shared_s = np.minimum(intervals[:, 1], utterance.end_s) - np.maximum(intervals[:, 0], utterance.start_s)
        rows = values[shared_s > EPSILON_S]
        return rows if len(rows) else None


def _with_words(utterance: Utterance, rows: np.ndarray | None) -> Utterance:
    words = [] if rows is None else [word.decode("utf-8", "replace") for word in rows[:, 0].tolist()]
    return replace(utterance, text=" ".join(word for word in words if word != PAUSE))


@contextmanager
def _sequence(path: Path, out: Path) -> Iterator[h5py.Group]:
    """Open a sequence's data for reading, after a child process has looked at all of it."""
    with (
        read_in_child(_look_through, path, out, max_bytes=MAX_BYTES, limit_s=LIMIT_S, memory_factor=1.0),
        h5py.File(path, "r") as file,
    ):
        yield file[next(iter(file))]["data"]


def _look_through(path: Path, folder: Path) -> None:
    with h5py.File(path, "r") as file:
        roots = list(file)
        if len(roots) != 1:
            raise InvalidInput(f"it has {len(roots)} top-level groups where a sequence has one")
        root = _inside(file, roots[0], h5py.Group)
        data = _inside(root, "data", h5py.Group)
        for name in data:
            entry = _inside(data, name, h5py.Group)
            for part in ("features", "intervals"):
                _check(_inside(entry, part, h5py.Dataset), f"{name}/{part}")
            values, intervals = _read(data, name)
            if values.ndim != 2 or intervals.shape != (len(values), 2):
                raise InvalidInput(f"{name} has features {values.shape} and intervals {intervals.shape}")


def _inside(group: h5py.Group, name: str, kind: type) -> h5py.Group | h5py.Dataset:
    """Return a member, which must be there itself: a link of any other kind may lead into another file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise InvalidInput(f"{group.name}/{name} is missing, or a link, which is not followed")
    item = group[name]
    if not isinstance(item, kind):
        raise InvalidInput(f"{group.name}/{name} is no {kind.__name__.lower()}")
    return item


def _check(dataset: h5py.Dataset, where: str) -> None:
    created = dataset.id.get_create_plist()
    if dataset.is_virtual or created.get_external_count():
        raise InvalidInput(f"{where} keeps its data in another file, which is not followed")
    if any(created.get_filter(i)[0] not in _FILTERS for i in range(created.get_nfilters())):
        raise InvalidInput(f"{where} has an HDF5 filter other than gzip, shuffle and fletcher32")
    if dataset.dtype.kind not in "fiuS":
        raise InvalidInput(f"{where} holds neither numbers nor words of fixed length")
    stored = max(dataset.id.get_storage_size(), 1 << 10)
    if dataset.nbytes > MAX_DECLARED_BYTES or dataset.nbytes > MAX_DECLARED_RATIO * stored:
        raise InvalidInput(f"{where} declares {dataset.nbytes} bytes but stores {stored}")


def _read(entries: h5py.Group, name: str) -> tuple[np.ndarray, np.ndarray]:
    features = entries[name]["features"][...]
    return features.reshape(len(features), -1) if features.ndim == 1 else features, entries[name]["intervals"][...]
