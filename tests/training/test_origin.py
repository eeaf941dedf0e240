"""run.json is plain text without a digest: what a training did not write is refused by name, never a bug."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imer.core.errors import InvalidInput
from imer.training.listener import Listener
from imer.training.origin import ORIGIN_FILE, Origin
from imer.training.run_folder import RunFolder
from imer.training.train import train
from tests.stores import write_small_store

ORIGIN = Origin("0" * 64, ("a", "b"), "/data/features.h5")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    ORIGIN.write(tmp_path)
    assert Origin.read(tmp_path) == ORIGIN


def test_older_runs_do_not_say_where_their_store_was(tmp_path: Path) -> None:
    (tmp_path / ORIGIN_FILE).write_text(json.dumps({"content_sha256": "0", "folds": [""]}))
    assert Origin.read(tmp_path) == Origin("0", ("",), "")


@pytest.mark.parametrize(
    "record",
    [{}, [], None, "text", 3, {"content_sha256": "0"}, {"content_sha256": "0", "folds": 3}, {"content_sha256": 0, "folds": []},
     {"content_sha256": "0", "folds": [1]}, {"content_sha256": "0", "folds": [], "features": None}],
)  # fmt: skip
def test_what_no_training_wrote_is_refused(record: Any, tmp_path: Path) -> None:
    (tmp_path / ORIGIN_FILE).write_text(json.dumps(record))
    with pytest.raises(InvalidInput, match=r"run\.json (does not say|holds other)"):
        Origin.read(tmp_path)


def test_so_a_damaged_run_is_neither_read_nor_continued(tmp_path: Path) -> None:
    store, run = write_small_store(tmp_path / "f.h5"), tmp_path / "run"
    settings = {"flags": {"run": {"model": "majority"}}}
    train(store, run, **settings)
    (run / ORIGIN_FILE).write_text("{}")
    with pytest.raises(InvalidInput, match=r"run\.json does not say"):
        RunFolder.open(run)
    with pytest.raises(InvalidInput, match=r"run\.json does not say"):
        train(store, run, resume=True, **settings)


def test_a_run_that_changes_its_kind_of_device_is_told(tmp_path: Path) -> None:
    store, run = write_small_store(tmp_path / "f.h5"), tmp_path / "run"
    flags = {"run": {"model": "majority"}, "train": {"device": "cpu"}}
    train(store, run, flags=flags)
    (run / "metrics.json").unlink()
    record = json.loads((run / ORIGIN_FILE).read_text())
    assert record["device"] == "cpu"
    (run / ORIGIN_FILE).write_text(json.dumps({**record, "device": "cuda"}))
    said: list[str] = []
    train(store, run, flags=flags, listener=Listener(warn=said.append))
    assert [sentence for sentence in said if "was begun on cuda and is continued on cpu" in sentence]
