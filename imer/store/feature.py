"""One feature of a store, read piece by piece: any utterance at once, or all in order in constant memory."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from imer.store import profile


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
