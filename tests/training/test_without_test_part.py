"""A model that is only to be used, or whose test labels nobody has: it trains, and says that nothing measured it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imer.core.errors import InvalidInput, UsageError
from imer.core.files import read_json
from imer.core.json_lines import read_json_lines
from imer.evaluation.evaluate import evaluate
from imer.experiments.plan import Asked
from imer.experiments.runner import sweep
from imer.export.publish import export
from imer.store.reader import FeatureStore
from imer.training.listener import Listener
from imer.training.run_folder import RunFolder
from tests.stores import write_small_store
from tests.training.small import quick

QUICKLY: dict[str, Any] = {"missing_rate": 0.0, "mask_seeds": 1, "plots": False, "replicates": 20}


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A challenge's store: the test part is there, its labels are not."""
    return write_small_store(tmp_path_factory.mktemp("challenge") / "u.h5", unlabelled_splits=("test",))


def _heard() -> tuple[list[str], Listener]:
    said: list[str] = []
    return said, Listener(warn=said.append)


def test_all_utterances_train_or_validate(store: Path, tmp_path: Path) -> None:
    said, listener = _heard()
    quick(store, tmp_path / "run", "data.folds=none", listener=listener)
    assert [s for s in said if "test" in s] == [
        "there is no test part; imer eval RUN OTHER.h5 tells how good the model is on other data."
    ]
    (fold,) = RunFolder.open(tmp_path / "run").folds
    with FeatureStore.open(store) as opened:
        assert sorted((*fold.train_ids, *fold.val_ids)) == sorted(opened.utterance_ids.tolist())
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["test"] == []
    assert metrics["selected"]["on"] == "val"
    assert metrics["folds"][0]["n"]["test"] == 0
    assert read_json_lines(tmp_path / "run" / "predictions.jsonl") == []


def test_such_a_run_is_judged_on_other_data_and_shipped(store: Path, tmp_path: Path) -> None:
    quick(store, tmp_path / "run", "data.folds=none")
    with pytest.raises(InvalidInput, match=r"was trained without a test part.*--split"):
        evaluate(tmp_path / "run", out=tmp_path / "no")
    other = write_small_store(tmp_path / "other.h5", seed=5, prefix="new_")
    found = evaluate(tmp_path / "run", other, out=tmp_path / "eval", **QUICKLY)
    assert found.results[0].n > 0
    assert evaluate(tmp_path / "run", out=tmp_path / "val", split="val", **QUICKLY).results
    export(tmp_path / "run", tmp_path / "bundle", format="bundle")
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "| validation" in card
    assert "| test," not in card


def test_a_test_part_without_labels_is_answered(unlabelled: Path, tmp_path: Path) -> None:
    said, listener = _heard()
    quick(unlabelled, tmp_path / "run", listener=listener)
    assert any(
        "none of the 20 test utterances has the label emotion: they are answered, and not measured" in s for s in said
    )
    lines = read_json_lines(tmp_path / "run" / "predictions.jsonl")
    assert len(lines) == 20
    assert {line["label"] for line in lines} == {None}
    assert {line["prediction"] for line in lines} <= {"angry", "happy", "sad"}
    assert read_json(tmp_path / "run" / "metrics.json")["test"] == []
    with pytest.raises(InvalidInput, match="label"):
        evaluate(tmp_path / "run", out=tmp_path / "no", **QUICKLY)


def test_what_looks_at_the_test_part_says_that_there_is_none(unlabelled: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="chooses by the test part, and there is none with labels"):
        quick(unlabelled, tmp_path / "run", "train.select=test_best")
    asked = Asked(models=("majority",), seeds=(0,), rates=(0.0,))
    with pytest.raises(UsageError, match="A sweep compares on the test part"):
        sweep(unlabelled, tmp_path / "sweep", asked)
    assert not (tmp_path / "sweep").exists()


def test_an_unlabelled_test_part_is_answered_from_all_that_there_is(unlabelled: Path, tmp_path: Path) -> None:
    quick(unlabelled, tmp_path / "run", "train.protocol=matched", "train.missing_rate=0.5")
    lines = read_json_lines(tmp_path / "run" / "predictions.jsonl")
    with FeatureStore.open(unlabelled) as store:
        present = dict(zip(store.utterance_ids.tolist(), store.present_NM().sum(axis=1).tolist(), strict=True))
    assert lines
    assert {line["utterance_id"]: len(line["observed"]) for line in lines} == {
        line["utterance_id"]: present[line["utterance_id"]] for line in lines
    }
