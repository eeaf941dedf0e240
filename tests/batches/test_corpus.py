"""A store as arrays: what is present, what is learnt, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imer.batches.corpus import Corpus, default_label
from imer.core.errors import InvalidInput, UsageError
from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.store.reader import FeatureStore
from imer.store.writer import vector_block, write_store
from tests.stores import EMOTIONS, WIDTHS, write_small_store


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("store") / "small.h5", n_dialogues=10)


def test_arrays_of_a_store(store_path: Path) -> None:
    with FeatureStore.open(store_path) as store:
        corpus = Corpus.from_store(store, label="emotion")
        assert np.array_equal(corpus.present_NM, store.present_NM())
    assert corpus.modalities == WIDTHS
    assert corpus.task == "classification"
    assert corpus.class_names == EMOTIONS
    assert 0 < (corpus.target_N < 0).sum() < corpus.n
    for column, name in enumerate(corpus.modalities):
        absent = ~corpus.present_NM[:, column]
        assert absent.any()
        assert np.all(corpus.features[name][absent] == 0)


def test_modalities_can_be_chosen_and_keep_their_order(store_path: Path) -> None:
    with FeatureStore.open(store_path) as store:
        corpus = Corpus.from_store(store, modalities=["visual", "audio"], label="sentiment")
    assert list(corpus.modalities) == ["audio", "visual"]
    assert corpus.task == "regression"
    assert np.isnan(corpus.target_N).any()


def test_numbers_can_be_learnt_as_classes(store_path: Path) -> None:
    with FeatureStore.open(store_path) as store:
        assert Corpus.from_store(store, label="take").task == "regression"
        corpus = Corpus.from_store(store, label="take", task="classification")
    assert corpus.class_names == ("0", "1", "2")
    assert set(corpus.target_N.tolist()) == {0, 1, 2}


def test_classes_follow_the_order_of_a_trained_model(store_path: Path) -> None:
    with FeatureStore.open(store_path) as store:
        plain = Corpus.from_store(store, label="emotion")
        turned = Corpus.from_store(store, label="emotion", class_names=("sad", "neutral", "happy", "angry"))
        with pytest.raises(InvalidInput, match="holds happy, which the model does not know"):
            Corpus.from_store(store, label="emotion", class_names=("sad", "angry"))
    there = plain.target_N >= 0
    assert np.array_equal(turned.target_N >= 0, there)
    names = np.array(turned.class_names)[turned.target_N[there]]
    assert np.array_equal(names, np.array(plain.class_names)[plain.target_N[there]])


def _few(path: Path, emotions: list[str], scores: list[str], dialogues: list[str]) -> Path:
    """Write a store of an utterance a label, with two audio features of which the second is ten times the first."""
    utterances = [
        Utterance(f"u{i}", dialogue, i, i + 2, labels={"emotion": emotion, "score": score})
        for i, (emotion, score, dialogue) in enumerate(zip(emotions, scores, dialogues, strict=True))
    ]
    values, present = np.arange(1.0, len(utterances) + 1)[:, None], np.ones(len(utterances), dtype=bool)
    specs = [FeatureSpec("audio", name, "1", "utterance", 1) for name in ("first", "second")]
    blocks = [vector_block(spec, values * times, present) for spec, times in zip(specs, (1, 10), strict=True)]
    write_store(path, utterances, blocks, {"audio": np.where(present, Verdict.ok, Verdict.silent)})
    return path


def test_what_has_no_label_has_none_in_either_task(tmp_path: Path) -> None:
    with FeatureStore.open(_few(tmp_path / "f.h5", ["2", "", "-1"], ["", "0.5", "-0.0"], ["d"] * 3)) as store:

        def read(label: str, task: str) -> Corpus:
            return Corpus.from_store(store, label=label, task=task, features={"audio": "first"})

        values = read("emotion", "regression")
        assert np.array_equal(values.target_N, [2, np.nan, -1], equal_nan=True)
        assert values.labelled_N.tolist() == [True, False, True]
        classes = read("score", "classification")
        assert (classes.target_N.tolist(), classes.class_names) == ([-1, 1, 0], ("0", "0.5"))
        assert classes.labelled_N.tolist() == [False, True, True]


def test_an_utterance_without_a_dialogue_is_one_of_its_own(tmp_path: Path) -> None:
    with FeatureStore.open(_few(tmp_path / "f.h5", ["a"] * 4, ["1"] * 4, ["", "", "u0", "u0"])) as store:
        corpus = Corpus.from_store(store, features={"audio": "second"})
    assert len(set(corpus.dialogue_ids)) == 3
    assert corpus.dialogue_ids[2] == corpus.dialogue_ids[3] == "u0"
    assert corpus.rows_of(["u3", "stranger", "u1"]).tolist() == [3, 1]


def test_of_several_features_the_named_one_is_read(tmp_path: Path) -> None:
    with FeatureStore.open(_few(tmp_path / "f.h5", ["a"] * 2, ["1"] * 2, ["d"] * 2)) as store:
        corpus = Corpus.from_store(store, features={"audio": "second"})
        assert corpus.features["audio"].tolist() == [[10.0], [20.0]]
        assert corpus.feature_names == {"audio": "second"}
        assert corpus.fingerprints["audio"] == store.specs["audio"]["second"].fingerprint
        with pytest.raises(InvalidInput, match="several audio features"):
            Corpus.from_store(store)


def test_what_the_store_does_not_have(store_path: Path) -> None:
    with FeatureStore.open(store_path) as store:
        assert default_label(store) == "emotion"
        with pytest.raises(UsageError, match=r"no label column 'emotoin'; did you mean 'emotion'"):
            Corpus.from_store(store, label="emotoin")
        with pytest.raises(UsageError, match="no gaze features"):
            Corpus.from_store(store, modalities=["gaze"])
        with pytest.raises(InvalidInput, match="cannot be learnt as a number"):
            Corpus.from_store(store, label="emotion", task="regression")
        with pytest.raises(UsageError, match="no task 'sorting'"):
            Corpus.from_store(store, label="emotion", task="sorting")
