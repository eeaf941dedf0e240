"""Mean, spread and range of rows that come batch by batch, so that an hour needs no more memory than a second."""

from __future__ import annotations

import numpy as np


class Moments:
    """Per column the mean, standard deviation, least and largest value of all rows [T, D] added so far, in float64."""

    def __init__(self) -> None:
        self.n = 0
        self._mean = self._squares = np.zeros(0)  # squares: the sum of squared distances from the mean
        self._least = self._largest = np.zeros(0)

    def add(self, rows_TD: np.ndarray) -> None:
        """Take more rows; all have the same width."""
        if not len(rows_TD):
            return
        rows = rows_TD.astype(np.float64)
        mean = rows.mean(axis=0)
        squares = ((rows - mean) ** 2).sum(axis=0)
        least, largest = rows.min(axis=0), rows.max(axis=0)
        if not self.n:
            self.n, self._mean, self._squares = len(rows), mean, squares
            self._least, self._largest = least, largest
            return
        n = self.n + len(rows)
        distance = mean - self._mean
        self._mean = self._mean + distance * (len(rows) / n)
        self._squares = self._squares + squares + distance**2 * (self.n * len(rows) / n)
        self._least, self._largest = np.minimum(self._least, least), np.maximum(self._largest, largest)
        self.n = n

    @property
    def mean(self) -> np.ndarray:
        return self._mean

    @property
    def sd(self) -> np.ndarray:
        return np.sqrt(self._squares / max(self.n, 1))

    @property
    def spread(self) -> np.ndarray:
        """Return the largest less the least value."""
        return self._largest - self._least
