"""Put on PYTHONPATH of a process and its children: what `imer` meets on Windows, as far as Linux can show it.

The system is called win32 for `imer` alone; files that anybody of this test has open can be neither replaced nor deleted; only
what may be written to can be synced; a signal ends a process whatever its number; folders cannot be opened; names that
Windows does not have are refused; modules, signals and functions of POSIX are not there. What libraries do in other languages
is not seen, but for the files that they hold open.
"""

import builtins
import ctypes
import errno
import os
import runpy
import signal
import sys
import types
from pathlib import Path

runpy.run_path(str(Path(__file__).parents[2] / "guard" / "sitecustomize.py"))

_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(1, 10))}
_ALL_ACCESS, _ACCESS_DENIED, _INVALID_PARAMETER, _STILL_WAITING = 0x1F0FFF, 5, 87, 258
_import, _fsync, _open, _rename, _replace = builtins.__import__, os.fsync, os.open, os.rename, os.replace
_last_error = [0]


class _Kernel32:
    """The calls by which a process is looked at; a handle is the process's number plus one."""

    def OpenProcess(self, access, inherit, pid):
        assert access != _ALL_ACCESS
        if pid == 1:  # of the system
            _last_error[0] = _ACCESS_DENIED
            return 0
        if not os.path.exists(f"/proc/{pid}"):
            _last_error[0] = _INVALID_PARAMETER
            return 0
        return pid + 1

    def WaitForSingleObject(self, handle, milliseconds):
        state = Path(f"/proc/{handle - 1}/stat")
        return _STILL_WAITING if state.exists() and ") Z " not in state.read_text() else 0

    def CloseHandle(self, handle):
        return 1


ctypes.WinDLL = lambda name, use_last_error=False: {"kernel32": _Kernel32()}[name]
ctypes.get_last_error = lambda: _last_error[0]


def _of_windows(name, globals=None, locals=None, fromlist=(), level=0):
    """Import as there: no modules of POSIX, and for `imer` a `sys` that names the system."""
    own = str((globals or {}).get("__name__", "")).startswith("imer")
    if own and name in ("fcntl", "resource", "pwd", "grp", "termios"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if own and name == "sys":
        return _SYS
    return _import(name, globals, locals, fromlist, level)


class _Sys(types.ModuleType):
    platform = "win32"

    def __getattr__(self, name):
        return getattr(sys, name)

    def __setattr__(self, name, value):
        setattr(sys, name, value)


_SYS = _Sys("sys")
builtins.__import__ = _of_windows


def _refused(path, number=errno.EACCES, why="The process cannot access the file because it is being used"):
    return PermissionError(number, why, str(path))


def _open_files():
    """Return what the processes of this test have open or mapped: those of the same session."""
    session = os.getsid(0)
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) != session:
                continue
            for number in os.listdir(f"/proc/{pid}/fd"):
                yield os.readlink(f"/proc/{pid}/fd/{number}")
            with builtins.open(f"/proc/{pid}/maps") as maps:
                yield from (line.split(maxsplit=5)[5].rstrip() for line in maps if " /" in line)
        except OSError:
            continue


def _free(path):
    """Refuse where the file, or one in the folder, is open."""
    path = os.path.realpath(path) if not os.path.islink(path) else os.path.abspath(path)
    for held in set(_open_files()):
        if held == path or held.startswith(path + "/"):
            raise _refused(held)


def _possible(path):
    for part in Path(os.fspath(path)).parts[1:] if os.path.isabs(path) else Path(os.fspath(path)).parts:
        stem = part.split(".")[0].casefold()
        if part in (".", ".."):
            continue
        if set('<>:"|?*\\') & set(part) or part[-1] in ". " or stem in _RESERVED or min(part) < " ":
            raise OSError(errno.EINVAL, "The filename, directory name, or volume label syntax is incorrect", str(path))


def _heed(event, given):
    ours = lambda path: isinstance(path, str) and not path.startswith(("/proc", "/dev", "/sys"))  # noqa: E731
    if event == "open" and ours(given[0]) and given[2] & (os.O_CREAT | os.O_TRUNC):
        _possible(given[0])
    elif event == "os.mkdir":
        _possible(os.fsdecode(given[0]))
    elif event == "os.rename":
        _possible(os.fsdecode(given[1]))
        _free(os.fsdecode(given[0]))
        _free(os.fsdecode(given[1]))
    elif event == "os.remove" and given[1] == -1:
        _free(os.fsdecode(given[0]))


sys.addaudithook(_heed)


def _synced(descriptor):
    descriptor = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    import fcntl

    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(descriptor)


def _opened(path, flags, *more, **named):
    if not isinstance(path, int) and os.path.isdir(path) and not flags & getattr(os, "O_DIRECTORY", 0):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return _open(path, flags, *more, **named)


def _renamed(source, target, **named):
    if os.path.lexists(target):
        raise FileExistsError(
            errno.EEXIST, "Cannot create a file when that file already exists", str(source), str(target)
        )
    _rename(source, target, **named)


def _replaced(source, target, **named):
    if os.path.isdir(target):
        raise PermissionError(errno.EACCES, "Access is denied", str(source), str(target))
    _replace(source, target, **named)


def _ended(pid, number):
    """Windows has no signals: every number ends the process."""
    sys.stderr.write(f"os.kill({pid}, {number}) ended process {pid}\n")
    sys.stderr.flush()
    signal.raise_signal(signal.SIGKILL) if pid == os.getpid() else _kill(pid, signal.SIGKILL)


_kill = os.kill
os.fsync, os.open, os.rename, os.replace, os.kill = _synced, _opened, _renamed, _replaced, _ended
