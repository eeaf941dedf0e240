"""What looks like a mistake is said; what is merely unusual is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imer.batches.doubts import doubts, odd_classes, odd_values, scarce_modalities
from imer.batches.splits import Split
from tests.batches.small import small_corpus


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("1,5", "2,0", "NA"), "decimal commas"),
        (("Happy", "happy", "sad"), "differ in capitals only"),
        (("-99", ".", "glad", "k.A.", "n.a.", "sad"), "'-99', '.', 'k.A.', … (1 more) is learnt as a class"),
    ],
)
def test_odd_classes(classes: tuple[str, ...], words: str) -> None:
    (sentence,) = odd_classes(classes)
    assert words in sentence


def test_a_code_for_missing_among_ratings_is_named() -> None:
    ratings = np.tile(np.arange(1.0, 8.0, 0.5), 10)
    assert odd_values(ratings) == []
    (sentence,) = odd_values(np.append(ratings, [999.0, 999.0, np.nan, -99.0]))
    assert sentence.startswith("3 of 143 labels lie far from all others (-99, 999)")


@pytest.mark.parametrize(
    "values", [[], [np.nan], [2.5, 2.5, 2.5, 2.5, 9.0], np.random.default_rng(0).normal(size=9999)]
)
def test_labels_that_are_no_cause_for_doubt(values: list[float]) -> None:
    assert odd_values(np.asarray(values)) == []


def test_broken_features_are_named_with_their_utterances() -> None:
    corpus = small_corpus([40, 40])
    assert doubts(corpus) == []
    corpus.features["text"][[3, 7]] *= 1e6
    (sentence,) = doubts(corpus)
    assert "text features lie absurdly far from all others in 2 of 80 utterances" in sentence
    assert all(str(corpus.utterance_ids[row]) in sentence for row in (3, 7))


def test_a_modality_that_never_changes_is_named() -> None:
    corpus = small_corpus([4] * 5, present=0.8)
    corpus.features["text"][corpus.present_NM[:, 1]] = 3.0
    n = int(corpus.present_NM[:, 1].sum())
    assert doubts(corpus) == [f"text features are the same in all {n} utterances that have them: they tell nothing."]


def test_a_modality_that_training_hardly_has() -> None:
    corpus = small_corpus([60, 60])
    parts = [Split(name, np.arange(100), np.arange(100, 110), np.arange(110, 120)) for name in ("a", "b")]
    present_NM = corpus.present_NM.copy()
    present_NM[9:100, 1] = False
    assert scarce_modalities(corpus, parts) == []
    (sentence,) = scarce_modalities(replace(corpus, present_NM=present_NM), parts)
    assert sentence.startswith("only 9 of 100 training utterances of fold a have text")


def test_a_small_corpus_is_not_scarce() -> None:
    corpus = small_corpus([12])
    assert scarce_modalities(corpus, [Split("", np.arange(8), np.arange(8, 10), np.arange(10, 12))]) == []


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("1", "2", "3", "4", "5", "?", "unknown"), "5 of 7 classes are numbers, but '?', 'unknown' is none"),
        (("-0.25", "1.5", "missing"), "2 of 3 classes are numbers"),
        (("happy", "None", "sad", "x"), "'None', 'x' is learnt as a class"),
    ],
)
def test_cells_that_may_mean_missing_are_named(classes: tuple[str, ...], words: str) -> None:
    (sentence,) = odd_classes(classes)
    assert words in sentence


@pytest.mark.parametrize("classes", [("0", "1", "2"), ("angry", "happy"), ("level 1", "2"), ("-1", "0", "1")])
def test_classes_that_are_no_cause_for_doubt(classes: tuple[str, ...]) -> None:
    assert odd_classes(classes) == []


def test_whole_numbers_may_be_codes_of_classes() -> None:
    (sentence,) = odd_values(np.array([0.0, 1.0, 2.0, 6.0] * 5))
    assert sentence.startswith("whole numbers (0, 1, 2, … (1 more)) are learnt as a quantity")


def test_infinite_labels_are_counted() -> None:
    assert odd_values(np.array([np.inf, 0.5, 1.5, -np.inf])) == ["2 labels are infinite and count as missing."]
