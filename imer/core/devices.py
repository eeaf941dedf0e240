"""Where to compute: `auto`, `cpu`, `cuda` or `cuda:<index>`."""

from __future__ import annotations

import re
from importlib.metadata import version

from imer.core.errors import MissingDependency, UsageError

_NAMES = re.compile(r"auto|cpu|cuda(?::([0-9]+))?")


def chosen_device(name: str) -> str:
    """Return the device to use: `auto` is CUDA where there is one.

    Raises
    ------
    UsageError
        The name is none of auto, cpu, cuda and cuda:<index>.
    MissingDependency
        CUDA was asked for and there is none, or not that many devices.
    """
    asked = _NAMES.fullmatch(name)
    if asked is None:
        raise UsageError(f"There is no device {name!r}; write auto, cpu, cuda or cuda:<index>.")
    if name == "cpu" or (name == "auto" and version("torch").endswith("+cpu")):
        return "cpu"  # known without importing torch, which takes seconds
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if int(asked[1] or 0) >= count:
        raise MissingDependency(
            f"The device {name} was asked for, but PyTorch finds {count or 'no'} CUDA device{'s' * (count != 1)} here; "
            "use --device cpu or --device auto."
        )
    return name
