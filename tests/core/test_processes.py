"""Whether a process is there, and is the one that is meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imer.core.processes import is_alive, start_ticks


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


def test_without_a_proc_file_system_nobody_knows_when_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert start_ticks(os.getpid()) is None
    assert is_alive(os.getpid(), "0")
