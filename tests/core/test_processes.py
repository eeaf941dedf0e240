"""Whether a process is there, and is the one that is meant."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from imer.core import processes
from imer.core.processes import end_within, is_alive, process_count, queued_s, start_ticks

_BUSY_CHILD = """
import sys, time
from imer.core import processes

def work(pipe, system):
    sys.platform = system
    processes.die_with_parent()
    pipe.send("at work")
    while True:
        sum(range(1000))

if __name__ == "__main__":
    child = processes.Child(work, sys.argv[1])
    child.pipe.recv()
    print(child.process.pid, flush=True)
    sys.stdin.readline()
"""


def test_a_process_is_alive_until_it_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = start_ticks(process.pid)
        assert started is not None
        assert is_alive(process.pid)
        assert is_alive(process.pid, started)
        assert not is_alive(process.pid, "0"), "another process that has the number"
        process.kill()
        process.wait()
        assert not is_alive(process.pid)
        assert start_ticks(process.pid) is None


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system keeps no account of it")
def test_what_a_process_waits_for_a_processor_is_known_and_is_nobodys_fault() -> None:
    """Two processes on one core: the one that hardly gets it is not late, and one that merely sleeps is."""
    core = {min(os.sched_getaffinity(0))}
    context = get_context("fork")
    busy, starved = (context.Process(target=_work_on, args=(core, nice), daemon=True) for nice in (0, 19))
    idle = context.Process(target=signal.pause, daemon=True)
    for process in (busy, starved, idle):
        process.start()
    try:
        assert starved.pid is not None
        assert idle.pid is not None
        started = time.monotonic()
        while (waited_s := queued_s(starved.pid)) < 0.3:
            assert time.monotonic() < started + 60
        assert waited_s < time.monotonic() - started + 0.1
        assert not end_within(idle, 0.2)
        assert queued_s(idle.pid) < 0.1
        started = time.monotonic()
        assert not end_within(starved, 0.05)
        assert time.monotonic() - started > 0.2, "its own time counts, and no other"
    finally:
        for process in (busy, starved, idle):
            process.kill()
            process.join()
    assert queued_s(starved.pid) == 0.0
    assert end_within(starved, 0.0)


def _work_on(core: set[int], nice: int) -> None:
    os.sched_setaffinity(0, core)
    os.nice(nice)
    while True:
        sum(range(1000))


def test_numbers_that_are_no_process() -> None:
    assert not is_alive(0)
    assert not is_alive(-1)
    assert is_alive(2**70), "whatever cannot be asked about may live"


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_a_process_that_may_not_be_asked_is_alive(error: type[OSError], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise error

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(1) == (error is PermissionError)
    assert is_alive(os.getpid(), start_ticks(os.getpid())) == (error is PermissionError)
    assert not is_alive(os.getpid(), "0"), "when it started can be asked all the same"


def test_a_program_whose_name_the_system_cuts_within_a_letter(tmp_path: Path) -> None:
    """It is found under the number of a dead owner of a lock."""
    program = shutil.copy(shutil.which("cat") or "", tmp_path / ("ä" * 8))  # the system keeps 15 bytes
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid, start_ticks(process.pid))
        assert not is_alive(process.pid, "0")


def test_without_a_proc_file_system_nobody_knows_when_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert start_ticks(os.getpid()) is None
    assert is_alive(os.getpid(), "0")


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_a_child_at_work_ends_with_its_parent(system: str, tmp_path: Path) -> None:
    """Also where no kernel sees to it; or it would go on for hours beside the same command called again."""
    script = tmp_path / "busy.py"
    script.write_text(_BUSY_CHILD)
    parent = subprocess.Popen(
        [sys.executable, str(script), system], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert parent.stdout is not None
    with parent:
        child = int(parent.stdout.readline())
        started = start_ticks(child)
        assert is_alive(child, started)
        parent.kill()
        try:
            parent.communicate(timeout=60)  # what the child shares of it is closed when the child has ended
        finally:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("asked", ["auto", "64"])
def test_windows_waits_for_so_many_processes_and_no_more(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_count(asked, "--jobs", lambda: 64) == 64
    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="win32"))
    assert 2 * process_count(asked, "--jobs", lambda: 64) <= 63
    assert process_count("2", "--jobs", lambda: 64) == 2
