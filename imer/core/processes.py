"""Whether the process that left something behind is still there."""

from __future__ import annotations

import os
from pathlib import Path


def is_alive(pid: int, started: str | None = None) -> bool:
    """Say whether a process of this host lives; with `started` (see `start_ticks`), whether it is that very one."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return started is None or start_ticks(pid) in (None, started)


def start_ticks(pid: int) -> str | None:
    """Return a process's start time, which tells it from a later process with the same number (Linux only)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None
