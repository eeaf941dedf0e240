"""Frame-level rows of a long sound, listened to in passes that overlap: one row a hop, as if it had been one pass.

An analysis window reaches beyond its row. A pass alone would have a row too many or some too few at its end, so that
after an hour the rows would be seconds away from what is seen at the same time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imer.media.sampling import SAMPLE_RATE_HZ

CONTEXT_S = 0.5  # heard on both sides of a pass; the windows and their smoothing reach .1 s


class Passes:
    """Rows [T, D] of a sound that comes in passes of a whole number of hops, but for the last."""

    def __init__(self, rows_of: Callable[[np.ndarray], np.ndarray], hop: int) -> None:
        self._rows_of, self._hop = rows_of, hop
        self._context = round(CONTEXT_S * SAMPLE_RATE_HZ) // hop * hop
        self._before = np.zeros(0, dtype=np.float32)
        self._waiting: np.ndarray | None = None  # until it is known what comes after it
        self._rows: list[np.ndarray] = []

    def add(self, waveform: np.ndarray) -> None:
        """Take the next pass: float32 [samples], 16 kHz."""
        if self._waiting is not None:
            n_rows = len(self._waiting) // self._hop
            self._rows.append(self._heard(self._waiting, waveform[: self._context])[:n_rows])
            self._before = self._waiting[-self._context :]
        self._waiting = waveform

    def rows(self) -> np.ndarray:
        """Return the rows of all passes [T, D]."""
        if self._waiting is not None:
            self._rows.append(self._heard(self._waiting, np.zeros(0, dtype=np.float32)))
        return np.concatenate(self._rows)

    def _heard(self, waveform: np.ndarray, after: np.ndarray) -> np.ndarray:
        return self._rows_of(np.concatenate([self._before, waveform, after]))[len(self._before) // self._hop :]
