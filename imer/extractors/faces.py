"""Find the faces in the frames of a clip.

Detection is facenet-pytorch's MTCNN on frames scaled to a short side of 180 pixels (a ninth of the cost of the
library's defaults at 640×360); boxes and landmarks come back in pixels of the full-size frame. Frames go through the
network in batches of 16 of the same utterance only, so that no other clip can change a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imer.extractors.facenet_import import facenet_pytorch

BATCH_FRAMES = 16
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
        "batch": BATCH_FRAMES,
    }

    def __init__(self, device: str) -> None:
        import torch

        from imer.extractors.pooling import quicken

        network = facenet_pytorch().MTCNN(
            min_face_size=MIN_FACE, factor=PYRAMID_FACTOR, keep_all=True, device=torch.device(device)
        )
        self._torch = torch
        self._network: Any = quicken(network.eval())

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of each uint8 RGB frame [H, W, 3]; all frames have one size."""
        height, width = frames[0].shape[:2]
        short = min(height, width)
        if short < MIN_SHORT_SIDE:
            return [[] for _ in frames]
        scale = min(DETECTION_SHORT_SIDE / short, 1.0)
        if scale < 1.0:
            size = (max(round(width * scale), MIN_SHORT_SIDE), max(round(height * scale), MIN_SHORT_SIDE))
            small = np.stack([_resized(frame, size) for frame in frames])
        else:
            size, small = (width, height), np.stack(frames)
        boxes, scores, points = self._network.detect(self._torch.from_numpy(small), landmarks=True)
        to_full = np.array([width / size[0], height / size[1]], dtype=np.float32)
        return [_faces(*found, to_full) for found in zip(boxes, scores, points, strict=True)]


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))


def _faces(boxes: Any, scores: Any, points: Any, to_full: np.ndarray) -> list[Face]:
    if boxes is None:
        return []
    return [
        Face(np.asarray(box, np.float32) * np.tile(to_full, 2), np.asarray(point, np.float32) * to_full, float(score))
        for box, score, point in zip(boxes, scores, points, strict=True)
    ]
