"""The process that looks at a foreign file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from imer.interop.child import read_in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="tells by a named pipe that it has gone")
ROOT = Path(__file__).parents[2]


def linger(path: Path, folder: Path) -> None:
    """Say that it is there, as a file does that keeps its reader busy for ever, and that it was left alone."""
    with open(path.with_name("told"), "w") as told:
        print("here", file=told, flush=True)
        Event().wait(20)
        print("still here", file=told)


def read(path: str) -> None:
    with read_in_child(linger, Path(path), None, max_bytes=1, limit_s=60, memory_factor=1):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_the_command_and_says_nothing(tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "told")
    (tmp_path / "f.pkl").write_bytes(b"x")
    line = [sys.executable, "-c", f"from {__name__} import read; read({str(tmp_path / 'f.pkl')!r})"]
    here = {**os.environ, "TMPDIR": str(tmp_path)}  # what a kill leaves of its scratch folder goes with the test's
    command = subprocess.Popen(line, cwd=ROOT, env=here, start_new_session=True, stderr=subprocess.PIPE, text=True)
    with open(tmp_path / "told") as told:
        assert told.readline() == "here\n"
        if number == signal.SIGKILL:
            command.kill()
        else:
            os.killpg(command.pid, number)  # as a terminal does
        assert told.read() == ""
    assert "SpawnProcess" not in command.communicate()[1]
