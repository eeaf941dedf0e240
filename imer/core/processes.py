"""Processes: whether the one that left something behind is still there, and how a child process is started well."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from imer.core.errors import UsageError

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
_CHILD_ENVIRONMENT = {
    **ONE_THREAD,
    # A child that had to be killed leaves a semaphore of some library; multiprocessing clears it up, and says so.
    "PYTHONWARNINGS": "ignore::UserWarning:multiprocessing.resource_tracker",
}
_MOST_ON_WINDOWS = 31  # processes with a pipe each, since 63 things at most can be waited for at once there
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_SYNCHRONIZE, _ACCESS_DENIED, _WAIT_TIMEOUT = 0x00100000, 5, 258  # of OpenProcess and WaitForSingleObject (Windows)


def is_alive(pid: int, started: str | None = None) -> bool:
    """Say whether a process of this host lives; with `started` (see `start_ticks`), whether it is that very one."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        with suppress(
            PermissionError, OverflowError
        ):  # somebody else's, such as one that got the number after a reboot
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return started is None or start_ticks(pid) in (None, started)


def _is_alive_on_windows(pid: int) -> bool:
    """Ask the system; a signal would end the process there, whatever its number."""
    # To a type checker elsewhere ctypes lacks both; on Windows there is nothing to ignore.
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
    if not handle:
        refused: int = ctypes.get_last_error()  # type: ignore[attr-defined, unused-ignore]
        return refused == _ACCESS_DENIED
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == _WAIT_TIMEOUT)
    finally:
        kernel.CloseHandle(handle)


def process_entry(pid: int) -> list[str]:
    """Return what Linux says of a process behind its program's name: state, parent, …, as proc(5) orders it from field 3 on.

    Raises
    ------
    OSError, IndexError
        There is no such process, or it has just ended.
    """
    # Bytes up to here: the name may be cut within a letter.
    return Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].decode().split()


def start_ticks(pid: int) -> str | None:
    """Return a process's start time, which tells it from a later process with the same number (Linux only)."""
    try:
        return process_entry(pid)[19]
    except (OSError, IndexError):
        return None


def queued_s(pid: int) -> float:
    """Return the seconds for which a process of one thread was ready to go on and others had the processors (Linux; else 0)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # another system, or a kernel that keeps no account of it
        return 0.0


def end_within(process: BaseProcess, limit_s: float) -> bool:
    """Wait for a process to end, and say whether it did; what it waits for a processor is not counted."""
    started = time.monotonic()
    while process.is_alive():
        left_s = limit_s + queued_s(process.pid or 0) - (time.monotonic() - started)
        if left_s <= 0:
            return False
        process.join(left_s)
    return True


def process_count(text: str, option: str, automatic: Callable[[], int]) -> int:
    """Read an option that takes a number of processes, or `auto`.

    Raises
    ------
    UsageError
        It is neither.
    """
    if text != "auto" and (not text.isdecimal() or int(text) < 1):
        raise UsageError(f"{option} takes a number of processes or auto; found {text!r}.")
    count = automatic() if text == "auto" else int(text)
    return min(count, _MOST_ON_WINDOWS) if sys.platform == "win32" else count


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started within."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def die_with_parent() -> None:
    """End this process when its parent dies, however that dies and whatever is being done here."""
    parent = parent_process()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    elif parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()
    if parent is not None and not parent.is_alive():  # it died before it could be noticed
        os._exit(1)


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def mute() -> None:
    """Send to nowhere what libraries say on stdout and stderr; what matters comes back through a pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


class Child:
    """A process of one thread that runs `serve(pipe, *args)`, and this end of the pipe."""

    def __init__(self, serve: Callable[..., None], *args: Any, variables: Mapping[str, str] | None = None) -> None:
        context: Any = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        with environment({**_CHILD_ENVIRONMENT, **(variables or {})}):
            self.process = context.Process(target=serve, args=(theirs, *args), daemon=True)
            self.process.start()
        theirs.close()

    def send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its death is noticed by the sentinel
            self.pipe.send(message)

    def death(self) -> str:
        """Wait for its end, and say how it came."""
        self.process.join()
        code = self.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def end(self, patience_s: float) -> None:
        """Let it end by itself for so long, then kill it; give back what it held here."""
        self.process.join(patience_s)
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.process.close()
