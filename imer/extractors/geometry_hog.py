"""The visual extractor that needs no downloaded weights: where the landmarks are, and the face's oriented gradients.

Every number is computed on the detected, aligned face of the followed person. It is a description of expression and
pose, not an identity embedding, and is never passed off as one.

Per frame: 14 geometry values, 360 HOG values, and the time, box and confidence of the face. Per utterance 447 (named in
`spec.dim_names`): mean, spread and range of the geometry, mean of the HOG, and how much each of its 45 cells moves.
"""

from __future__ import annotations

import numpy as np

from imer.core.types import FeatureSpec
from imer.extractors.alignment import FACE_SIZE, aligned_face
from imer.extractors.face_detection import Face, FaceDetector
from imer.extractors.facenet_import import library_versions
from imer.extractors.following import PLACE, FollowedFaces, SeesFaces
from imer.extractors.hog import CELL, N_CELLS, ORIENTATIONS, cell_names, hog
from imer.extractors.moments import Moments
from imer.media.sampling import Picture

GEOMETRY = (
    "nose_x", "nose_y", "mouth_left_x", "mouth_left_y", "mouth_right_x", "mouth_right_y", "mouth_width",
    "mouth_height", "mouth_tilt", "mouth_to_nose", "eye_distance_in_box", "head_roll", "face_aspect", "face_area",
)  # fmt: skip


def geometry(landmarks: np.ndarray, matrix: np.ndarray, face: Face, frame_area: float) -> np.ndarray:
    """Return 14 values of an aligned face, lengths in eye distances from the middle between the eyes, y down.

    `landmarks` [5, 2] and `matrix` [2, 3] come from the alignment; `head_roll` is in radians.
    """
    left_eye, right_eye = landmarks[0], landmarks[1]
    eye_distance = max(float(np.hypot(*(right_eye - left_eye))), 1e-6)
    nose, mouth_left, mouth_right = (landmarks[2:] - (left_eye + right_eye) / 2) / eye_distance
    mouth = (mouth_left + mouth_right) / 2
    width, height = face.box[2] - face.box[0], face.box[3] - face.box[1]
    real_distance = float(np.hypot(*(face.landmarks[1] - face.landmarks[0])))
    return np.array([
        *nose, *mouth_left, *mouth_right,
        float(np.hypot(*(mouth_right - mouth_left))), mouth[1], mouth_right[1] - mouth_left[1], mouth[1] - nose[1],
        real_distance / max(float(width), 1e-6), -np.arctan2(matrix[1, 0], matrix[0, 0]),
        float(width) / max(float(height), 1e-6), face.area / frame_area,
    ], dtype=np.float32)  # fmt: skip


class GeometryHog(SeesFaces):
    """Geometry and HOG of the aligned face, pooled over the utterance (or per sampled frame)."""

    name = "face/geometry-hog"

    @property
    def spec(self) -> FeatureSpec:
        names = [*frame_names(), *PLACE] if self.level == "frame" else pooled_names()
        return FeatureSpec(
            modality="visual",
            extractor=self.name,
            version=f"3, {library_versions()}",
            level=self.level,
            dim=len(names),
            hop_s=1.0 / self.frames_per_s if self.level == "frame" else None,
            config={
                **self.seeing,
                "face_size": FACE_SIZE,
                "cell": CELL,
                "orientations": ORIENTATIONS,
            },
            dim_names=tuple(names),
            licence="MIT",
        )

    def load(self, device: str) -> None:
        self._detector = FaceDetector(device)

    def begin(self) -> GeometryHogSession:
        return GeometryHogSession(self)


class GeometryHogSession(FollowedFaces):
    """One utterance's faces."""

    extractor = GeometryHog.name

    def take(self, seen: list[tuple[Picture, Face]]) -> None:
        self.keep(np.stack([described(picture.rgb, face) for picture, face in seen]), self.places(seen))

    def pooled(self, moments: Moments) -> np.ndarray:
        return pooled(moments)


def described(frame: np.ndarray, face: Face) -> np.ndarray:
    """Return the 14 + 360 values of a face in a frame uint8 RGB [H, W, 3]."""
    grey, landmarks, matrix = aligned_face(frame, face)
    return np.concatenate([geometry(landmarks, matrix, face, float(frame.shape[0] * frame.shape[1])), hog(grey)])


def pooled(moments: Moments) -> np.ndarray:
    """Pool the frames' values [T, 14 + 360] to one vector [3·14 + 360 + 45]."""
    shape, gradients = slice(len(GEOMETRY)), slice(len(GEOMETRY), None)
    motion = moments.sd[gradients].reshape(N_CELLS, ORIENTATIONS).mean(axis=1)
    parts = [moments.mean[shape], moments.sd[shape], moments.spread[shape], moments.mean[gradients], motion]
    return np.concatenate(parts).astype(np.float32)


def frame_names() -> list[str]:
    """Return the names of a frame's 374 values."""
    return [*GEOMETRY, *(f"hog_{cell}_o{o}" for cell in cell_names() for o in range(ORIENTATIONS))]


def pooled_names() -> list[str]:
    """Return the names of an utterance's 447 values."""
    shape = [f"{name}_{how}" for how in ("mean", "sd", "range") for name in GEOMETRY]
    return [
        *shape,
        *(f"{name}_mean" for name in frame_names()[len(GEOMETRY) :]),
        *(f"motion_{c}" for c in cell_names()),
    ]
