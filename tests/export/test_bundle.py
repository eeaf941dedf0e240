"""A bundle is complete, answers exactly as the run it came from, and notices every change."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from imer.core.errors import InvalidInput
from imer.core.files import read_json, sha256_file, write_json
from imer.core.folders import verify_folder
from imer.export.bundle import load_bundle
from imer.export.publish import export
from imer.training.run_folder import RunFolder
from tests.export.conftest import Shipped
from tests.shipped import read_corpus, train_small

FILES = {"README.md", "bundle.json", "config.json", "manifest.json", "model.safetensors", "preprocess.json"}


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "elsewhere"))


def test_it_holds_its_files_and_their_digests(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == FILES
    listed = {entry["path"]: entry["sha256"] for entry in verify_folder(bundle)}
    assert listed == {name: sha256_file(bundle / name) for name in FILES - {"manifest.json"}}


def test_it_answers_exactly_as_the_run(classifier: Shipped, copy: Path) -> None:
    corpus = read_corpus(classifier.fold, classifier.store)
    rows = np.arange(corpus.n)
    observed_NM = corpus.present_NM & (np.random.default_rng(0).random(corpus.present_NM.shape) < 0.6)
    ours = classifier.fold.predict(corpus, rows, observed_NM)
    theirs = load_bundle(copy).predict(corpus, rows, observed_NM)
    np.testing.assert_array_equal(theirs.probabilities_NC, ours.probabilities_NC)
    np.testing.assert_array_equal(theirs.weights_NM, ours.weights_NM)


def test_a_model_that_looks_at_its_batch_sees_the_same_batches(tmp_path: Path) -> None:
    """As ComP's public code does: answers depend on which dialogues go together."""
    settings = ("model.prototypes=batch", "train.batch_dialogues=3", "train.members=1")
    run, store = train_small(tmp_path, label="emotion", settings=settings)
    fold = RunFolder.open(run).folds[0]
    assert fold.batch_dependent
    export(run, tmp_path / "bundle", "bundle")
    corpus = read_corpus(fold, store)
    ours, theirs = (
        one.predict(corpus, np.arange(corpus.n), corpus.present_NM).probabilities_NC
        for one in (fold, load_bundle(tmp_path / "bundle"))
    )
    np.testing.assert_array_equal(theirs, ours)
    alone = replace(fold, batch_dialogues=0).predict(corpus, np.arange(corpus.n), corpus.present_NM)
    assert np.abs(alone.probabilities_NC - ours).max() > 1e-6, "or this test shows nothing"


def test_it_says_what_it_reads_and_answers(classifier: Shipped, bundle: Path) -> None:
    prepared = read_json(bundle / "preprocess.json")
    fold = classifier.fold
    assert [m["name"] for m in prepared["modalities"]] == ["audio", "text", "visual"]
    assert [m["spec"]["fingerprint"] for m in prepared["modalities"]] == list(fold.fingerprints.values())
    for entry in prepared["modalities"]:
        np.testing.assert_array_equal(np.array(entry["mean"], np.float32), fold.scaler.centre[entry["name"]])
        np.testing.assert_array_equal(np.array(entry["sd"], np.float32), fold.scaler.spread[entry["name"]])
    assert (prepared["task"], prepared["label"]) == ("classification", "emotion")
    assert prepared["class_names"] == ["angry", "happy", "sad"]
    assert "never read" in prepared["masks"]["hidden"]


def test_the_card_has_the_runs_numbers(classifier: Shipped, bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    metrics = RunFolder.open(classifier.run).metrics
    first = front["model-index"][0]["results"][1]["metrics"]
    assert first[0]["value"] == pytest.approx(metrics["test"][0]["metrics"]["wa"], abs=1e-6)
    assert read_json(classifier.run / "run.json")["content_sha256"] in card
    (first, *_) = metrics["calibration"]
    assert f"| {first['observed']} | {first['n']} | {first['confidence']:.3f} | {first['accuracy']:.3f} |" in card


def test_no_utterance_and_no_path_of_the_training_is_in_it(classifier: Shipped, bundle: Path) -> None:
    for path in bundle.iterdir():
        content = path.read_bytes()
        assert b"d00_u0" not in content
        assert str(classifier.folder).encode() not in content


@pytest.mark.parametrize("name", sorted(FILES - {"manifest.json"}))
def test_a_changed_byte_is_noticed(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=f"{name} was changed or damaged"):
        load_bundle(copy)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_noticed(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(InvalidInput, match=f"{name} is missing"):
        load_bundle(copy)


def _reseal(folder: Path) -> None:
    """Make the manifest fit again: what is wrong now is the content itself."""
    entries = read_json(folder / "manifest.json")["files"]
    for entry in entries:
        path = folder / entry["path"]
        entry.update(bytes=path.stat().st_size, sha256=sha256_file(path))
    write_json(folder / "manifest.json", {"files": entries})


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("config.json", "imer-bundle/1", "imer-bundle/9", "has the format 'imer-bundle/9'"),
        ("config.json", '"hidden": 16', '"hidden": 32', "does not fit its config.json"),
        ("config.json", '"blocks"', '"blox"', "was made by imer"),
        ("preprocess.json", '"width": 6', '"width": 7', "name different modalities"),
        ("preprocess.json", '"name": "visual"', '"name": "gaze"', "name different modalities"),
    ],
)
def test_a_bundle_that_contradicts_itself_is_refused(copy: Path, name: str, old: str, new: str, message: str) -> None:
    text = (copy / name).read_text()
    assert text.count(old) >= 1
    (copy / name).write_text(text.replace(old, new, 1))
    _reseal(copy)
    with pytest.raises(InvalidInput, match=message):
        load_bundle(copy)


def test_another_modality_set_is_rejected(regressor: Shipped, bundle: Path) -> None:
    corpus = read_corpus(regressor.fold, regressor.store)
    with pytest.raises(InvalidInput, match="The model reads audio"):
        load_bundle(bundle).predict(corpus, np.arange(corpus.n), corpus.present_NM)


def test_the_settings_name_no_file(bundle: Path) -> None:
    assert set(json.loads((bundle / "config.json").read_text())["settings"]) == {"run", "model", "head"}
