"""Find the faces in the frames of a clip.

Detection is facenet-pytorch's MTCNN on frames scaled to a short side of 180 pixels (a ninth of the cost of the
library's defaults at 640×360); boxes and landmarks come back in pixels of the full-size frame. Only frames of one
utterance share a batch, so that no other clip can change a result. On a CPU larger batches would save nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from imer.extractors.cascade import Cascade
from imer.extractors.facenet_import import facenet_pytorch

DETECTION_SHORT_SIDE = 180  # pixels
MIN_FACE = 40  # pixels at that size: a face of less than 22 % of the short side is not looked for
PYRAMID_FACTOR = 0.709
MIN_SHORT_SIDE = MIN_FACE  # nothing can be found in a smaller picture, and MTCNN fails on it


@dataclass(frozen=True)
class Face:
    """A detected face in pixels of its frame: box (left, top, right, bottom), landmarks [5, 2], confidence.

    The landmarks are the viewer's left eye and right eye, nose, left and right corner of the mouth.
    """

    box: np.ndarray
    landmarks: np.ndarray
    confidence: float

    @property
    def area(self) -> float:
        left, top, right, bottom = self.box
        return float(max(right - left, 0.0) * max(bottom - top, 0.0))

    def overlap(self, other: Face) -> float:
        """Return the intersection over union of the two boxes."""
        left, top = np.maximum(self.box[:2], other.box[:2])
        right, bottom = np.minimum(self.box[2:], other.box[2:])
        common = max(right - left, 0.0) * max(bottom - top, 0.0)
        return float(common / max(self.area + other.area - common, 1e-9))


class FaceDetector:
    """MTCNN for batches of equally sized RGB frames."""

    config: ClassVar[dict[str, Any]] = {
        "detector": "MTCNN",
        "short_side": DETECTION_SHORT_SIDE,
        "min_face": MIN_FACE,
        "factor": PYRAMID_FACTOR,
    }

    def __init__(self, device: str) -> None:
        self._cascade = Cascade(facenet_pytorch(), MIN_FACE, PYRAMID_FACTOR, device)

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of each uint8 RGB frame [H, W, 3], largest first; all frames have one size."""
        if min(frames[0].shape[:2]) < MIN_SHORT_SIDE:
            return [[] for _ in frames]
        small, to_full = _reduced(frames)
        faces: list[list[Face]] = [[] for _ in frames]
        found = self._cascade.find(small)
        for index, box, points, score in zip(found.frame, found.box, found.landmarks, found.score, strict=True):
            faces[index].append(Face(box * np.tile(to_full, 2), points * to_full, float(score)))
        return faces


def _reduced(frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames at the size of detection [B, h, w, 3], and the factors (x, y) back to full size."""
    height, width = frames[0].shape[:2]
    scale = min(DETECTION_SHORT_SIDE / min(height, width), 1.0)
    w, h = (max(round(side * scale), MIN_SHORT_SIDE) for side in (width, height)) if scale < 1 else (width, height)
    whole = width // w
    if scale == 1.0:
        small = list(frames)
    elif (w * whole, h * whole) == (width, height):  # a whole factor: the same means, five times as fast
        small = [np.asarray(Image.fromarray(frame).reduce(whole)) for frame in frames]
    else:
        small = [np.asarray(Image.fromarray(frame).resize((w, h), Image.Resampling.BOX)) for frame in frames]
    return np.stack(small), np.array([width / w, height / h], dtype=np.float32)
