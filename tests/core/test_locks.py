"""One process per output."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from imer.core.errors import OutputExists
from imer.core.locks import output_lock

_HOLD = """
import sys
from pathlib import Path
from imer.core.locks import output_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_living_process_keeps_its_lock_and_a_dead_one_loses_it(tmp_path: Path) -> None:
    target = tmp_path / "f.h5"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputExists, match=f"process {holder.pid}"), output_lock(target):
            pass
        holder.kill()
        holder.wait()
    notices: list[str] = []
    with output_lock(target, notices.append):
        assert "took over" in notices[0]
    assert not list(tmp_path.iterdir())


def test_a_lock_of_another_host_is_never_broken(tmp_path: Path) -> None:
    (tmp_path / "f.h5.lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
    with pytest.raises(OutputExists, match="on elsewhere"), output_lock(tmp_path / "f.h5"):
        pass


def test_a_reused_process_number_does_not_keep_a_lock(tmp_path: Path) -> None:
    import os

    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": "0"}
    (tmp_path / "f.h5.lock").write_text(json.dumps(owner))
    with output_lock(tmp_path / "f.h5"):
        pass


def test_races_have_one_winner(tmp_path: Path) -> None:
    """Of processes that start together one holds the lock; the others are told at once."""
    target = tmp_path / "f.h5"
    for _ in range(5):
        rivals = [
            subprocess.Popen(
                [sys.executable, "-c", _HOLD, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            )
            for _ in range(3)
        ]  # fmt: skip
        lines = []
        for rival in rivals:
            assert rival.stdout is not None
            lines.append(rival.stdout.readline())
        assert lines.count("held\n") == 1
        for rival in rivals:
            rival.communicate("\n")
        assert not list(tmp_path.iterdir())
