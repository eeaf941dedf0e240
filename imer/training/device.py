"""Where to compute, and how to make it repeatable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from imer.core.errors import MissingDependency, UsageError


def resolve_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:<index>`.

    Raises
    ------
    UsageError
        The name is none of these.
    MissingDependency
        CUDA is asked for and there is none, or not that many.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(f"There is no device {name!r}; write auto, cpu, cuda or cuda:<index>.")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise MissingDependency(
                f"The device {name} was asked for, but PyTorch finds {count or 'no'} CUDA device{'s' * (count != 1)} here; "
                "use --device cpu or --device auto."
            )
    return torch.device(name)


@contextmanager
def repeatable(device: torch.device, threads: int = 0) -> Iterator[None]:
    """Within: deterministic algorithms, this many threads (0: as they are), and the global random state is borrowed.

    Everything is as before afterwards, so nothing outside has a part in the result, nor the other way round.
    """
    before_threads = torch.get_num_threads()
    before_deterministic = torch.are_deterministic_algorithms_enabled()
    before_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    if devices:  # asked of cuBLAS before its first product, whose sums may else differ from run to run
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        if threads:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(before_threads)
        torch.use_deterministic_algorithms(before_deterministic, warn_only=before_warn)
