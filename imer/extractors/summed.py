"""Means over windows of frames, all at once: each is a difference of four sums of one summed table.

Frames are reduced to a level of a pyramid, and boxes cut out at a network's size, by the mean over the pixels that a
result's pixel covers, as MTCNN's library does it. A table may hold a window of the frames only: what lies in it comes
out as it would of the whole frames.
"""

from __future__ import annotations

import numpy as np

Window = tuple[int, int, int, int]  # left, top, right, bottom: pixel edges in a frame


class SummedFrames:
    """The summed tables of uint8 RGB frames [B, H, W, 3], or of a window of them.

    `height`, `width` are those of the whole frames; boxes are in their pixels.
    """

    def __init__(self, frames_BHWC: np.ndarray, window: Window | None = None) -> None:
        self.height, self.width = frames_BHWC.shape[1:3]
        self.window = window or (0, 0, self.width, self.height)
        left, top, right, bottom = self.window
        self._sums = _summed(frames_BHWC[:, top:bottom, left:right])

    def level(self, rows: int, columns: int) -> tuple[np.ndarray, int, int]:
        """Return the part of a pyramid's level in the window, float32 [B, 3, r, c], and its first row and column.

        The level has `rows` × `columns` for the whole frames. The first row and column are even ones: the network
        that looks at it halves it in pairs.
        """
        left, top, right, bottom = self.window
        first_row, top_r, bottom_r = _covered(self.height, rows, top, bottom)
        first_column, left_c, right_c = _covered(self.width, columns, left, right)
        strips = self._sums[:, :, bottom_r] - self._sums[:, :, top_r]
        sums = strips[:, :, :, right_c] - strips[:, :, :, left_c]
        return _scaled(sums, (bottom_r - top_r)[:, None] * (right_c - left_c)), first_row, first_column

    def holds(self, box: np.ndarray) -> np.ndarray:
        """Tell which boxes [n, 4] have a pixel in the window."""
        left, top, right, bottom = self._edges(box)
        return np.asarray((right > left) & (bottom > top))

    def cut(self, frame: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
        """Return boxes [n, 4] of the frames [n] cut out and resized: float32 [n, 3, side, side]."""
        left, top, right, bottom = self._edges(box)
        x0, x1 = _windows(left, right - left, side)
        y0, y1 = _windows(top, bottom - top, side)
        _, _, table_height, table_width = self._sums.shape
        flat = self._sums.reshape(-1)
        first = (frame[:, None] * 3 + np.arange(3)) * (table_height * table_width)

        def at(y: np.ndarray, x: np.ndarray) -> np.ndarray:
            places = first[:, :, None, None] + (y[:, :, None] * table_width + x[:, None, :])[:, None]
            return flat.take(places, mode="wrap")  # all are within: the default mode takes twice as long to check that

        sums = at(y1, x1) - at(y0, x1) - at(y1, x0) + at(y0, x0)
        return _scaled(sums, ((y1 - y0)[:, :, None] * (x1 - x0)[:, None, :])[:, None])

    def _edges(self, box: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the left, top, right and bottom pixel edge of boxes in the table, cut off at its own edges."""
        first_x, first_y, end_x, end_y = self.window
        left, top, right, bottom = np.trunc(box).astype(np.int64).T
        return (
            np.maximum(left - 1, first_x) - first_x,
            np.maximum(top - 1, first_y) - first_y,
            np.minimum(right, end_x) - first_x,
            np.minimum(bottom, end_y) - first_y,
        )


def _summed(frames_BHWC: np.ndarray) -> np.ndarray:
    """Return the summed table int32 [B, 3, H + 1, W + 1]: at (y, x) the sum of all pixels above and to the left."""
    batch, height, width, channels = frames_BHWC.shape
    table = np.zeros((batch, channels, height + 1, width + 1), dtype=np.int32)
    table[:, :, 1:, 1:] = frames_BHWC.transpose(0, 3, 1, 2)
    np.cumsum(table, axis=3, out=table)  # in place: a sum that also converts takes four times as long
    for row in range(1, height + 1):  # whole rows at once: twice as fast as a cumulative sum along this axis
        table[:, :, row] += table[:, :, row - 1]
    return table


def _windows(start: np.ndarray, length: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where n windows over [start, start + length) begin and end (adaptive mean pooling); each [len(start), n]."""
    step = np.arange(n)
    first = start[:, None] + step * length[:, None] // n
    last = start[:, None] - (-(step + 1) * length[:, None] // n)
    return first, last


def _covered(length: int, n: int, start: int, end: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return which of n windows over `length` pixels lie in [start, end): the first, an even one, and all their edges."""
    (first,), (last,) = _windows(np.zeros(1, dtype=np.int64), np.full(1, length), n)
    (inside,) = np.nonzero((first >= start) & (last <= end))
    inside = inside[inside[0] % 2 :] if len(inside) else inside
    return int(inside[0]) if len(inside) else 0, first[inside] - start, last[inside] - start


def _scaled(sums: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return sums over windows of so many pixels as means, scaled to about −1…1."""
    return (sums.astype(np.float32) / pixels.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)
