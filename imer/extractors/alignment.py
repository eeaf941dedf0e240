"""Cut a face out of a frame: upright and at one scale by its landmarks, or by its box."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imer.extractors.face_detection import Face

FACE_SIZE = 160  # pixels, square
# Where both eyes and the nose go (x, y). The mouth is left free: what it does is what should be seen.
TEMPLATE = np.array([[52.0, 62.0], [108.0, 62.0], [80.0, 96.0]])


def similarity(source_K2: np.ndarray, target_K2: np.ndarray) -> np.ndarray:
    """Return the 2×3 matrix of the rotation, scale and shift that best take `source` to `target` (least squares)."""
    source = np.asarray(source_K2, dtype=np.float64)
    target = np.asarray(target_K2, dtype=np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s = (source - source_mean) @ np.array([1.0, 1j])  # points as complex numbers: rotation and scale are one factor
    t = (target - target_mean) @ np.array([1.0, 1j])
    factor = (np.conj(s) @ t) / max(float((np.abs(s) ** 2).sum()), 1e-12)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, target_mean - turn @ source_mean])


def aligned_face(frame: np.ndarray, face: Face) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the aligned grey face float32 [160, 160] in 0…1, its landmarks [5, 2] there, and the 2×3 matrix used."""
    matrix = similarity(face.landmarks[:3], TEMPLATE)
    turn, shift = matrix[:, :2], matrix[:, 2]
    picture = Image.fromarray(frame)
    inverse = np.linalg.pinv(turn)  # pinv: three landmarks in one point must not end the batch
    offset = -inverse @ shift
    reduced = 1
    scale = float(np.hypot(*turn[:, 0]))
    if 0 < scale < 0.5:  # shrinking by more than two: reduce first, or the warp would alias
        reduced = int(1 / scale)
        left, top, right, bottom = _window(inverse, offset, frame.shape[1], frame.shape[0])
        picture = picture.crop((left, top, right, bottom)).reduce(reduced)
        offset = (offset - (left, top)) / reduced
        inverse = inverse / reduced
    coefficients = (inverse[0, 0], inverse[0, 1], offset[0], inverse[1, 0], inverse[1, 1], offset[1])
    grey = picture.convert("L").transform(
        (FACE_SIZE, FACE_SIZE), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(grey, dtype=np.float32) / 255.0, face.landmarks @ turn.T + shift, matrix


def _window(inverse: np.ndarray, offset: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of the frame that the aligned face covers."""
    corners = np.array([[0, 0], [FACE_SIZE, 0], [0, FACE_SIZE], [FACE_SIZE, FACE_SIZE]]) @ inverse.T + offset
    left, top = np.floor(corners.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 2
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return left, top, max(min(right, width), left + 1), max(min(bottom, height), top + 1)


def boxed_face(frame: np.ndarray, face: Face) -> np.ndarray:
    """Return the face's box as uint8 RGB [160, 160, 3]: what face embeddings were trained on."""
    height, width = frame.shape[:2]
    left, top = (int(max(value, 0)) for value in face.box[:2])
    right, bottom = min(int(face.box[2]), width), min(int(face.box[3]), height)
    left, top = min(left, width - 1), min(top, height - 1)
    crop = Image.fromarray(frame).crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    return np.asarray(crop.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR))
