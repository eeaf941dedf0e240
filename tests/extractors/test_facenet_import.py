"""The adapter for torchvision: whatever is installed, faces and sentences work."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from imer.extractors.facenet_import import batched_nms, non_maximum_suppression, to_tensor

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"
USE = """
import sys
{before}
from imer.extractors.facenet_import import facenet_pytorch, hide_torchvision, torchvision_state
print(torchvision_state()[0])
assert facenet_pytorch().MTCNN is not None
assert not [name for name, module in sys.modules.items() if name.startswith("torchvision") and module is not None]
hide_torchvision()
import transformers
assert not transformers.utils.is_torchvision_available()
"""


def run(before: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", USE.format(before=before)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_torchvision_that_cannot_be_imported_is_worked_around(tmp_path: object) -> None:
    package = f"{tmp_path}/torchvision"
    before = (
        f"import os; os.makedirs({package!r}); open({package!r} + '/__init__.py', 'w').write({BROKEN!r}); "
        f"sys.path.insert(0, {str(tmp_path)!r})"
    )
    assert run(before) == "broken"


def test_no_torchvision_at_all_is_fine() -> None:
    assert run("sys.modules['torchvision'] = None; import importlib.util") in ("absent", "broken", "works")


def test_suppression_keeps_the_best_of_each_heap() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60], [0, 0, 10, 10.0]])
    scores = torch.tensor([0.8, 0.9, 0.5, 0.7])
    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [1, 2]
    assert non_maximum_suppression(boxes, scores, 0.99).tolist() == [1, 0, 2]
    classes = torch.tensor([0, 0, 0, 1])
    assert batched_nms(boxes, scores, classes, 0.5).tolist() == [1, 3, 2]
    assert batched_nms(boxes[:0], scores[:0], classes[:0], 0.5).tolist() == []


def test_suppression_equals_its_definition() -> None:
    """Random boxes against the definition, pair by pair."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        corner = rng.uniform(0, 50, (40, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (40, 2))], axis=1).astype(np.float32)
        scores = rng.permutation(40).astype(np.float32)
        kept: list[int] = []
        for i in np.argsort(-scores):
            if all(overlap(boxes[i], boxes[j]) <= 0.5 for j in kept):
                kept.append(int(i))
        assert non_maximum_suppression(torch.tensor(boxes), torch.tensor(scores), 0.5).tolist() == kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (area - width * height))


def test_pictures_become_tensors() -> None:
    picture = np.full((2, 3, 3), 255, dtype=np.uint8)
    assert to_tensor(picture).shape == (3, 2, 3)
    assert to_tensor(picture).max() == 1.0
    assert to_tensor(picture.astype(np.float32)).max() == 255.0
    assert to_tensor(picture[:, :, 0]).shape == (1, 2, 3)
