"""Splits keep dialogues whole, keep speakers apart where they can, and say when they cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imer.batches.corpus import Corpus
from imer.batches.splits import Split, fold_splits, official_split
from imer.core.errors import InvalidInput, UsageError
from tests.batches.small import small_corpus


def _check_parts(corpus: Corpus, split: Split) -> None:
    parts = [split.train, split.val, split.test]
    together = np.concatenate(parts)
    assert len(set(together.tolist())) == len(together)
    dialogues = [set(corpus.dialogue_ids[rows]) for rows in parts]
    assert not dialogues[0] & dialogues[1]
    assert not dialogues[2] & (dialogues[0] | dialogues[1])


def test_folds_by_number_test_every_utterance_once() -> None:
    corpus = small_corpus([4, 6, 3, 8, 5, 7, 2, 9, 6, 4])
    splits = fold_splits(corpus, "5", seed=0)
    assert sorted(np.concatenate([s.test for s in splits]).tolist()) == list(range(corpus.n))
    for split in splits:
        _check_parts(corpus, split)
        assert 0.03 < len(split.val) / (len(split.val) + len(split.train)) < 0.35
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 5


def test_the_seed_decides_and_nothing_else() -> None:
    corpus = small_corpus([4, 6, 3, 8, 5, 7, 2, 9, 6, 4])
    first, again, other = (fold_splits(corpus, "5", seed=seed) for seed in (0, 0, 1))
    assert all(
        np.array_equal(a.val, b.val) and np.array_equal(a.test, b.test) for a, b in zip(first, again, strict=True)
    )
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_folds_by_speaker_keep_speakers_apart_in_validation_too() -> None:
    # Ten speakers of two dialogues each.
    corpus = small_corpus([5] * 20, speakers=[[f"s{d // 2}"] * 5 for d in range(20)])
    splits = fold_splits(corpus, "speaker", seed=0)
    assert len(splits) == 10
    for split in splits:
        _check_parts(corpus, split)
        speakers = [set(corpus.speakers[rows]) for rows in (split.train, split.val, split.test)]
        assert not speakers[0] & speakers[1]
        assert not speakers[2] & (speakers[0] | speakers[1])
        assert split.warnings == ()


def test_utterances_of_no_fold_train_in_each_and_are_told_of() -> None:
    corpus = small_corpus([4] * 12)
    number = np.array([int(d[1:]) for d in corpus.dialogue_ids])
    take = np.array([str(9 + n % 3) if n < 10 else "" for n in number], dtype=object)
    splits = fold_splits(replace(corpus, columns={"take": take}), "take", seed=0)
    assert [split.name for split in splits] == ["9", "10", "11"]  # as numbers, not as letters
    for split in splits:
        assert sorted([*split.train, *split.val, *split.test]) == list(range(corpus.n))
        assert not set(split.test) & set(np.flatnonzero(take == ""))
    said = "8 utterances have no take: for training in every fold, and never tested."
    assert [said in " ".join(split.warnings) for split in splits] == [True, False, False]


def test_official_split_cuts_validation_from_training_where_there_is_none() -> None:
    corpus = small_corpus([4] * 20)
    number = np.array([int(d[1:]) for d in corpus.dialogue_ids])
    split = official_split(replace(corpus, splits=np.where(number < 15, "train", "test").astype(object)), seed=0)
    _check_parts(corpus, split)
    assert 4 <= len(split.val) <= 16
    three = np.select([number < 12, number < 15], ["train", "val"], "test").astype(object)
    given = official_split(replace(corpus, splits=three), seed=0)
    assert (len(given.train), len(given.val), len(given.test)) == (48, 12, 20)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ("sesion", "no such column; did you mean 'session'"),
        ("session", "at least two different values, but only was found"),
        ("50", "not possible with 10 dialogues"),
        ("²", "no such column"),
    ],
)
def test_folds_that_cannot_be_made(folds: str, message: str) -> None:
    corpus = small_corpus([2] * 10)
    one = replace(corpus, columns={"session": np.full(corpus.n, "only", dtype=object)})
    with pytest.raises(UsageError, match=message):
        fold_splits(one, folds, seed=0)


def test_parts_without_utterances_or_labels() -> None:
    corpus = small_corpus([4] * 10)
    with pytest.raises(UsageError, match="no split"):
        official_split(corpus, seed=0)
    with pytest.raises(InvalidInput, match="No utterance has the split train"):
        official_split(replace(corpus, splits=np.full(corpus.n, "test", dtype=object)), seed=0)
    number = np.array([int(d[1:]) for d in corpus.dialogue_ids])
    splits = np.select([number < 6, number < 8], ["train", "val"], "test").astype(object)
    for part, word in (("val", "validation"), ("train", "training")):
        target = np.where(splits == part, -1, corpus.target_N)
        with pytest.raises(InvalidInput, match=f"The {word} part has no utterance with the label emotion"):
            official_split(replace(corpus, splits=splits, target_N=target), seed=0)


def test_utterances_without_a_split_are_counted() -> None:
    corpus = small_corpus([4] * 10)
    number = np.array([int(d[1:]) for d in corpus.dialogue_ids])
    splits = np.select([number < 5, number < 6, number < 8], ["train", "val", "test"], "").astype(object)
    (warning,) = official_split(replace(corpus, splits=splits), seed=0).warnings
    assert warning == "8 of 40 utterances have no split and are not used."


def test_folds_that_differ_in_capitals_are_told_of() -> None:
    corpus = small_corpus([4] * 9)
    names = np.array([("Ann", "ann", "bo")[int(d[1:]) % 3] for d in corpus.dialogue_ids], dtype=object)
    first, *others = fold_splits(replace(corpus, columns={"who": names}), "who", seed=0)
    assert any("values of who differ in capitals only (Ann and ann)" in warning for warning in first.warnings)
    assert not any(split.warnings for split in others)


def test_the_label_itself_makes_no_folds() -> None:
    corpus = small_corpus([2] * 10)
    labels = np.array([corpus.class_names[c] for c in corpus.target_N], dtype=object)
    with pytest.raises(UsageError, match="that is the label to learn"):
        fold_splits(replace(corpus, columns={corpus.label: labels}), corpus.label, seed=0)
