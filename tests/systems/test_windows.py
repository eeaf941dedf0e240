"""What `imer` does on Windows, as far as Linux can show it (see `windows/sitecustomize.py`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished, run_imer
from tests.stores import write_small_store

HERE = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "windows"), str(ROOT)])}
_HOLD = """
import sys
from pathlib import Path
from imer.core.locks import output_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("windows") / "small.h5", n_dialogues=15)


@pytest.fixture
def windows(tmp_path: Path) -> Callable[..., Finished]:
    """Run the command line there, in the test's own folder."""
    return lambda *arguments: run_imer(*arguments, cwd=tmp_path, **HERE)


def test_files_are_published_and_replaced(windows: Callable, store: Path, tmp_path: Path) -> None:
    for more in ([], ["--overwrite"]):
        done = windows("mask", store, "-o", "m.h5", "--missing-rate", "0.5", *more)
        assert done.code == 0, done.err
        assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]


def test_a_lock_is_looked_at_without_ending_its_owner_and_taken_over_from_a_dead_one(
    windows: Callable, store: Path, tmp_path: Path
) -> None:
    ask = ("mask", store, "-o", "m.h5", "--missing-rate", "0.5")
    owner = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "m.h5")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **HERE},
    )  # fmt: skip
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner:
        assert owner.stdout.readline() == "held\n"
        refused = windows(*ask)
        assert refused.code == 6, refused.err
        assert f"is locked by process {owner.pid}" in refused.err
        assert owner.poll() is None, "looking at a process ended it"
        owner.kill()
    done = windows(*ask)
    assert done.code == 0, done.err
    assert "took over the lock" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]
