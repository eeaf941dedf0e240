"""What a run does besides its results: memory of its processes, zombies, files it opens, calls it makes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_OPENED, _READ = 0x20, 0x01  # IN_OPEN, IN_ACCESS of inotify(7)
_DROP_FROM_BOUNDING_SET = 24  # PR_CAPBSET_DROP of prctl(2)
_ROOT_READS_ALL = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def as_an_ordinary_user() -> None:
    """For `preexec_fn`: a program started by root obeys the permissions of files as anyone else's does."""
    if os.geteuid() == 0:
        for capability in _ROOT_READS_ALL:
            ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


class Switchboard:
    """Listens on one port of this machine, by TCP and UDP; nobody is expected to call."""

    def __enter__(self) -> Self:
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        return self

    def calls(self) -> int:
        """The number of sockets at which somebody has called."""
        return len(select.select([self._tcp, self._udp], [], [], 0)[0])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tcp.close()
        self._udp.close()


class Tripwire:
    """Notices every opening of the files of a folder (Linux)."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._libc.inotify_add_watch(self._handle, str(folder).encode(), _OPENED | _READ) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))

    def touched(self) -> list[str]:
        """The names that were opened or read since the last call."""
        names = []
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._handle, 1 << 16):
                while data:
                    length = struct.unpack_from("iIII", data)[3]
                    names.append(data[16 : 16 + length].rstrip(b"\x00").decode(errors="replace"))
                    data = data[16 + length :]
        return names

    def close(self) -> None:
        os.close(self._handle)


class ProcessWatch(threading.Thread):
    """Looks at a process and all that descend from it, some twenty times a second."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._ending = threading.Event()
        self.peak_bytes: dict[int, int] = {}  # resident, per process that was ever seen
        self._zombie_since: dict[int, float] = {}
        self.longest_zombie_s = 0.0

    def run(self) -> None:
        while not self._ending.wait(0.05):
            self._look()

    def finish(self) -> list[int]:
        """Stop looking; return the processes of the run that are still there."""
        self._ending.set()
        self.join()
        deadline = time.monotonic() + 5.0
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def _left(self) -> list[int]:
        return [pid for pid in self.peak_bytes if pid != self._root and Path(f"/proc/{pid}").exists()]

    def _look(self) -> None:
        parents: dict[int, int] = {}
        status: dict[int, dict[str, str]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdecimal():
                with contextlib.suppress(OSError, ValueError):
                    lines = Path(f"/proc/{entry}/status").read_text().splitlines()
                    status[int(entry)] = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
                    parents[int(entry)] = int(status[int(entry)]["PPid"])
        family = {self._root}
        while grown := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= grown
        now = time.monotonic()
        for pid in family & set(status):
            peak = int(status[pid].get("VmHWM", "0").split()[0]) << 10
            self.peak_bytes[pid] = max(self.peak_bytes.get(pid, 0), peak)
            if status[pid]["State"].startswith("Z") and pid != self._root:
                since = self._zombie_since.setdefault(pid, now)
                self.longest_zombie_s = max(self.longest_zombie_s, now - since)
