"""What of the machine this process may use: cores and memory, fewer where a container or a batch system grants fewer.

Docker, Kubernetes and Slurm limit a group of processes (Linux: cgroups, of version 1 or 2). The machine itself looks as large
as ever from within; whoever starts a worker for each of its cores is slowed down or killed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1; a part of a core counts as one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = min((_cores_granted(folder) for folder in _folders("cpu")), default=math.inf)
    return cores if granted >= cores else max(math.ceil(granted), 1)


def usable_memory() -> int | None:
    """Return the bytes of memory that this process and its like may use together; None where the system does not say."""
    if not hasattr(os, "sysconf"):
        return None
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    return int(min([machine, *(_number(folder / name) for folder in _folders("memory") for name in names)]))


def _folders(controller: str) -> Iterator[Path]:
    """Yield where limits of this process's groups may stand, with those of the groups that hold them."""
    try:
        lines = _OWN.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2; beside version 1 it has a folder of its own
            roots = [_GROUPS, _GROUPS / "unified"]
        elif controller in controllers.split(","):
            roots = [_GROUPS / controller]
        else:
            continue
        # In a container the way to its group may be that of the machine, which is not there: its own is then the root.
        way = Path(group.lstrip("/"))
        yield from (root / part for root in roots for part in (way, *way.parents))


def _cores_granted(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):  # version 1, or no limits here
        return _number(folder / "cpu.cfs_quota_us") / _number(folder / "cpu.cfs_period_us", usual=1.0)


def _number(path: Path, usual: float = math.inf) -> float:
    """Read a limit; without one it is the usual."""
    try:
        number = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max", or no such limit
        return usual
    return number if number > 0 else usual
