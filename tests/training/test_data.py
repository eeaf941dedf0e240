"""What a run learns from is what its settings name: of several features of a modality, the one that is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import UsageError
from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.store.writer import vector_block, write_store
from imer.training.data import divide, read_corpus
from imer.training.settings import DataSettings
from imer.training.settings_layers import load_settings
from tests.batches.small import small_corpus

WIDE, NARROW = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4, dtype=np.float32)[:, None]


def labelled(path: Path, label: str, cells: tuple[str, ...], absent: str = "") -> Path:
    """Write a store of four utterances with this column; of one modality nobody may have anything."""
    utterances = [Utterance(f"u{i}", "", i, line=i + 2, row=i, labels={label: cell}) for i, cell in enumerate(cells)]
    here = np.ones(4, dtype=bool)
    blocks = [
        vector_block(FeatureSpec("audio", name, "1", "utterance", values.shape[1]), values, here)
        for name, values in (("wide", WIDE), ("narrow", NARROW))
    ]
    has_text = here & (absent != "text")
    blocks.append(vector_block(FeatureSpec("text", "words", "1", "utterance", 3), WIDE, has_text))
    quality = {modality: np.full(4, Verdict.ok) for modality in ("audio", "text")}
    write_store(path, utterances, blocks, quality, provenance={"made_by": "tests"})
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two features of audio, one of text, and classes that look alike."""
    return labelled(tmp_path / "f.h5", "mood", ("Happy", "happy", "sad", "sad"))


@pytest.mark.parametrize(("name", "values"), [("wide", WIDE), ("narrow", NARROW)])
def test_one_of_several_features_is_chosen(store: Path, name: str, values: np.ndarray) -> None:
    said: list[str] = []
    corpus = read_corpus(DataSettings(str(store), "mood", feature_sets=(f"audio={name}",)), said.append)
    assert corpus.feature_names == {"audio": name, "text": "words"}
    assert np.array_equal(corpus.features["audio"], values)
    assert said == [
        "mood: classes differ in capitals only (Happy and happy); they are learnt as different ones.",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"feature_sets": ("narrow",)}, "modality=name, but 'narrow' was given"),
        ({"feature_sets": ("audio=narow",)}, "did you mean 'narrow'"),
        ({"feature_sets": ("audio=narrow", "gaze=narrow")}, "'gaze', which is no modality that is learnt from"),
        ({"feature_sets": ("audio=narrow",), "modalities": ("text",)}, "'audio', which is no modality"),
        (
            {"feature_sets": ()},
            r"several audio features \(narrow, wide\); choose one, such as --set data.feature_sets=audio=narrow",
        ),
        ({"modalities": ("audio", "gaze"), "feature_sets": ("audio=wide",)}, "no gaze features"),
        ({"label": ""}, r"no column called emotion or sentiment; name the label with --label \(columns: mood\)"),
    ],
)
def test_what_cannot_be_learnt_from(store: Path, settings: dict, words: str) -> None:
    given = {"label": "mood", "feature_sets": ("audio=wide",), **settings}
    with pytest.raises(UsageError, match=words):
        read_corpus(DataSettings(str(store), **given), lambda _: None)


def test_classes_that_are_called_by_numbers_can_be_learnt_as_numbers(tmp_path: Path) -> None:
    store = labelled(tmp_path / "f.h5", "emotion", ("10", "2", "", "2"))
    options = {"label": "emotion", "feature_sets": ("audio=wide",)}
    assert read_corpus(DataSettings(str(store), **options), lambda _: None).class_names == ("10", "2")
    corpus = read_corpus(DataSettings(str(store), task="regression", **options), lambda _: None)
    assert corpus.task == "regression"
    assert np.array_equal(corpus.target_N, [10.0, 2.0, np.nan, 2.0], equal_nan=True)


def test_a_modality_that_nobody_has_is_left_out_and_told(tmp_path: Path) -> None:
    store = labelled(tmp_path / "f.h5", "mood", ("1", "2", "1", "2"), absent="text")
    said: list[str] = []
    corpus = read_corpus(DataSettings(str(store), label="mood", feature_sets=("audio=wide",)), said.append)
    assert list(corpus.modalities) == ["audio"]
    assert said[0] == "no utterance has text: it is left out."
    named = DataSettings(str(store), label="mood", feature_sets=("audio=wide",), modalities=("audio", "text"))
    assert list(read_corpus(named).modalities) == ["audio", "text"]


def test_how_to_cut_a_validation_part_that_there_is_already_is_told_to_do_nothing() -> None:
    corpus = small_corpus([4] * 10)
    number = np.array([int(dialogue[1:]) for dialogue in corpus.dialogue_ids])
    corpus = replace(corpus, splits=np.select([number < 6, number < 8], ["train", "val"], "test").astype(object))

    def said(*given: str) -> list[str]:
        told: list[str] = []
        divide(corpus, load_settings(assignments=["data.features=f.h5", *given]), told.append)
        return [sentence for sentence in told if "did nothing" in sentence]

    assert said() == []
    assert said("data.validation_share=0.3", "data.folds=5") == []
    assert said("data.validation_share=0.3", "data.validation_by=dialogue") == [
        "the utterances have a val part of their own, so data.validation_share, data.validation_by did nothing."
    ]
