"""Every file call of a program, seen at the door of the kernel; any one of them can be made to fail.

A seccomp filter hands the file calls of a child, and of all processes that it starts, to its parent, which lets them
pass, answers them with an error, or kills the child's whole process group at that very moment. So Python, HDF5, NumPy
and safetensors meet a full or broken disk exactly as they would on one, and the product needs no switch for it. Linux.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

KILL = -1  # an answer: the process group is gone before the call is made
_AT_FDCWD = -100
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

# name → (number on x86_64, number on aarch64, index of the folder argument or None, index of the path or descriptor).
# A call with a folder argument, or named "…path", takes a path; the others take a descriptor.
_CALLS = {
    "open": (2, None, None, 0), "openat": (257, 56, 0, 1), "creat": (85, None, None, 0),
    "write": (1, 64, None, 0), "pwrite": (18, 68, None, 0), "writev": (20, 66, None, 0), "pwritev": (296, 70, None, 0),
    "ftruncate": (77, 46, None, 0), "fsync": (74, 82, None, 0), "fdatasync": (75, 83, None, 0),
    "rename": (82, None, None, 1), "renameat": (264, 38, 2, 3), "renameat2": (316, 276, 2, 3),
    "link": (86, None, None, 1), "linkat": (265, 37, 2, 3), "mkdir": (83, None, None, 0), "mkdirat": (258, 34, 0, 1),
    "unlink": (87, None, None, 0), "unlinkat": (263, 35, 0, 1), "rmdir": (84, None, None, 0),
}  # fmt: skip
_BY_DESCRIPTOR = {"write", "pwrite", "writev", "pwritev", "ftruncate", "fsync", "fdatasync"}
_FLAGS_AT = {"open": 1, "openat": 2}
_ARM = platform.machine() == "aarch64"
_NUMBERS = {entry[_ARM]: name for name, entry in _CALLS.items() if entry[_ARM] is not None}
_SECCOMP, _ARCH = (277, 0xC00000B7) if _ARM else (317, 0xC000003E)

_RECV, _SEND = 0xC0502100, 0xC0182101  # ioctl requests of a seccomp listener
_CONTINUE = 1
_ALLOW, _ASK = 0x7FFF0000, 0x7FC00000


@dataclass(frozen=True)
class Call:
    """One file call below the watched folder."""

    name: str
    path: str
    writes: bool


@dataclass
class Watched:
    """How a watched program ended, and which calls it made. `code` is negative for a signal, as in subprocess."""

    code: int = 0
    calls: list[Call] = field(default_factory=list)
    out: str = ""
    err: str = ""


def available() -> bool:
    """Say whether this machine lets a process watch the calls of its child."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    try:
        return watched(lambda: 7, Path("/nowhere")).code == 7
    except OSError:
        return False


def watched(
    work: Callable[[], int],
    root: Path,
    decide: Callable[[int, Call], int | None] = lambda number, call: None,
    *,
    limit_s: float = 120.0,
) -> Watched:
    """Run `work` in a fork that leads its own process group, and decide about each of its file calls below `root`.

    `decide` gets the number of the call, from 1, and the call; it returns None to let it pass, an errno to answer it
    with, or KILL. What the child prints is kept.

    Raises
    ------
    TimeoutError
        The child took longer than `limit_s`.
    """
    outs = [os.memfd_create(name) for name in ("out", "err")]
    mine, theirs = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork of a process with threads: the child starts none
        child = os.fork()
    if child == 0:
        _be_watched(work, theirs, outs)
    theirs.close()
    found = Watched()
    try:
        _, descriptors, _, _ = socket.recv_fds(mine, 1, 1)
        if not descriptors:
            raise OSError("the system lets no process watch the calls of another")
        _supervise(descriptors[0], child, str(root), decide, found, time.monotonic() + limit_s)
        os.close(descriptors[0])
        _, status = os.waitpid(child, 0)
        found.code = os.waitstatus_to_exitcode(status)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        raise
    finally:
        mine.close()
        texts = []
        for descriptor in outs:
            os.lseek(descriptor, 0, os.SEEK_SET)
            with os.fdopen(descriptor, "rb") as file:
                texts.append(file.read().decode(errors="replace"))
        found.out, found.err = texts
    return found


def _be_watched(work: Callable[[], int], supervisor: socket.socket, outs: list[int]) -> None:
    """Become the watched program; never return."""
    code = 70
    try:
        os.setsid()
        listener = _install()
        socket.send_fds(supervisor, [b"x"], [listener])
        os.close(listener)
        supervisor.close()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, descriptor in enumerate(outs, start=1):
            os.dup2(descriptor, number)
        code = work()
    except BaseException:  # noqa: BLE001 - whatever a program dies of is shown
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _install() -> int:
    """Put the filter over this process; return the descriptor at which its calls are answered."""
    program = [struct.pack("HBBI", 0x20, 0, 0, 4)]  # load the architecture
    program.append(struct.pack("HBBI", 0x15, 1, 0, _ARCH))
    program.append(struct.pack("HBBI", 0x06, 0, 0, _ALLOW))
    program.append(struct.pack("HBBI", 0x20, 0, 0, 0))  # load the number
    numbers = list(_NUMBERS)
    for place, number in enumerate(numbers):
        program.append(struct.pack("HBBI", 0x15, len(numbers) - place, 0, number))
    program.append(struct.pack("HBBI", 0x06, 0, 0, _ALLOW))
    program.append(struct.pack("HBBI", 0x06, 0, 0, _ASK))
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    listener = libc.syscall(_SECCOMP, 1, 8, header)  # SET_MODE_FILTER, NEW_LISTENER
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def _supervise(
    listener: int, child: int, root: str, decide: Callable[[int, Call], int | None], found: Watched, deadline: float
) -> None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        events = poll.poll(1000)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the program still runs after its limit; its last calls were {found.calls[-3:]}")
        if not events:
            continue
        if not events[0][1] & select.POLLIN:
            return  # every process under the filter has ended
        request = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECV, request)
        except OSError:  # the caller was killed in the meantime
            continue
        identity, pid, _, number = struct.unpack_from("QIIi", request)
        arguments = struct.unpack_from("6Q", request, 32)
        answer = None
        call = _call(pid, _NUMBERS[number], arguments)
        if call is not None and call.path.startswith(root):
            found.calls.append(call)
            answer = decide(len(found.calls), call)
        if answer == KILL:
            os.killpg(child, signal.SIGKILL)
            continue
        reply = struct.pack("QqiI", identity, 0, -(answer or 0), 0 if answer else _CONTINUE)
        with suppress(OSError):
            fcntl.ioctl(listener, _SEND, reply)


def _call(pid: int, name: str, arguments: tuple[int, ...]) -> Call | None:
    """Say what a call is about; None where its process has gone."""
    _, _, folder_at, path_at = _CALLS[name]
    try:
        if name in _BY_DESCRIPTOR:
            return Call(name, os.readlink(f"/proc/{pid}/fd/{arguments[path_at] & 0xFFFFFFFF}"), True)
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            path = os.pread(memory.fileno(), 4096, arguments[path_at]).split(b"\0", 1)[0].decode(errors="replace")
        if not path.startswith("/"):
            folder = _AT_FDCWD if folder_at is None else ctypes.c_int32(arguments[folder_at] & 0xFFFFFFFF).value
            at = "cwd" if folder == _AT_FDCWD else f"fd/{folder}"
            path = os.path.normpath(os.path.join(os.readlink(f"/proc/{pid}/{at}"), path))
    except OSError:
        return None
    writes = bool(arguments[_FLAGS_AT[name]] & _WRITING) if name in _FLAGS_AT else True
    return Call(name, path, writes)
