"""A fold's members are trained each by itself, share what all must share, and answer together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from imer.batches.corpus import Corpus
from imer.core.errors import InvalidInput, UsageError
from imer.core.files import write_json
from imer.core.folders import folder_entries
from imer.core.json_lines import read_json_lines
from imer.evaluation.evaluate import evaluate
from imer.models.ensemble import Ensemble, member_key
from imer.store.reader import FeatureStore
from imer.training.checkpoint import load_tensors
from imer.training.data import divide
from imer.training.listener import Listener
from imer.training.publish import learnt_rows
from imer.training.run_folder import RunFolder
from imer.training.settings_layers import load_settings
from tests.training.small import QUICK, quick

TWO = ("train.members=2", "train.max_epochs_branches=1", "train.max_epochs_joint=2")
CUT = (*TWO, "data.folds=3", "data.validation_by=dialogue")  # validation parts are cut from the training parts


@pytest.fixture(scope="module")
def two(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("members") / "two"
    quick(store, out, *TWO)
    return out


@pytest.fixture(scope="module")
def folds(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("members") / "folds"
    quick(store, out, *CUT)
    return out


@pytest.fixture(scope="module")
def corpus(store: Path) -> Corpus:
    with FeatureStore.open(store) as opened:
        return Corpus.from_store(opened, label="emotion")


def test_the_first_member_is_the_model_that_one_alone_would_be(store: Path, two: Path, tmp_path: Path) -> None:
    """Where the manifest has a validation part: then both learn from the same utterances."""
    quick(store, alone := tmp_path / "alone", *TWO, "train.members=1")
    single = load_tensors(alone / "checkpoint" / "model.safetensors")
    both = load_tensors(two / "checkpoint" / "model.safetensors")
    assert set(both) == {member_key(member, name) for member in (0, 1) for name in single}
    for name, tensor in single.items():
        assert torch.equal(both[member_key(0, name)], tensor)
    assert any(not torch.equal(both[member_key(1, name)], tensor) for name, tensor in single.items())


def test_each_member_is_validated_on_a_part_of_its_own(store: Path, corpus: Corpus) -> None:
    settings = load_settings(flags={"data": {"features": str(store), "label": "emotion"}}, assignments=[*QUICK, *CUT])
    one, other = (divide(corpus, settings, lambda message: None, member=number) for number in (0, 1))
    assert [split.test.tolist() for split in one] == [split.test.tolist() for split in other]
    assert any(set(a.val) != set(b.val) for a, b in zip(one, other, strict=True))
    for a, b in zip(one, other, strict=True):
        assert not set(a.test) & (set(learnt_rows([a, b])) | set(a.val) | set(b.val))


def test_a_fold_counts_as_training_what_any_member_learnt_from(folds: Path, corpus: Corpus) -> None:
    settings = load_settings(config=folds / "config.toml")
    seen = [divide(corpus, settings, lambda message: None, member=number) for number in (0, 1)]
    for number, fold in enumerate(RunFolder.open(folds).folds):
        splits = [one[number] for one in seen]
        train = set(corpus.utterance_ids[learnt_rows(splits)])
        assert set(fold.train_ids) == train
        either = {name for split in splits for name in corpus.utterance_ids[split.val]}
        assert set(fold.val_ids) == either - train
        assert not set(fold.test_ids) & (train | set(fold.val_ids))


def test_an_ensemble_may_have_no_utterance_that_taught_nobody(store: Path, folds: Path, tmp_path: Path) -> None:
    taught = shutil.copytree(folds, tmp_path / "run")
    for folder in (taught / "checkpoint").iterdir():
        values = json.loads((folder / "checkpoint.json").read_text())
        write_json(folder / "checkpoint.json", {**values, "val_ids": []})
        (folder / "manifest.json").unlink()
        write_json(folder / "manifest.json", {"files": folder_entries(folder)})
    (taught / "manifest.json").unlink()
    with pytest.raises(InvalidInput, match=r"each taught one of them; choose --split test"):
        evaluate(taught, store, split="val", device="cpu")


def test_answers_are_the_mean_of_the_members(two: Path, corpus: Corpus) -> None:
    (fold,) = RunFolder.open(two).folds
    assert isinstance(fold.model, Ensemble)
    rows = corpus.rows_of(fold.test_ids)
    together = fold.predict(corpus, rows, corpus.present_NM)
    parts = []
    for member in fold.model.members:
        object.__setattr__(fold, "model", member)
        parts.append(fold.predict(corpus, rows, corpus.present_NM))
    assert np.allclose(together.probabilities_NC, np.mean([p.probabilities_NC for p in parts], axis=0), atol=1e-6)
    assert np.allclose(together.weights_NM, np.mean([p.weights_NM for p in parts], axis=0), atol=1e-6)
    for name, answers in together.branches.items():
        assert np.allclose(answers, np.mean([p.branches[name] for p in parts], axis=0), atol=1e-6)
    assert not np.allclose(parts[0].probabilities_NC, parts[1].probabilities_NC, atol=1e-4)


def test_log_and_metrics_tell_the_members_apart(two: Path) -> None:
    records = read_json_lines(two / "log.jsonl")
    one = [("branches", 1), ("joint", 1), ("joint", 2)]
    assert [(r["member"], r["stage"], r["epoch"]) for r in records] == [(m, *place) for m in (0, 1) for place in one]
    metrics = json.loads((two / "metrics.json").read_text())
    assert metrics["members"] == 2
    chosen = metrics["selected"]
    assert len(chosen["epochs"]) == 2
    assert chosen["epoch"] == max(chosen["epochs"])
    best = [
        next(r["val"] for r in records if (r["member"], r["stage"], r["epoch"]) == (m, "joint", epoch))
        for m, epoch in enumerate(chosen["epochs"])
    ]
    assert chosen["value"] == pytest.approx(np.mean([one[chosen["metric"]] for one in best]))


def test_an_interrupted_fold_goes_on_with_the_member_it_was_at(store: Path, folds: Path, tmp_path: Path) -> None:
    out, heard = tmp_path / "killed", []

    def progress(stage: str, done: int, total: int) -> None:
        heard.append(stage)
        if len(heard) == 5 + 6:  # the second epoch of the second member, in the second fold
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(store, out, *CUT, listener=Listener(progress=progress))
    assert heard[-1].startswith("fold 1 (2/3): member 2/2: stage joint")
    again: list[str] = []
    quick(store, out, *CUT, resume=True, listener=Listener(progress=lambda stage, done, total: again.append(stage)))
    assert len(again) == 3 + 6  # of the second member all epochs, since none was saved; of the first none
    names = sorted(path.relative_to(folds) for path in folds.rglob("*") if path.is_file())
    for name in names:
        assert (out / name).read_bytes() == (folds / name).read_bytes(), name


def test_members_of_a_fitted_model_would_be_the_same_and_are_refused(store: Path) -> None:
    for model in ("linear", "majority"):
        flags = {"run": {"model": model}, "data": {"features": str(store)}}
        assert load_settings(flags=flags).train.members == 1
        with pytest.raises(UsageError, match=f"The model {model} is fitted"):
            load_settings(flags=flags, assignments=["train.members=3"])


@pytest.mark.parametrize(("preset", "members"), [("comp", 3), ("dpl", 3), ("comp-paper", 1), ("comp-official", 1)])
def test_how_many_members_there_are_where_nobody_says(preset: str, members: int) -> None:
    assert load_settings(preset=preset).train.members == members
    assert load_settings(preset=preset, assignments=["train.members=2"]).train.members == 2
    assert load_settings(flags={"run": {"model": "transformer"}}).train.members == 1
