"""The validation part keeps speakers whole where it can, is like the rest, and is another one for each member."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imer.batches.splits import fold_splits, official_split, whole_split
from imer.core.errors import InvalidInput
from tests.batches.small import small_corpus


def test_speakers_who_talk_with_each_other_go_together() -> None:
    # s0 and s1 share a dialogue, so they are one group; the other speakers are alone.
    names = [["s0", "s1", "s0", "s1"], ["s0"] * 4, ["s1"] * 4] + [[f"s{d}"] * 4 for d in range(2, 12)]
    corpus = small_corpus([4] * 13, speakers=names)
    for split in fold_splits(corpus, "4", seed=3, by="speaker"):
        assert not set(corpus.speakers[split.train]) & set(corpus.speakers[split.val])


def test_two_speakers_are_too_few_to_keep_apart() -> None:
    """The one of one dialogue would be all of validation, and training would know nobody but the other."""
    corpus = small_corpus([4] * 11, speakers=[["x"] * 4] + [["y"] * 4] * 9 + [["z"] * 4])
    corpus = replace(corpus, splits=np.where(corpus.speakers == "z", "test", "train").astype(object))
    parts = [official_split(corpus, seed=seed).val for seed in range(5)]
    assert all("y" in corpus.speakers[part] for part in parts)


def test_speakers_are_not_kept_apart_at_the_price_of_much_of_the_training_part() -> None:
    """Of three speakers of equal size one is a third of it; whoever asks for speakers gets that."""
    corpus = small_corpus([4] * 13, speakers=[[f"s{d // 4}"] * 4 for d in range(13)])
    corpus = replace(corpus, splits=np.where(corpus.speakers == "s3", "test", "train").astype(object))
    assert len(official_split(corpus, seed=0).val) / 48 < 0.25
    assert len(set(corpus.speakers[official_split(corpus, seed=0, by="speaker").val])) == 1


def test_a_validation_part_is_like_the_rest_in_its_labels() -> None:
    """Twelve dialogues of high values and four of low ones: of them, too, a fourth is in the validation part."""
    corpus = small_corpus([4] * 16, task="regression")
    number = np.array([int(d[1:]) for d in corpus.dialogue_ids])
    values = np.where(number < 12, 1.0, -1.0)
    classes = replace(corpus, task="classification", class_names=("a", "b"), target_N=(number < 12).astype(int))
    for labelled in (replace(corpus, target_N=values), classes):
        for seed in range(5):
            val = whole_split(labelled, seed=seed, share=0.25).val
            assert sorted(values[val].tolist()) == [-1.0] * 4 + [1.0] * 12


def test_a_rare_class_is_in_the_validation_part_if_it_can_be() -> None:
    corpus = small_corpus([6] * 20)
    target = corpus.target_N % 2
    target[corpus.rows_of(["d0_u0", "d1_u0"])] = 2
    for seed in range(5):
        assert 2 in target[whole_split(replace(corpus, target_N=target), seed=seed).val]


def test_a_single_training_dialogue_gives_no_validation_part() -> None:
    corpus = small_corpus([6, 6])
    with pytest.raises(InvalidInput, match="single dialogue"):
        fold_splits(corpus, "2", seed=0)


def test_members_have_validation_parts_of_their_own_however_few_groups_there_are() -> None:
    """Of four sessions one is the most representative; were it everybody's, it would teach nobody."""
    corpus = small_corpus([6] * 10)
    sessions = np.array([f"s{int(name[1:]) % 5}" for name in corpus.dialogue_ids], dtype=object)
    corpus = replace(corpus, speakers=sessions, columns={**corpus.columns, "session": sessions})
    members = [fold_splits(corpus, "session", seed=0, member=member) for member in range(3)]
    for fold in zip(*members, strict=True):
        assert len({frozenset(split.val.tolist()) for split in fold}) == 3
        assert len({tuple(split.test.tolist()) for split in fold}) == 1
        for split in fold:
            assert len(set(sessions[split.val])) == 1
            assert not set(sessions[split.val]) & set(sessions[split.train])


def test_a_part_that_is_not_representative_is_nobodys() -> None:
    """Of two dialogues the longer one leaves too little to learn from: all members share the other."""
    corpus = small_corpus([3, 17, 6])
    corpus = replace(corpus, splits=np.where(corpus.dialogue_ids == "d2", "test", "train").astype(object))
    parts = [official_split(corpus, seed=0, member=member).val for member in range(3)]
    assert all(np.array_equal(part, parts[0]) for part in parts)
    assert len(parts[0]) == 3
