"""A run folder holds everything: it is read back to the same answers, and damage is noticed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imer.batches.corpus import Corpus
from imer.batches.splits import Split
from imer.core.errors import InvalidInput, UsageError
from imer.core.folders import output_entry
from imer.core.json_lines import read_json_lines
from imer.metrics.compute import classification_metrics
from imer.store.reader import FeatureStore
from imer.store.verify import not_covered, verify_any
from imer.training import train as training
from imer.training.build import check_lengths
from imer.training.run_folder import RunFolder
from imer.training.train import train
from imer.training.trained_fold import load_fold
from tests.batches.small import small_corpus
from tests.training.small import quick


@pytest.fixture(scope="module")
def corpus(store: Path) -> Corpus:
    with FeatureStore.open(store) as opened:
        return Corpus.from_store(opened, label="emotion")


def test_what_a_run_folder_holds(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.toml",
        "run.json",
        "log.jsonl",
        "checkpoint",
        "metrics.json",
        "predictions.jsonl",
        "manifest.json",
    }
    assert not list(run.rglob("*.pt")) + list(run.rglob("*.pkl"))
    records = read_json_lines(run / "log.jsonl")
    assert [(r["stage"], r["epoch"]) for r in records] == [("branches", e) for e in (1, 2, 3)] + [
        ("joint", e) for e in (1, 2, 3, 4)
    ]
    assert all(record["loss"]["total"] > 0 for record in records)


def test_a_figure_that_was_changed_is_noticed(run: Path, store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    assert verify_any(copy)[0] == "folder"
    assert not_covered(copy) == []
    rng = np.random.default_rng(0)
    sound = (copy / "metrics.json").read_bytes()
    for place, bit in zip(rng.integers(0, len(sound), 60), rng.integers(0, 8, 60), strict=True):
        broken = bytearray(sound)
        broken[place] ^= 1 << int(bit)
        (copy / "metrics.json").write_bytes(bytes(broken))
        with pytest.raises(InvalidInput, match=r"metrics\.json was changed or damaged"):
            _ = RunFolder.open(copy).metrics
    for use in (lambda: verify_any(copy), lambda: quick(store, copy, resume=True)):
        with pytest.raises(InvalidInput, match=r"metrics\.json was changed or damaged"):
            use()
    (copy / "config.toml").write_text((copy / "config.toml").read_text().replace("hidden = 16", "hidden = 32"))
    with pytest.raises(InvalidInput, match=r"config\.toml was changed or damaged"):
        RunFolder.open(copy)


def test_every_metric_can_be_computed_again_from_the_predictions(run: Path, corpus: Corpus) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    lines = read_json_lines(run / "predictions.jsonl")
    assert {line["utterance_id"] for line in lines} == set(corpus.utterance_ids[corpus.splits == "test"])
    names = list(corpus.class_names)
    target = np.array([names.index(line["label"]) if line["label"] else -1 for line in lines])
    predicted = np.array([names.index(line["prediction"]) for line in lines])
    assert classification_metrics(target, predicted, 3) == metrics["test"][0]["metrics"]
    assert metrics["selected"]["on"] == "val"
    for line in lines:
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert all(line["weights"][name] > 0 for name in line["observed"])


def test_a_loaded_fold_answers_as_the_run_did(run: Path, corpus: Corpus) -> None:
    opened = RunFolder.open(run)
    (fold,) = opened.folds
    assert opened.settings["model"]["hidden"] == 16
    assert (fold.task, fold.label, fold.class_names) == ("classification", "emotion", corpus.class_names)
    rows = corpus.rows_of(fold.test_ids)
    assert set(corpus.splits[rows]) == {"test"}
    found = fold.predict(corpus, rows, corpus.present_NM)
    assert np.array_equal(found.rows_N, rows)
    lines = {line["utterance_id"]: line for line in read_json_lines(run / "predictions.jsonl")}
    for row, probabilities, weights in zip(rows, found.probabilities_NC, found.weights_NM, strict=True):
        line = lines[corpus.utterance_ids[row]]
        assert list(line["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=1e-6)
        assert list(line["weights"].values()) == pytest.approx(weights.tolist(), abs=1e-5)
    assert set(found.branches) == set(corpus.modalities)


def test_context_is_what_else_of_the_dialogue_is_asked_about(run: Path, corpus: Corpus) -> None:
    (fold,) = RunFolder.open(run).folds
    rows = np.flatnonzero(corpus.splits == "test")
    whole = fold.predict(corpus, rows, corpus.present_NM).probabilities_NC
    turned = fold.predict(corpus, rows[::-1], corpus.present_NM).probabilities_NC[::-1]
    assert np.allclose(whole, turned, atol=1e-6)
    unlabelled = replace(corpus, target_N=np.full(corpus.n, -1))
    assert np.array_equal(fold.predict(unlabelled, rows, corpus.present_NM).probabilities_NC, whole)
    hidden = corpus.present_NM.copy()
    hidden[rows[0]] = False
    assert np.isfinite(fold.predict(corpus, rows, hidden).probabilities_NC).all()
    assert len(fold.predict(corpus, rows[:0], corpus.present_NM).rows_N) == 0


def test_other_modalities_and_other_features_are_refused(run: Path, corpus: Corpus, store: Path) -> None:
    (fold,) = RunFolder.open(run).folds
    with FeatureStore.open(store) as opened:
        two = Corpus.from_store(opened, ["audio", "text"], "emotion")
    with pytest.raises(InvalidInput, match=r"reads audio \(6\), text \(5\), visual \(4\), but the features are audio"):
        fold.predict(two, np.arange(3), two.present_NM)
    other = replace(corpus, fingerprints={**corpus.fingerprints, "text": "0" * 64})
    with pytest.raises(InvalidInput, match="text features were made in another way"):
        fold.predict(other, np.arange(3), corpus.present_NM)


def test_a_model_of_another_training_is_noticed(run: Path, store: Path, tmp_path: Path) -> None:
    """Whole with its own digests: only the run's manifest tells that it is not the model that this training made."""
    quick(store, tmp_path / "other", "train.seed=1")
    mixed = shutil.copytree(run, tmp_path / "mixed")
    shutil.rmtree(mixed / "checkpoint")
    shutil.copytree(tmp_path / "other" / "checkpoint", mixed / "checkpoint")
    for use in (RunFolder.open, verify_any):
        with pytest.raises(InvalidInput, match=r"checkpoint/manifest\.json was changed or damaged"):
            use(mixed)


def test_folds_that_changed_places_are_noticed(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    quick(store, out, "data.folds=2", "train.max_epochs_joint=1")
    assert output_entry(out)["sha256"] == verify_any(out)[1]
    one, other = sorted((out / "checkpoint").iterdir())
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    with pytest.raises(InvalidInput, match=rf"{one.name}/manifest\.json was changed or damaged"):
        RunFolder.open(out)


@pytest.mark.parametrize("victim", ["model.safetensors", "scaler.safetensors", "checkpoint.json", "manifest.json"])
def test_damage_is_noticed(run: Path, tmp_path: Path, victim: str) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = copy / "checkpoint" / victim
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(InvalidInput):
        RunFolder.open(copy)
    path.unlink()
    with pytest.raises(InvalidInput):
        RunFolder.open(copy)


def test_what_is_no_run_folder(tmp_path: Path, run: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a run folder"):
        RunFolder.open(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    with pytest.raises(InvalidInput, match="is not finished"):
        RunFolder.open(tmp_path / "run")


def test_the_config_of_a_run_repeats_it(run: Path, tmp_path: Path) -> None:
    train(None, tmp_path / "again", config=run / "config.toml")
    for name in ("config.toml", "log.jsonl", "predictions.jsonl", "checkpoint/model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes()


def test_regression_over_folds_comes_back_in_the_labels_units(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    result = quick(store, out, "data.label=sentiment", "data.folds=session", "train.max_epochs_joint=3")
    opened = RunFolder.open(out)
    assert [fold.name for fold in opened.folds] == ["0", "1", "2", "3"]
    values = np.array([line["value"] for line in read_json_lines(out / "predictions.jsonl")])
    assert len(values) == 24 * 5
    assert 0.3 < values.std() < 4
    assert result.selected["metric"] == "mae"
    assert len(result.selected["epoch"]) == 4
    assert load_fold(out / "checkpoint" / "fold-2").model.training is False
    assert torch.is_tensor(next(opened.folds[0].model.parameters()))


def test_what_cannot_be_tested_is_refused_before_training(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"A dialogue has 5 utterances, more than model\.longest_dialogue = 4"):
        quick(store, tmp_path / "run", "model.prototypes=batch", "model.longest_dialogue=4")
    assert not (tmp_path / "run").exists()


def test_the_length_of_every_part_counts() -> None:
    corpus = small_corpus([3] * 10 + [6])
    length_N = np.array([(corpus.dialogue_ids == name).sum() for name in corpus.dialogue_ids])
    short, long = np.flatnonzero(length_N == 3), np.flatnonzero(length_N == 6)
    split = Split("", short, short, long)
    with pytest.raises(UsageError, match="has 6 utterances"):
        check_lengths(corpus, [split], most=5, pad_to=0)
    check_lengths(corpus, [split], most=6, pad_to=0)
    check_lengths(corpus, [split], most=None, pad_to=0)


def test_folds_that_are_one_folder_are_refused(
    store: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On most disks of macOS and Windows `ann` would be answered by the model of `Ann`, which learnt from her."""
    who = np.where(corpus.columns["speaker"] == "s0", "Ann", "ann").astype(object)
    named = replace(corpus, columns={**corpus.columns, "who": who})
    monkeypatch.setattr(training, "read_corpus", lambda *_: named)
    quick(store, tmp_path / "told apart", "data.label=emotion", "data.folds=who")
    write_text = training.write_text

    def written_in_any_capitals(path: Path, content: str) -> None:
        write_text(path, content)
        path.with_name(path.name.upper()).symlink_to(path)

    monkeypatch.setattr(training, "write_text", written_in_any_capitals)
    with pytest.raises(UsageError, match=r"capitals only \(Ann and ann\)"):
        quick(store, tmp_path / "one", "data.label=emotion", "data.folds=who")
    assert not (tmp_path / "one").exists()
