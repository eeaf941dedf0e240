"""One process per output: a lock file that names its owner.

The file appears complete or not at all. One left behind by a dead process of this host is taken over with a notice, by
one process only; one from another host is never broken, since nobody here can tell whether its owner lives.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from imer.core.errors import OutputExists, UsageError
from imer.core.files import behind_links, fault_point, make_folder, naming, remove_leftovers, temporary_name
from imer.core.processes import is_alive, start_ticks

_ATTEMPTS = 3
_WAIT_S, _LOOK_S = 30.0, 0.05  # how long, and how often, another owner is waited for
_FILLING_S = 5.0  # where there are no hard links, a lock is empty for a moment


@contextmanager
def output_lock(path: Path | None, notice: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `<path>.lock` while the output at `path` is being made; what killed owners left half-written is removed.

    Without a path there is nothing to hold.

    Raises
    ------
    OutputExists
        A living process (or one on another host) holds the lock.
    UsageError
        The path is `-`, which this output cannot be.
    """
    if path is None:
        yield
        return
    path = behind_links(Path(path))
    if path.name == "-":
        raise UsageError("-o - : this output is a file and no stream; give it a name.")
    lock = Path(f"{path}.lock")
    make_folder(lock.parent)
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": start_ticks(os.getpid())}
    mine = temporary_name(lock)
    try:
        with naming(lock, mine):
            fault_point("lock")
            mine.write_text(json.dumps(owner), encoding="utf-8")
            for _ in range(_ATTEMPTS):
                if _claimed(mine, lock) or _taken_over(mine, lock, path, notice):
                    break
            else:
                raise OutputExists(f"{path} is locked by another process that has just started.")
    finally:
        with suppress(OSError):
            mine.unlink(missing_ok=True)
    try:
        for name in (path.name, lock.name):
            remove_leftovers(path.parent, name)
        yield
    finally:
        with suppress(OSError, ValueError):
            # Somebody may have deleted ours, and another taken it.
            if json.loads(lock.read_text(encoding="utf-8")) == owner:
                lock.unlink()


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold `<path>.lock` as `output_lock` does, but wait for its owner: for files that are changed in an instant.

    Raises
    ------
    OutputExists
        Its owner has held it for half a minute.
    """
    with ExitStack() as held:
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                held.enter_context(output_lock(path))
                break
            except OutputExists:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
        yield


def _claimed(mine: Path, lock: Path) -> bool:
    """Give the lock's name to our file; false where the lock exists."""
    try:
        os.link(mine, lock)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as file:
            file.write(mine.read_text(encoding="utf-8"))
    return True


def _taken_over(mine: Path, lock: Path, path: Path, notice: Callable[[str], None] | None) -> bool:
    """Put our file in the place of a stale lock; false where the lock has gone or changed hands meanwhile.

    Raises
    ------
    OutputExists
        Its owner lives, or may live.
    """
    try:
        file = open(lock, encoding="utf-8")  # noqa: SIM115 - closed below; only its absence is caught here
    except FileNotFoundError:
        return False
    with file:
        _one_at_a_time(file)
        if not _is_still(file, lock):
            return False
        try:
            owner = json.load(file)
            host, pid, started = owner.get("host"), int(owner.get("pid", -1)), owner.get("started")
        except (ValueError, AttributeError, TypeError):
            if time.time() - os.fstat(file.fileno()).st_mtime < _FILLING_S:
                raise OutputExists(f"{path} is locked by another process ({lock}).") from None
            host, pid, started = None, -1, None
        here = host in (None, socket.gethostname())
        if not here or is_alive(pid, started):
            raise OutputExists(
                f"{path} is locked by process {pid} on {host}; wait for it, or delete {lock} if that process is gone."
            )
        if notice is not None:
            notice(f"took over the lock of {path}: process {pid} is gone.")
        if sys.platform == "win32":
            file.close()  # nothing that is open can be replaced there
        os.replace(mine, lock)
    return True


def _one_at_a_time(file: TextIOWrapper) -> None:
    """Wait until no other process looks at this very lock file; where the system cannot say, go on."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _is_still(file: TextIOWrapper, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    except FileNotFoundError:
        return False
