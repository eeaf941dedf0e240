"""A store as arrays: what is present, what is learnt, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imer.batches.corpus import Corpus, default_label
from imer.core.errors import InvalidInput, UsageError
from imer.store.reader import FeatureStore
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
