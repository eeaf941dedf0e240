"""How a computation is made repeatable on its device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def repeatable(device: torch.device, threads: int = 1) -> Iterator[None]:
    """Within: deterministic algorithms, this many threads on a CPU, and the global random state is borrowed.

    One thread is little slower than several on products as small as ours, many times as fast where anything else is at
    work (they wait for each other hundreds of times a second), and rounds the same on any number of cores.

    Everything is as before afterwards (but for the workspace that cuBLAS is asked to use), so nothing outside has a part in
    the result, nor the other way round.
    """
    before_threads = torch.get_num_threads()
    before_mode = torch.get_deterministic_debug_mode()
    before_rounding = torch.backends.cudnn.allow_tf32
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    if devices:  # asked of cuBLAS before its first product, whose sums may else differ from run to run
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.set_num_threads(threads)
        # Not `use_deterministic_algorithms`, which also tells PyTorch's compiler, and imports it first: a second and more.
        torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
        torch.backends.cudnn.allow_tf32 = False  # float32 means all of its 23 bits, also in convolutions
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(before_threads)
        torch.set_deterministic_debug_mode(before_mode)
        torch.backends.cudnn.allow_tf32 = before_rounding
