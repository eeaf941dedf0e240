"""Where in a batch of frames faces are looked for: everywhere in some, and around known faces in those between.

A search around a face costs half as much as one of the whole frame, and finds the same face at the same place. So every
N-th frame is searched whole, one in two seconds at least. Where two such frames agree about who is there, the frames
between them are searched around these people; where they do not, or a face is not found again, whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from imer.core.errors import UsageError
from imer.extractors.face_detection import Face, FaceDetector

DEFAULT_STRIDE, MAX_STRIDE = 8, 16  # sampled frames from one that is searched whole to the next
LONGEST_GAP_S = 2.0  # between them
_SAME_FACE_WITHIN = 1.5  # of its side: how far a face may have moved between two searched frames
_SAME_FACE_SIZE = 1.5  # and how many times larger or smaller it may have become
_MARGIN = 0.6  # of a face's longer side: how far around its places it is looked for
SEARCH_UNIT = 16  # frames: their last one is searched whole, whatever the batches are
_WORTH_IT = 0.6  # share of the frame above which windows cost more than they save


def checked_stride(stride: int) -> int:
    """Return the stride, or say what it may be.

    Raises
    ------
    UsageError
        It is below 1 or above `MAX_STRIDE`.
    """
    if not 1 <= stride <= MAX_STRIDE:
        raise UsageError(f"--face-stride takes a number of sampled frames from 1 to {MAX_STRIDE}; found {stride}.")
    return stride


class FaceSearch:
    """Looks for faces batch by batch through an utterance; it remembers who was there at the end of the last batch."""

    def __init__(self, detector: FaceDetector, stride: int, frames_per_s: float) -> None:
        self._detector = detector
        self._stride = min(stride, max(int(LONGEST_GAP_S * frames_per_s), 1))
        self._before: list[Face] | None = None  # in the frame before the batch, which was searched whole
        self._shape: tuple[int, ...] = ()

    def faces_in(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of each frame [H, W, 3] of a batch, largest first; all frames have one size.

        Of the batches of one size all but the last hold a whole number of units: then their length changes nothing.
        """
        if frames[0].shape != self._shape:
            self._before, self._shape = None, frames[0].shape
        whole = self._searched_whole(len(frames))
        found = dict(zip(whole, self._detector.detect([frames[i] for i in whole]), strict=True))
        lost: list[int] = []
        last, before = -1, self._before
        for i in whole:
            near = self._between(frames[last + 1 : i], before, found[i])
            for place, faces in enumerate(near, start=last + 1):
                if faces is None:
                    lost.append(place)
                else:
                    found[place] = faces
            last, before = i, found[i]
        self._before = before
        if lost:
            found.update(zip(lost, self._detector.detect([frames[i] for i in lost]), strict=True))
        return [found[i] for i in range(len(frames))]

    def _searched_whole(self, n_frames: int) -> list[int]:
        """Return the frames of a batch that are searched whole: every N-th of each unit, and its last, so that the next unit
        has one before it."""
        whole: set[int] = set()
        for first in range(0, n_frames, SEARCH_UNIT):
            end = min(first + SEARCH_UNIT, n_frames)
            start = first if first == 0 and self._before is None else first + self._stride - 1
            whole |= {*range(start, end, self._stride), end - 1}
        return sorted(whole)

    def _between(
        self, frames: Sequence[np.ndarray], before: Sequence[Face] | None, after: Sequence[Face]
    ) -> list[list[Face] | None]:
        """Return the faces of the frames between two searched ones; None where the whole frame is to be searched."""
        pairs = same_faces(before, after) if before and frames else None
        found = _around(self._detector, frames, pairs) if pairs else None
        if not pairs or not found:
            return [None] * len(frames)
        return [faces if all(_seen(pair, faces) for pair in pairs) else None for faces in found]


def same_faces(before: Sequence[Face], after: Sequence[Face]) -> list[tuple[Face, Face]] | None:
    """Return the faces of one frame, each with its own in another; None where any has none there."""
    if len(before) != len(after):
        return None
    pairs = [(one, min(after, key=partial(_moved, one))) for one in before]
    distinct = len({id(other) for _, other in pairs}) == len(pairs)
    return pairs if distinct and all(_same(one, other) for one, other in pairs) else None


def _moved(one: Face, other: Face) -> float:
    """Return how far apart two faces' middles are, in mean sides of theirs."""
    apart = (one.box[:2] + one.box[2:] - other.box[:2] - other.box[2:]) / 2
    return float(np.hypot(*apart)) / (one.area * other.area) ** 0.25


def _same(one: Face, other: Face) -> bool:
    times_as_large = max(one.area, other.area) / max(min(one.area, other.area), 1e-9)
    return _moved(one, other) <= _SAME_FACE_WITHIN and times_as_large <= _SAME_FACE_SIZE**2


def _seen(pair: tuple[Face, Face], faces: Sequence[Face]) -> bool:
    return any(_same(face, one) for face in faces for one in pair)


def _around(
    detector: FaceDetector, frames: Sequence[np.ndarray], known: Sequence[tuple[Face, Face]]
) -> list[list[Face]] | None:
    """Return what is found around each pair's places in each frame; None where that would cost more than it saves."""
    height, width = frames[0].shape[:2]
    windows = [_window(pair, height, width) for pair in known]
    crowded = any(_meet(a, b) for n, a in enumerate(windows) for b in windows[:n])
    areas = [float((window[2:] - window[:2]).prod()) for window in windows]
    if crowded or sum(areas) > _WORTH_IT * height * width:
        return None
    found: list[list[Face]] = [[] for _ in frames]
    for pair, window in zip(known, windows, strict=True):
        sides = [side for face in pair for side in (face.box[2:] - face.box[:2])]
        for faces, more in zip(found, detector.detect_near(frames, window, (min(sides), max(sides))), strict=True):
            faces += more
    return [sorted(faces, key=lambda face: -face.area) for faces in found]


def _window(pair: tuple[Face, Face], height: int, width: int) -> np.ndarray:
    """Return the box [4] around a face's two places, with a margin, within the frame."""
    boxes = np.stack([face.box for face in pair])
    margin = _MARGIN * (boxes[:, 2:] - boxes[:, :2]).max()
    corners = np.concatenate([boxes[:, :2].min(axis=0) - margin, boxes[:, 2:].max(axis=0) + margin])
    return np.clip(corners, 0, [width, height, width, height])


def _meet(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.maximum(one[:2], other[:2]) < np.minimum(one[2:], other[2:])).all())
