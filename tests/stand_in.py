"""A device that is not the CPU, where there is none: tensors that say so, and operations that refuse what CUDA refuses.

A tensor of the stand-in keeps its values in a tensor of the CPU. Every operation is looked at before it runs: tensors of
both devices in one operation are an error unless CUDA allows it (indices, numbers without axes, copies), so are NumPy
views and a random generator of the other device. So a training that passes has put everything where it belongs; it says
nothing about speed, memory, or what CUDA's own kernels compute.

Registering a device is for good: use this in a process of its own (`training/on_another_device.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("standin")
DEVICE = torch.device("standin:0")
CPU = torch.device("cpu")

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
TAKE_CPU_INDICES = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
TO_PYTHON = {aten._local_scalar_dense.default}


class FarTensor(torch.Tensor):
    """A tensor that says it is on the stand-in; `near` has its values."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> FarTensor:
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, near.size(), dtype=near.dtype, device=DEVICE, **layout)

    def __init__(self, near: torch.Tensor) -> None:
        self.near = near

    def tolist(self) -> Any:
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation on the near tensors, if CUDA would run it, and say where its results are."""
    given = tree_leaves((args, kwargs))
    far = [leaf for leaf in given if isinstance(leaf, FarTensor)]
    if far:
        _refuse_what_cuda_refuses(func, args, given)
    asked = kwargs.get("device")
    stays_far = bool(far) if asked is None else torch.device(asked).type == DEVICE.type
    if asked is not None:
        kwargs = {**kwargs, "device": CPU}
    owner = {id(tensor.near): tensor for tensor in far}  # what works in place gives back what it was given
    near = tree_map(lambda leaf: leaf.near if isinstance(leaf, FarTensor) else leaf, (args, kwargs))
    found = func(*near[0], **near[1])
    if func in TO_PYTHON or not stays_far:
        return found
    return tree_map(lambda leaf: _moved(leaf, owner) if isinstance(leaf, torch.Tensor) else leaf, found)


def _moved(tensor: torch.Tensor, owner: dict[int, FarTensor]) -> FarTensor:
    return owner[id(tensor)] if id(tensor) in owner else FarTensor(tensor)


def _refuse_what_cuda_refuses(func: Any, args: tuple[Any, ...], given: list[Any]) -> None:
    near = [leaf for leaf in given if isinstance(leaf, torch.Tensor) and not isinstance(leaf, FarTensor) and leaf.dim()]
    if near and func in TAKE_CPU_INDICES:
        near = [] if isinstance(args[0], FarTensor) else near
    if near and func not in COPIES:
        raise RuntimeError(f"{func}: Expected all tensors to be on the same device")
    if any(isinstance(leaf, torch.Generator) and leaf.device.type == "cpu" for leaf in given):
        raise RuntimeError(f"{func}: Expected a generator of the device, but found one of the CPU")


class _Operations(TorchDispatchMode):
    """Makes tensors on the stand-in that are made from nothing, or copied to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """Does in Python what PyTorch does below the operations: tensors from lists, and lists as indices."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None and torch.device(device).type == DEVICE.type:
            return func(*args, **{**kwargs, "device": CPU}).to(DEVICE)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(args[0], FarTensor):
            tensor, where, *rest = args
            return func(tensor, _without_lists(where), *rest)
        return func(*args, **kwargs)


def _without_lists(where: Any) -> Any:
    if isinstance(where, tuple):
        return tuple(_without_lists(part) for part in where)
    return torch.tensor(where) if isinstance(where, list) else where


class _WithoutGradients:
    """Stands for inference mode, whose tensors cannot be kept by a tensor of ours."""

    def __enter__(self) -> None:
        self.inner = torch.no_grad()
        self.inner.__enter__()

    def __exit__(self, *error: object) -> None:
        self.inner.__exit__(*error)


@contextmanager
def stand_in() -> Iterator[torch.device]:
    """Within: the device exists."""
    mode = torch.inference_mode
    before = mode.__enter__, mode.__exit__
    mode.__enter__, mode.__exit__ = _WithoutGradients.__enter__, _WithoutGradients.__exit__
    try:
        with _Operations(), _Constructors():
            yield DEVICE
    finally:
        mode.__enter__, mode.__exit__ = before
