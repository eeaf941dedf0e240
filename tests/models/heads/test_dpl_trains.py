"""The DPL head from a feature store to a run folder and back, by the ordinary training."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from imer.batches.corpus import Corpus
from imer.core.errors import UsageError
from imer.store.reader import FeatureStore
from imer.training.run_folder import RunFolder
from imer.training.train import train
from tests.stores import write_small_store

QUICK = (
    "model.hidden=16",
    "train.max_epochs_branches=2",
    "train.max_epochs_joint=8",
    "train.batch_utterances=20",
    "train.members=1",
    "train.device=cpu",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("dpl") / "small.h5")


def corpus_of(store: Path, label: str) -> Corpus:
    with FeatureStore.open(store) as opened:
        return Corpus.from_store(opened, None, label)


@pytest.mark.parametrize("label", ["emotion", "sentiment"])
def test_trains_learns_and_loads(store: Path, label: str, tmp_path: Path) -> None:
    train(store, tmp_path / "run", preset="dpl", flags={"data": {"label": label}}, assignments=QUICK)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    complete = metrics["test"][0]["metrics"]
    if label == "emotion":
        assert complete["ua"] > 0.6  # chance: 0.33
    else:
        assert complete["corr"] > 0.5
    (fold,) = RunFolder.open(tmp_path / "run").folds
    corpus = corpus_of(store, label)
    rows = np.flatnonzero(corpus.splits == "test")
    said = fold.predict(corpus, rows, corpus.present_NM)
    again = RunFolder.open(tmp_path / "run").folds[0].predict(corpus, rows, corpus.present_NM)
    assert np.isfinite(said.probabilities_NC).all()
    assert np.array_equal(said.probabilities_NC, again.probabilities_NC)
    assert fold.model.head.prototypes.count_C.sum() > 0
    terms = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"joint", "contrast", "offsets"} <= set(terms[-1])


def test_bins_with_margins_are_put_right_on_validation(store: Path, tmp_path: Path) -> None:
    flags = {"data": {"label": "sentiment"}}
    with_margins = (*QUICK, "head.bin_margins=true", "head.scale=32", "head.learn_scale=never")
    for name in ("one", "two"):
        train(store, tmp_path / name, preset="dpl", flags=flags, assignments=with_margins)
    one, two = (RunFolder.open(tmp_path / name).folds[0].model.head.readout.temperature_n for name in ("one", "two"))
    assert one.tolist() == two.tolist()
    assert (one[1:] != 1).all()
    assert json.loads((tmp_path / "one" / "metrics.json").read_text())["test"][0]["metrics"]["corr"] > 0.5
    train(store, tmp_path / "one", preset="dpl", flags=flags, assignments=with_margins, resume=True)


def test_sets_never_trained_use_a_stand_in_and_say_so(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """E.24: at the highest rate every utterance keeps one modality, so that pairs and the whole are never trained."""
    flags = {"data": {"label": "emotion"}, "train": {"protocol": "matched", "missing_rate": "0.7"}}
    few = (*QUICK, "head.unseen_minimum=5")  # the selected epoch may be the first one
    with caplog.at_level(logging.WARNING):
        train(store, tmp_path / "run", preset="dpl", flags=flags, assignments=few)
        assert not caplog.records
        (fold,) = RunFolder.open(tmp_path / "run").folds
        corpus = corpus_of(store, "emotion")
        complete = np.flatnonzero(corpus.present_NM.all(axis=1) & (corpus.splits == "test"))
        said = fold.predict(corpus, complete, corpus.present_NM)
    assert "audio+text+visual" in caplog.text
    labelled = corpus.labelled_N[complete]
    right = said.probabilities_NC.argmax(axis=1)[labelled] == corpus.target_N[complete][labelled]
    assert right.mean() > 0.5
    strict = (*few, "head.unseen=error")
    train(store, tmp_path / "strict", preset="dpl", flags=flags, assignments=strict)
    (fold,) = RunFolder.open(tmp_path / "strict").folds
    with pytest.raises(UsageError, match="mixed missing rates"):
        fold.predict(corpus, complete, corpus.present_NM)
