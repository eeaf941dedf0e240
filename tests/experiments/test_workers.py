"""Workers that die or meet a bug cost the cell that they had, and no other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from imer.core.errors import UsageError
from imer.experiments.workers import Job, Pool, job_count


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """A cell that kills the process that it is sent to."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return die, ()


class Buggy:
    """A cell that is not made as it should be."""

    training = ("a", "bug")


def test_a_cell_that_kills_its_worker_is_tried_twice_and_given_up(tmp_path: Path) -> None:
    jobs = [Job(cell, tmp_path / "f.h5", tmp_path / type(cell).__name__) for cell in (Deadly(), Buggy())]
    with Pool(1) as pool:
        failures = {outcome.job.folder.name: outcome.failure for outcome in pool.run(jobs)}
    assert failures["Deadly"]["kind"] == "Crash"
    assert "signal 9" in failures["Deadly"]["message"]
    assert failures["Buggy"]["kind"] == "Bug"
    assert "Traceback" in failures["Buggy"]["traceback"]


def test_jobs_are_a_number_or_auto() -> None:
    assert job_count("3") == 3
    assert 1 <= job_count("auto") <= (os.cpu_count() or 1)
    for text in ("0", "all", "-1"):
        with pytest.raises(UsageError, match="--jobs takes"):
            job_count(text)
