"""Import facenet-pytorch and transformers whatever torchvision is there: one that fits torch, one that does not, none.

facenet-pytorch uses exactly two functions of torchvision (`to_tensor` and `batched_nms`), and transformers imports it
whenever it is installed. A torchvision built for another torch fails on import and takes both down with it. So
torchvision is made invisible before transformers is imported, and two small modules of ours stand in for it while
facenet-pytorch is imported. They are used even where torchvision works, so that a face is found at the same place
on every machine.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_NAME = "torchvision"


def _loaded() -> dict[str, Any]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == _NAME}


def _purge() -> None:
    for name in _loaded():
        del sys.modules[name]


@lru_cache(maxsize=1)
def torchvision_state() -> tuple[str, str]:
    """Return ("works", ""), ("absent", "") or ("broken", why)."""
    if sys.modules.get(_NAME) is not None:
        return "works", ""
    hidden = _NAME in sys.modules
    if hidden:
        del sys.modules[_NAME]
    try:
        if find_spec(_NAME) is None:
            return "absent", ""
        import_module(_NAME)
    except Exception as error:  # noqa: BLE001 - whatever a mismatched binary raises on import
        _purge()
        return "broken", f"{type(error).__name__}: {error}"
    finally:
        if hidden:
            sys.modules[_NAME] = None  # type: ignore[assignment]  # None: "not to be imported"
    return "works", ""


def hide_torchvision() -> None:
    """Make torchvision invisible to what is imported from now on, unless this process uses it already."""
    if sys.modules.get(_NAME) is None:
        sys.modules[_NAME] = None  # type: ignore[assignment]  # None: "not to be imported"


def non_maximum_suppression(boxes_N4: Tensor, scores_N: Tensor, threshold: float) -> Tensor:
    """Return the indices of the boxes to keep, best score first: none overlaps a better one by more than `threshold`."""
    import numpy as np
    import torch

    order = torch.argsort(scores_N, descending=True, stable=True).cpu().numpy()
    boxes = boxes_N4.detach().cpu().numpy()[order]
    left, top, right, bottom = boxes.T
    area = (right - left) * (bottom - top)
    alive = np.ones(len(boxes), dtype=bool)
    keep: list[int] = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        keep.append(int(order[i]))
        rest = slice(i + 1, None)
        width = np.minimum(right[i], right[rest]) - np.maximum(left[i], left[rest])
        height = np.minimum(bottom[i], bottom[rest]) - np.maximum(top[i], top[rest])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        union = area[i] + area[rest] - overlap
        alive[rest] &= ~(overlap > threshold * union)
    return torch.as_tensor(keep, dtype=torch.int64, device=boxes_N4.device)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Suppress within each class (here: each image of a batch) alone; return the kept indices, best score first."""
    import torch

    kept = [
        members[non_maximum_suppression(boxes[members], scores[members], iou_threshold)]
        for members in ((idxs == value).nonzero().flatten() for value in torch.unique(idxs))
    ]
    if not kept:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    joined = torch.cat(kept)
    return joined[torch.argsort(scores[joined], descending=True, stable=True)]


def to_tensor(picture: Any) -> Tensor:
    """Return an [H, W, C] array as a float tensor [C, H, W]; uint8 is scaled to 0…1, floats are left as they are."""
    import numpy as np
    import torch

    array = np.asarray(picture)
    if array.ndim == 2:
        array = array[:, :, None]
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Put our two functions where facenet-pytorch looks for torchvision's, and take them away again."""
    before = _loaded()
    _purge()
    modules = {
        name: types.ModuleType(name)
        for name in (
            _NAME,
            f"{_NAME}.transforms",
            f"{_NAME}.transforms.functional",
            f"{_NAME}.ops",
            f"{_NAME}.ops.boxes",
        )
    }
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    modules[f"{_NAME}.transforms.functional"].__dict__["to_tensor"] = to_tensor
    modules[f"{_NAME}.ops.boxes"].__dict__["batched_nms"] = batched_nms
    sys.modules.update(modules)
    try:
        yield
    finally:
        _purge()
        sys.modules.update(before)


def library_versions() -> str:
    """Return the versions of facenet-pytorch and of the torch that it runs on."""
    return f"facenet-pytorch {version('facenet-pytorch')}, torch {version('torch').partition('+')[0]}"


@lru_cache(maxsize=1)
def facenet_pytorch() -> Any:
    """Import facenet-pytorch and return the package."""
    with _stand_ins():
        return import_module("facenet_pytorch")
