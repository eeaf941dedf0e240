"""A disk that is really full: a clear end, nothing half-published, and with more room the same command gets there.

    OMP_NUM_THREADS=1 python -m tests.campaigns.full_disk

Each command writes to a small file system in memory, of 4 KiB, 12 KiB, 20 KiB, later a tenth more each time, until one is
large enough. It is mounted in a namespace of this process alone, which needs no rights (where the system allows such
namespaces to a process of one thread; Linux).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from imer.core.errors import EXIT_INVALID_INPUT
from tests.campaigns import workbench
from tests.campaigns.faults import Job, jobs
from tests.campaigns.workbench import CANNOT, Counts

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000  # of unshare(2)
_REMOUNT, _PRIVATE, _RECURSIVE = 0x20, 1 << 18, 0x4000  # of mount(2)
STEP = 8 << 10  # bytes between one size and the next, at least
ROOM = 64 << 20


def in_own_namespace() -> bool:
    """Give this process a view of the file systems of its own, in which it may mount; false where it must not."""
    libc = ctypes.CDLL(None)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_MOUNTS) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError:
        return False
    return libc.mount(b"none", b"/", None, _PRIVATE | _RECURSIVE, None) == 0


def _mount(folder: Path, size: int, flags: int = 0) -> bool:
    libc = ctypes.CDLL(None)
    return libc.mount(b"tmpfs", bytes(folder), b"tmpfs", flags, f"size={size}".encode()) == 0


def campaign(job: Job, root: Path, counts: Counts) -> None:
    """Let a job meet full disks of growing size, each of which grows afterwards."""
    disk = root / "disk"
    size = STEP // 2
    truth = ""
    while True:
        assert _mount(disk, ROOM if not truth else size)
        case = f"{job.name}, a disk of {size >> 10} KiB"
        log = root / "said"
        code = workbench.finished(job.run(disk), log)
        if not truth:
            assert code == job.ends_with, log.read_text()
            truth = workbench.content(disk / job.output)
        elif code == job.ends_with:
            counts.promise("results that differ", workbench.content(disk / job.output) == truth, case)
            _unmount(disk)
            return
        else:
            counts.add(f"{job.name}: full disks")
            last = (log.read_text().strip().splitlines() or [""])[-1]
            clear = code == EXIT_INVALID_INPUT and f"{disk}" in last and "No space left on device; free some" in last
            counts.promise("ends that are not clear", clear, f"{case}: exit {code}: {last[-300:]}")
            counts.promise("half-published outputs", not (disk / job.output).exists() or job.name == "train", case)
            assert _mount(disk, ROOM, _REMOUNT)
            again = workbench.finished(job.run(disk), log)
            counts.promise("next runs that failed", again == job.ends_with, f"{case}: {log.read_text()[-300:]}")
            if again == job.ends_with:
                counts.promise("results that differ", workbench.content(disk / job.output) == truth, case)
            size += max(STEP, size // 10)
        _unmount(disk)


def _unmount(disk: Path) -> None:
    ctypes.CDLL(None).umount2(bytes(disk), 0)


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", what="extract,mask,import")
    if sys.platform != "linux" or not in_own_namespace():
        print("this machine lets no process mount a file system of its own; nothing was tried")
        return CANNOT
    names = asked.what.split(",")
    workbench.load_product(networks=bool({"train", "export"} & set(names)))

    def cases(root: Path, counts: Counts) -> None:
        (root / "disk").mkdir()
        for job in jobs(names, root):
            campaign(job, root, counts)

    return workbench.carry_out("disks that are full", asked, cases)


if __name__ == "__main__":
    sys.exit(main())
