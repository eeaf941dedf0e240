"""facenet-pytorch's own detector, for comparisons with it: with the two functions of torchvision that it calls.

`imer` takes the networks alone (`imer/extractors/cascade.py`). The functions are written anew, so that the detector
works where torchvision is not built for the torch that is there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor


def facenet_pytorch_with_detector() -> Any:
    """Import facenet-pytorch and return the package, whose `MTCNN` can be called."""
    from imer.extractors.facenet_import import facenet_pytorch

    package = facenet_pytorch()
    detect_face: Any = import_module("facenet_pytorch.models.utils.detect_face")
    detect_face.batched_nms = batched_nms
    detect_face.F.to_tensor = to_tensor
    return package


def non_maximum_suppression(boxes_N4: Tensor, scores_N: Tensor, threshold: float) -> Tensor:
    """Return the indices of the boxes to keep, best score first: none overlaps a better one by more than `threshold`."""
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
    array = np.asarray(picture)
    if array.ndim == 2:
        array = array[:, :, None]
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor
