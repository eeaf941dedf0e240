"""Faces and pictures as the tests of extractors use them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from imer.extractors.base import Extracted, VisualExtractor
from imer.extractors.face_detection import Face
from imer.media.sampling import Picture


def told(extractor: VisualExtractor, pictures: Iterable[np.ndarray]) -> Extracted:
    """Return what an extractor says of pictures at 5 frames/s."""
    session = extractor.begin()
    for index, picture in enumerate(pictures):
        session.add(Picture(index / 5, picture))
    return session.finish()


def random_weights(path: Path) -> Path:
    """Write a state dict of the right shapes; what its numbers are does not matter to the loader."""
    import torch

    from imer.extractors.facenet_import import facenet_pytorch

    torch.manual_seed(0)
    state = facenet_pytorch().InceptionResnetV1(pretrained=None).state_dict()
    torch.save({**state, "logits.weight": torch.zeros(3, 512)}, path)
    return path


def a_face(left: float, top: float, side: float, confidence: float = 0.99) -> Face:
    box = np.array([left, top, left + side, top + side], dtype=np.float32)
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], dtype=np.float32)
    return Face(box, points * side + box[:2], confidence)
