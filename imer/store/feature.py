"""One feature of a store, read piece by piece: any utterance at once, or all in order in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from imer.store import profile

VALUES_AT_ONCE = 4 << 20  # 16 MiB


class Feature:
    """The values of one feature, on disk. It lives as long as its store is open.

    Raises
    ------
    InvalidInput
        From every read: the file is damaged.
    """

    def __init__(self, path: Path, group: h5py.Group) -> None:
        self._path, self._group = path, group
        self._values = group["values"]
        self.dim = int(self._values.shape[1])

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 [N+1]: utterance i has the rows offsets[i]:offsets[i+1]."""
        with profile.reading(self._path):
            return self._group["offsets"][...]

    @cached_property
    def present(self) -> np.ndarray:
        """bool [N]: whether the utterance has this modality."""
        with profile.reading(self._path):
            return self._group["present"][...].astype(bool)

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Return rows `first` to `stop` of all values, float32 [stop − first, D]."""
        with profile.reading(self._path):
            return self._values[first:stop]

    def of(self, utterance: int) -> np.ndarray:
        """Return the values of the i-th utterance, float32 [T, D]; T = 0 where it is not present."""
        return self.rows(int(self.offsets[utterance]), int(self.offsets[utterance + 1]))

    def blocks(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield the values of utterances first:stop, float32 [ΣT, D], with first and stop: all in order, a block in memory."""
        at_once = max(VALUES_AT_ONCE // max(self.dim, 1), 1)
        first, n = 0, len(self.present)
        while first < n:
            stop = int(np.searchsorted(self.offsets, self.offsets[first] + at_once, side="right")) - 1
            stop = min(max(stop, first + 1), n)
            yield first, stop, self.rows(int(self.offsets[first]), int(self.offsets[stop]))
            first = stop

    def vectors(self) -> np.ndarray:
        """Return one row per utterance, float32 [N, D]: the mean over its frames, NaN where it is not present."""
        vectors_ND = np.full((len(self.present), self.dim), np.nan, dtype=np.float32)
        for first, stop, values_TD in self.blocks():
            there_P = first + np.flatnonzero(
                self.present[first:stop]
            )  # each of them has values, and no other utterance
            if len(values_TD) > len(there_P):
                start_P, count_P = self.offsets[there_P], np.diff(self.offsets)[there_P]
                sums_PD = np.add.reduceat(values_TD, start_P - self.offsets[first], axis=0, dtype=np.float64)
                values_TD = (sums_PD / count_P[:, None]).astype(np.float32)
            vectors_ND[there_P] = values_TD
        return vectors_ND
