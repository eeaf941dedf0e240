"""One process per output: a lock file that names its owner.

A lock left behind by a dead process of this host is taken over with a notice; one from another host is never
broken, since nobody here can tell whether its owner lives.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imer.core.errors import OutputExists


@contextmanager
def output_lock(path: Path, notice: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `<path>.lock` while the output at `path` is being made.

    Raises
    ------
    OutputExists
        A living process (or one on another host) holds the lock.
    """
    lock = Path(f"{path}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_ticks(os.getpid())}
    for _ in range(2):
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            _take_over_if_stale(lock, path, notice)
            continue
        with os.fdopen(descriptor, "w") as file:
            json.dump(owner, file)
        break
    else:
        raise OutputExists(f"{path} is locked by another process that has just started.")
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()


def _take_over_if_stale(lock: Path, path: Path, notice: Callable[[str], None] | None) -> None:
    try:
        owner = json.loads(lock.read_text())
    except FileNotFoundError:
        return
    except ValueError:
        # The owner may be between creating and filling its lock; give it the time that takes.
        age_s = time.time() - lock.stat().st_mtime
        if age_s < 5:
            raise OutputExists(f"{path} is locked by another process ({lock}).") from None
        owner = {}
    host, pid = owner.get("host"), owner.get("pid", -1)
    here = host in (None, socket.gethostname())
    alive = here and _is_alive(pid, owner.get("started"))
    if not here or alive:
        raise OutputExists(
            f"{path} is locked by process {pid} on {host}; wait for it, or delete {lock} if that process is gone."
        )
    if notice is not None:
        notice(f"took over the lock of {path}: process {pid} is gone.")
    with suppress(FileNotFoundError):
        lock.unlink()


def _is_alive(pid: int, started: str | None) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return started is None or _start_ticks(pid) in (None, started)


def _start_ticks(pid: int) -> str | None:
    """Return a process's start time, which tells it from a later process with the same number (Linux only)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None
