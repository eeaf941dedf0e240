"""Folds and members trained in processes of their own give the run that one process gives, whatever befalls them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from imer.core.errors import UsageError
from imer.core.folders import folder_entries
from imer.training.listener import Listener
from tests.training.small import quick

FOUR = ("train.members=2", "data.folds=2", "train.max_epochs_branches=1", "train.max_epochs_joint=2")


@pytest.fixture(scope="module")
def alone(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of two members, trained by one process with one thread."""
    quick(store, out := tmp_path_factory.mktemp("alone") / "run", *FOUR)
    return out


def _workers() -> list[int]:
    """Return the workers of this process, by what they were started to do."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("jobs", [2, 5])
def test_side_by_side_or_one_after_the_other_is_the_same_run(
    store: Path, alone: Path, tmp_path: Path, jobs: int
) -> None:
    steps: list[tuple[str, int, int]] = []
    quick(
        store, out := tmp_path / "run", *FOUR, jobs=jobs, listener=Listener(progress=lambda *step: steps.append(step))
    )
    assert folder_entries(out) == folder_entries(alone)
    assert steps == [("models", done, 4) for done in (1, 2, 3, 4)]
    assert _workers() == []


def test_a_worker_that_dies_costs_nothing(store: Path, alone: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_the_others(stage: str, done: int, total: int) -> None:
        if not killed:
            killed.extend(_workers())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    quick(store, out := tmp_path / "run", *FOUR, jobs=2, listener=Listener(progress=kill_the_others))
    assert len(killed) == 2
    assert folder_entries(out) == folder_entries(alone)


def test_what_was_trained_side_by_side_is_continued_by_one_process(store: Path, alone: Path, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(store, out := tmp_path / "run", *FOUR, jobs=2, listener=Listener(progress=stop))
    assert _workers() == []
    assert len([*out.glob("state/*/member-*/*/manifest.json")]) >= 1
    quick(store, out, *FOUR)
    assert folder_entries(out) == folder_entries(alone)


def test_an_error_of_one_model_is_the_error_of_the_run(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"The loss became .* lower train\.learning_rate"):
        quick(store, out := tmp_path / "run", *FOUR, "train.learning_rate=1e30", "train.clip_norm=0", jobs=2)
    assert _workers() == []
    assert not out.exists()
