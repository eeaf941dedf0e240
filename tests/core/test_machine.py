"""A container's limits count, whichever version of cgroups says them, and a machine without any is used whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imer.core import machine
from imer.extraction.engines import worker_count

GIB = 1 << 30


def grant(folder: Path, monkeypatch: pytest.MonkeyPatch, own: str, limits: dict[str, str], cores: int = 16) -> None:
    """Make a machine of 64 GiB and so many cores, on which this process is in these groups, with these limits."""
    (folder / "own").write_text(own)
    for name, text in limits.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(text + "\n")
    monkeypatch.setattr(machine, "_OWN", folder / "own")
    monkeypatch.setattr(machine, "_GROUPS", folder / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}.__getitem__)


V1 = "4:memory:/docker/c1\n3:cpuset:/\n1:cpu,cpuacct:/docker/c1\n0::/\n"


@pytest.mark.parametrize(
    ("own", "limits", "cores", "gib"),
    [
        ("0::/\n", {"cpu.max": "200000 100000", "memory.max": str(3 * GIB)}, 2, 3),
        ("0::/pods/a/b\n", {"pods/cpu.max": "250000 100000", "pods/a/b/cpu.max": "max 100000"}, 3, 64),
        ("0::/pods/a\n", {"pods/memory.high": str(5 * GIB), "pods/a/memory.max": "max"}, 16, 5),
        ("0::/../other\n", {"cpu.max": "50000 100000"}, 1, 64),
        (V1, {"cpu/docker/c1/cpu.cfs_quota_us": "400000", "cpu/docker/c1/cpu.cfs_period_us": "100000"}, 4, 64),
        (V1, {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "50000"}, 3, 64),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16, 64),
        (V1, {"memory/docker/c1/memory.limit_in_bytes": str(7 * GIB)}, 16, 7),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, 16, 64),
        (V1, {"unified/cpu.max": "100000 100000"}, 1, 64),
        ("0::/\n", {"cpu.max": "3200000 100000", "memory.max": str(500 * GIB)}, 16, 64),
        ("0::/\n", {"cpu.max": "nonsense", "memory.max": ""}, 16, 64),
        ("", {}, 16, 64),
    ],
)
def test_the_smallest_limit_counts(
    own: str, limits: dict[str, str], cores: int, gib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant(tmp_path, monkeypatch, own, limits)
    assert machine.usable_cores() == cores
    assert machine.usable_memory() == gib * GIB


def test_where_nobody_limits_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(tmp_path, monkeypatch, "", {})
    (tmp_path / "own").unlink()
    assert (machine.usable_cores(), machine.usable_memory()) == (16, 64 * GIB)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sysconf")
    assert machine.usable_cores() == (os.cpu_count() or 1)
    assert machine.usable_memory() is None


def test_automatic_workers_fit_into_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(tmp_path, monkeypatch, "0::/\n", {"cpu.max": "800000 100000", "memory.max": str(6 * GIB)})
    assert worker_count("auto") == 3, "one for 2 GiB"
    assert worker_count("5") == 5, "whoever names a number gets it"
