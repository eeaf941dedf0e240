"""Find the faces in the frames of a clip.

Detection is facenet-pytorch's MTCNN on frames of at most 360 pixels on their short side, for faces of at least 15.5 % of
it. There it finds what the library finds with its defaults, at the same place, for a tenth of the time; most of what is
saved are the levels of the pyramid that look for smaller faces. Boxes and landmarks come back in pixels of the full-size
frame. Only frames of one utterance share a batch, so that no other clip can change a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from imer.extractors.cascade import Cascade, Found

BATCH_ON_CPU, BATCH_ON_CUDA = 16, 128  # frames; on a CPU more gain nothing
DETECTION_SHORT_SIDE = 360  # pixels
MIN_FACE_SHARE = 0.155  # of the short side (56 pixels of 360): a smaller face is not looked for
CELL_SPREAD = 2.0  # cells of the first network may be so many times smaller or larger than the face that they propose


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
        "min_face_share": MIN_FACE_SHARE,
    }

    def __init__(self, device: str) -> None:
        self._cascade = Cascade(device)
        self.batch_frames = BATCH_ON_CPU if device == "cpu" else BATCH_ON_CUDA

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Return the faces of each uint8 RGB frame [H, W, 3], largest first; all frames have one size."""
        small, to_full = _reduced(frames)
        found = self._cascade.find(small, (MIN_FACE_SHARE * min(small.shape[1:3]), np.inf))
        return _by_frame(found, len(frames), to_full)

    def detect_near(
        self, frames: Sequence[np.ndarray], box: np.ndarray, sides: tuple[float, float]
    ) -> list[list[Face]]:
        """Return the faces of each frame that lie within a box, where a search of the whole frame finds them.

        `sides`: the shortest and longest side of the faces that are looked for, in pixels of the frame, as `box` is. Others
        may be found, too.
        """
        small, to_full = _reduced(frames)
        height, width = small.shape[1:3]
        left, top = np.floor(np.maximum(box[:2] / to_full, 0)).astype(int)
        right, bottom = np.ceil(np.minimum(box[2:] / to_full, (width, height))).astype(int)
        shortest = max(sides[0] / to_full.max() / CELL_SPREAD, MIN_FACE_SHARE * min(height, width))
        longest = sides[1] / to_full.min() * CELL_SPREAD
        found = self._cascade.find(small, (shortest, longest), (left, top, right, bottom))
        return _by_frame(found, len(frames), to_full)


def _by_frame(found: Found, n_frames: int, to_full: np.ndarray) -> list[list[Face]]:
    faces: list[list[Face]] = [[] for _ in range(n_frames)]
    for index, box, points, score in zip(found.frame, found.box, found.landmarks, found.score, strict=True):
        faces[index].append(Face(box * np.tile(to_full, 2), points * to_full, float(score)))
    return faces


def _reduced(frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames at the size of detection [B, h, w, 3], and the factors (x, y) back to full size."""
    height, width = frames[0].shape[:2]
    scale = min(DETECTION_SHORT_SIDE / min(height, width), 1.0)
    w, h = round(width * scale), round(height * scale)
    whole = width // w
    if scale == 1.0:
        small = list(frames)
    elif (w * whole, h * whole) == (width, height):  # a whole factor: the same means, five times as fast
        small = [np.asarray(Image.fromarray(frame).reduce(whole)) for frame in frames]
    else:
        small = [np.asarray(Image.fromarray(frame).resize((w, h), Image.Resampling.BOX)) for frame in frames]
    return np.stack(small), np.array([width / w, height / h], dtype=np.float32)
