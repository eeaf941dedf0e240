"""A run on features relative to their speaker, from training to a shipped bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imer.batches.corpus import Corpus
from imer.comparison.report import write_report
from imer.core.errors import UsageError
from imer.evaluation.evaluate import evaluate
from imer.evaluation.pooled import FoldRows, pooled_predictions
from imer.export.answers import answer_store
from imer.export.bundle import load_bundle
from imer.export.predict import predict
from imer.export.publish import export
from imer.store.reader import FeatureStore
from imer.training.listener import Listener
from imer.training.run_folder import RunFolder
from imer.training.train import train
from imer.training.trained_fold import TrainedFold
from tests.stores import write_small_store
from tests.training.small import quick

WITHIN = "data.within_speaker=audio,text"


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose speakers differ from each other far more than their emotions do."""
    path = tmp_path_factory.mktemp("strangers") / "s.h5"
    return write_small_store(path, n_dialogues=40, length=12, n_speakers=40, speaker_spread=8.0)


@pytest.fixture(scope="module")
def run(strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "within"
    quick(strangers, out, WITHIN)
    return out


def _read(path: Path) -> Corpus:
    with FeatureStore.open(path) as store:
        return Corpus.from_store(store, label="emotion")


def _fold(run: Path) -> TrainedFold:
    (fold,) = RunFolder.open(run).folds
    return fold


def test_it_pays_where_speakers_differ_most(strangers: Path, tmp_path: Path) -> None:
    def ua(out: str, *settings: str) -> float:
        flags = {"run": {"model": "linear"}, "train": {"protocol": "complete", "device": "cpu", "threads": 1}}
        metrics = train(strangers, tmp_path / out, flags=flags, assignments=settings).metrics
        return float(metrics["test"][0]["metrics"]["ua"])

    assert ua("within", "data.within_speaker=all") > ua("as-they-are") + 0.15


def test_what_is_hidden_of_a_speaker_changes_no_answer(run: Path, strangers: Path) -> None:
    corpus, fold = _read(strangers), _fold(run)
    assert fold.within_speaker == ("audio", "text")
    rows = corpus.rows_of(fold.test_ids)
    observed = corpus.present_NM & (np.random.default_rng(0).random(corpus.present_NM.shape) < 0.6)
    before = fold.predict(corpus, rows, observed)
    hidden = {
        name: np.where(observed[:, u, None], values, np.float32(1e4))
        for u, (name, values) in enumerate(corpus.features.items())
    }
    for values in hidden.values():  # nor what is not asked about: the other parts
        values[np.setdiff1d(np.arange(corpus.n), rows)] = -1e4
    after = fold.predict(replace(corpus, features=hidden), rows, observed)
    assert np.array_equal(before.probabilities_NC, after.probabilities_NC)


def test_a_speaker_answers_for_the_same_speaker_only(run: Path, strangers: Path) -> None:
    corpus, fold = _read(strangers), _fold(run)
    rows = corpus.rows_of(fold.test_ids)
    moved = {
        name: values + np.float32(3) * (corpus.speakers == "s4")[:, None] for name, values in corpus.features.items()
    }
    before = fold.predict(corpus, rows, corpus.present_NM).probabilities_NC
    after = fold.predict(replace(corpus, features=moved), rows, corpus.present_NM).probabilities_NC
    mine = corpus.speakers[rows] == "s4"
    assert mine.any()
    assert np.array_equal(before[~mine], after[~mine])
    assert not np.array_equal(before[mine], after[mine])


def test_masks_that_are_answered_together_know_nothing_of_each_other(run: Path, strangers: Path) -> None:
    corpus, fold = _read(strangers), _fold(run)
    one = FoldRows(fold, corpus.rows_of(fold.test_ids))
    masks_SNM = np.random.default_rng(0).random((5, *corpus.present_NM.shape)) < 0.6
    together = pooled_predictions(corpus, [one], masks_SNM)
    for s, mask_NM in enumerate(masks_SNM):
        alone = fold.predict(corpus, one.rows, mask_NM).probabilities_NC
        assert np.allclose(together.output_SPC[s], alone, atol=1e-6)


def test_a_bundle_answers_as_the_run_and_says_how(run: Path, strangers: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.within_speaker == ("audio", "text")
    assert answer_store(bundle, strangers).records == answer_store(_fold(run), strangers).records
    prepared = json.loads((tmp_path / "bundle" / "preprocess.json").read_text())
    assert [entry["within_speaker"] for entry in prepared["modalities"]] == [True, True, False]
    assert "relative to its speaker" in prepared["masks"]["speakers"]
    assert "Features relative to their speaker: audio, text" in (tmp_path / "bundle" / "README.md").read_text()


@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_a_graph_that_knows_no_speakers_is_not_made(run: Path, tmp_path: Path, format: str) -> None:
    with pytest.raises(UsageError, match=r"audio, text features relative to their speaker.* export a bundle"):
        export(run, tmp_path / "model", format)
    assert not list(tmp_path.iterdir())


def test_it_is_said_wherever_a_figure_stands(run: Path, tmp_path: Path) -> None:
    assert json.loads((run / "metrics.json").read_text())["within_speaker"] == ["audio", "text"]
    found = evaluate(run, out=tmp_path / "eval", missing_rate="0,0.3", mask_seeds=1)
    assert any("relative to their speaker" in sentence for sentence in found.warnings)
    write_report([tmp_path / "eval"], tmp_path / "report.md")
    assert "relative to their speaker in" in (tmp_path / "report.md").read_text()


def test_unknown_speakers_are_said_and_answered(run: Path, tmp_path: Path) -> None:
    nobody = write_small_store(tmp_path / "nobody.h5", n_dialogues=5, speakers=False)
    found = predict(run, [nobody])
    assert len(found.answered.records) == 25
    assert any("25 of 25 utterances have no speaker" in sentence for sentence in found.warnings)


def test_doubts_are_said_before_training(strangers: Path, tmp_path: Path) -> None:
    few = write_small_store(tmp_path / "few.h5", n_dialogues=30, length=2, n_speakers=30)
    said: list[str] = []
    quick(few, tmp_path / "run", WITHIN, listener=Listener(warn=said.append))
    assert any("half of the speakers have 2 utterances or fewer" in sentence for sentence in said)
    with pytest.raises(UsageError, match=r"data.within_speaker names 'adio'.*did you mean 'audio'"):
        quick(few, tmp_path / "run2", "data.within_speaker=adio")
    assert not (tmp_path / "run2").exists()
