"""Workers that die or meet a bug cost the job that they had, and no other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from imer.core.errors import ImerError, InvalidInput, UsageError
from imer.core.pool import Outcome, Pool, error_of, job_count


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """A job that kills the process that it is sent to."""

    name = "deadly"

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return die, ()


@dataclass(frozen=True)
class Writes:
    """A job that writes a file, after a warning; without a folder it fails as files do."""

    file: Path

    @property
    def name(self) -> str:
        return self.file.name

    def do(self, warn: Callable[[str], None]) -> None:
        warn("a warning")
        warn("a warning")
        self.file.write_text("done")


@dataclass(frozen=True)
class Fails:
    """A job that raises an error."""

    name: str
    error: Exception

    def do(self, warn: Callable[[str], None]) -> None:
        raise self.error


def test_a_job_that_kills_its_worker_is_tried_twice_and_given_up(tmp_path: Path) -> None:
    jobs = [Deadly(), Fails("buggy", KeyError("x")), Writes(tmp_path / "a")]
    with Pool(1) as pool:
        outcomes = {outcome.job.name: outcome for outcome in pool.run(jobs)}
    crash, bug = outcomes["deadly"].failure, outcomes["buggy"].failure
    assert crash["kind"] == "Crash"
    assert "signal 9" in crash["message"]
    assert bug["kind"] == "Bug"
    assert "Traceback" in bug["traceback"]
    assert outcomes["a"].failure == {}
    assert outcomes["a"].warnings == ("a warning",)
    assert (tmp_path / "a").read_text() == "done"


def test_a_failed_job_becomes_the_error_that_it_met(tmp_path: Path) -> None:
    jobs = [Fails("usage", UsageError("No.")), Fails("bug", KeyError("x")), Writes(tmp_path / "gone" / "b")]
    with Pool(2) as pool:
        errors = {outcome.job.name: error_of(outcome) for outcome in pool.run(jobs)}
    assert type(errors["usage"]) is UsageError
    assert str(errors["usage"]) == "No."
    assert type(errors["bug"]) is RuntimeError
    assert "KeyError: 'x'" in str(errors["bug"])
    assert type(errors["b"]) is InvalidInput
    assert "No such file" in str(errors["b"])
    memory = Fails("memory", MemoryError("Unable to allocate 8.00 TiB for an array"))
    with Pool(1) as pool:
        (outcome,) = pool.run([memory])
    assert (outcome.failure["kind"], outcome.failure["exit_code"]) == ("OutOfMemory", 4)
    assert "8.00 TiB" in str(error_of(outcome))
    assert error_of(outcome).exit_code == 4
    died = error_of(Outcome(Deadly(), 0.0, (), {"kind": "Crash", "message": "the worker process died."}))
    assert type(died) is ImerError


def test_jobs_are_a_number_or_auto() -> None:
    assert job_count("3") == 3
    assert 1 <= job_count("auto") <= (os.cpu_count() or 1)
    for text in ("0", "all", "-1"):
        with pytest.raises(UsageError, match="--jobs takes"):
            job_count(text)
