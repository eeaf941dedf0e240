"""MTCNN's cascade over a batch of frames: the networks of facenet-pytorch, and our own way between them.

A pyramid goes through the first network, which proposes boxes; what it proposes is cut out at 24×24 for the second,
and what that one keeps at 48×48 for the third, which also gives five landmarks. facenet-pytorch cuts and resizes box by
box, which takes it longer than the networks. Here all boxes are cut out at once (`summed.py`). Boxes are the library's to
a hundredth of a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from imer.extractors.facenet_import import facenet_pytorch, library_versions
from imer.extractors.networks import NetworkFunction, as_function
from imer.extractors.summed import SummedFrames, Window

CELL, STRIDE = 12, 2  # pixels of the first network's receptive field, and between two of its cells
SMALLEST_FACE, PYRAMID_FACTOR = 20, 0.709  # the library's pyramid: of the first level, and from level to level
THRESHOLDS = (0.6, 0.7, 0.7)  # confidence to pass each network, as in the library
# Crops that go through the second and third network at once: on a CPU more leave its cache and are slower.
CROPS_ON_CPU, CROPS_ON_CUDA = 16, 512


@dataclass
class Found:
    """Boxes of a batch: frame number [n], box (left, top, right, bottom) [n, 4], confidence [n]; landmarks [n, 5, 2]."""

    frame: np.ndarray
    box: np.ndarray
    score: np.ndarray
    landmarks: np.ndarray

    def keep(self, which: np.ndarray) -> Found:
        return Found(self.frame[which], self.box[which], self.score[which], self.landmarks[which])


NOTHING = Found(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2)))


@cache
def _stages() -> dict[str, Any]:
    """Return MTCNN's three networks with the weights that come with the library."""
    from imer.extractors.slopes import split_slopes

    nets = facenet_pytorch().MTCNN(device="cpu").eval()
    return {name: split_slopes(getattr(nets, name)) for name in ("pnet", "rnet", "onet")}


class Cascade:
    """The three networks on one device."""

    def __init__(self, device: str) -> None:
        self._crops_at_once = CROPS_ON_CPU if device == "cpu" else CROPS_ON_CUDA

        def network(stage: str, side: int, outputs: tuple[str, ...], *, any_size: bool = False) -> NetworkFunction:
            made_from = f"MTCNN {stage}, {library_versions()}"
            return as_function(
                lambda: _stages()[stage], made_from, (1, 3, side, side), outputs, device, any_size=any_size
            )

        self._propose = network("pnet", 24, ("shift", "score"), any_size=True)
        self._refine = network("rnet", 24, ("shift", "score"))
        self._output = network("onet", 48, ("shift", "points", "score"))

    def find(self, frames_BHWC: np.ndarray, sizes: tuple[float, float], window: Window | None = None) -> Found:
        """Return the faces in uint8 RGB frames [B, H, W, 3], largest first within a frame; boxes in pixels.

        The levels of the pyramid are the library's own; those that look for faces of less than `sizes[0]` pixels, or of
        more than `sizes[1]`, are left out. With a window, only faces in it are found, where a search of the whole frames
        finds them.
        """
        table = SummedFrames(frames_BHWC, window)
        found = self._proposals(table, sizes)
        if found is None:
            return NOTHING
        found = self._refined(table, found)
        return self._final(table, found)

    def _proposals(self, table: SummedFrames, sizes: tuple[float, float]) -> Found | None:
        parts: list[Found] = []
        for scale in _scales(min(table.height, table.width), sizes):
            level, first_row, first_column = table.level(int(table.height * scale + 1), int(table.width * scale + 1))
            if min(level.shape[2:]) < CELL:
                continue
            shift_B4HW, score_B2HW = self._propose(level)
            frame, row, column = np.nonzero(score_B2HW[:, 1] >= THRESHOLDS[0])
            corner = (np.stack([column, row], axis=1) * STRIDE + (first_column, first_row)).astype(np.float32)
            scale_32 = np.float32(scale)
            box = np.concatenate([np.floor((corner + 1) / scale_32), np.floor((corner + CELL) / scale_32)], axis=1)
            score = score_B2HW[frame, 1, row, column]
            shift = shift_B4HW[frame, :, row, column]
            kept = suppressed(frame, box, score, 0.5)
            # The shifts travel as landmarks until the boxes have been thinned out.
            points = np.zeros((len(kept), 5, 2), dtype=np.float32)
            points[:, :2] = shift[kept].reshape(-1, 2, 2)
            parts.append(Found(frame[kept], box[kept], score[kept], points))
        if not parts:
            return None
        found = _joined(parts)
        found = found.keep(suppressed(found.frame, found.box, found.score, 0.7))
        size = np.tile(found.box[:, 2:] - found.box[:, :2], 2)
        found.box = _square(found.box + found.landmarks[:, :2].reshape(-1, 4) * size)
        return found

    def _refined(self, table: SummedFrames, found: Found) -> Found:
        found = found.keep(table.holds(found.box))
        if not len(found.box):
            return found
        shift, score = self._through(self._refine, table, found, 24)
        passed = score[:, 1] > THRESHOLDS[1]
        found = Found(found.frame[passed], found.box[passed], score[passed, 1], found.landmarks[passed])
        shift = shift[passed]
        kept = suppressed(found.frame, found.box, found.score, 0.7)
        found = found.keep(kept)
        found.box = _square(_shifted(found.box, shift[kept]))
        return found

    def _final(self, table: SummedFrames, found: Found) -> Found:
        found = found.keep(table.holds(found.box))
        if not len(found.box):
            return found
        shift, points, score = self._through(self._output, table, found, 48)
        passed = score[:, 1] > THRESHOLDS[2]
        box, points = found.box[passed], points[passed]
        size = box[:, 2:] - box[:, :2] + 1
        landmarks = np.stack([points[:, :5] * size[:, :1], points[:, 5:] * size[:, 1:]], axis=2) + box[:, None, :2] - 1
        found = Found(found.frame[passed], _shifted(box, shift[passed]), score[passed, 1], landmarks)
        found = found.keep(suppressed(found.frame, found.box, found.score, 0.7, of_smaller=True))
        area = (found.box[:, 2:] - found.box[:, :2]).prod(axis=1)
        return found.keep(np.lexsort((-area, found.frame)))

    def _through(
        self, network: NetworkFunction, table: SummedFrames, found: Found, side: int
    ) -> tuple[np.ndarray, ...]:
        """Return what a network says of boxes (one at least) cut out at side × side."""
        step = self._crops_at_once
        parts = [
            network(table.cut(found.frame[i : i + step], found.box[i : i + step], side))
            for i in range(0, len(found.box), step)
        ]
        return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


def suppressed(
    frame: np.ndarray, box: np.ndarray, score: np.ndarray, threshold: float, *, of_smaller: bool = False
) -> np.ndarray:
    """Return the indices to keep, frame by frame, best score first: none overlaps a better one by more than `threshold`.

    The overlap is the intersection over the union, or (`of_smaller`) over the smaller of the two boxes with both edge
    pixels counted, as the library has it in its last stage.
    """
    edge = 1.0 if of_smaller else 0.0
    kept: list[np.ndarray] = []
    order = np.lexsort((-score, frame))
    for members in np.split(order, np.flatnonzero(np.diff(frame[order])) + 1):
        left, top, right, bottom = box[members].T
        width = np.minimum(right[:, None], right) - np.maximum(left[:, None], left) + edge
        height = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top) + edge
        common = np.maximum(width, 0) * np.maximum(height, 0)
        area = (right - left + edge) * (bottom - top + edge)
        whole = np.minimum(area[:, None], area) if of_smaller else area[:, None] + area - common
        alive = np.ones(len(members), dtype=bool)
        for i, clashes in enumerate(common > threshold * whole):
            if alive[i]:
                alive[i + 1 :] &= ~clashes[i + 1 :]
        kept.append(members[alive])
    return np.concatenate(kept)


def _scales(short_side: int, sizes: tuple[float, float]) -> Iterator[float]:
    """Yield the scales of the library's pyramid at which a cell covers a face of one of the sizes."""
    scale = CELL / SMALLEST_FACE
    while short_side * scale >= CELL:
        if sizes[0] <= CELL / scale <= sizes[1]:
            yield scale
        scale *= PYRAMID_FACTOR


def _joined(parts: list[Found]) -> Found:
    return Found(
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.box for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )


def _square(box: np.ndarray) -> np.ndarray:
    """Return boxes grown to squares about their middles."""
    size = box[:, 2:] - box[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = box[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)


def _shifted(box: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return boxes moved by what a network says, in shares of their sizes with both edge pixels counted."""
    return box + shift * np.tile(box[:, 2:] - box[:, :2] + 1, 2)
