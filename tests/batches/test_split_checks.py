"""A split that promises less than it seems to is told of: shared dialogues and speakers, roles, classes that nobody learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imer.batches.splits import fold_splits, official_split
from tests.batches.small import small_corpus


def test_speakers_that_cannot_be_kept_apart_are_told_of() -> None:
    rounds = ["xyxy", "yzyz", "zwzw", "wxwx"]  # everybody knows everybody, and nobody speaks in most dialogues
    corpus = small_corpus([4] * 10, speakers=[list(rounds[d % 4]) for d in range(10)])
    splits = fold_splits(corpus, "5", seed=0)
    assert any("4 speakers of fold 0 are both in training and in test (w, x, y, " in w for w in splits[0].warnings)
    assert not splits[1].warnings
    by_session = replace(corpus, columns={"session": np.array([d[-1] for d in corpus.dialogue_ids], dtype=object)})
    warnings = fold_splits(by_session, "session", seed=0)[0].warnings
    assert any("2 speakers" in w and "new speakers" in w for w in warnings)
    assert any("shares speakers" in w for w in fold_splits(corpus, "5", seed=0, by="speaker")[0].warnings)


def test_who_speaks_in_most_dialogues_is_asked_about_as_a_role() -> None:
    corpus = small_corpus([4] * 10, speakers=[["agent", f"p{d % 5}", "agent", "client"] for d in range(10)])
    said = fold_splits(corpus, "5", seed=0)[0].warnings
    assert any(w.startswith("agent, client speak in most dialogues: if these are roles") for w in said)
    assert not any("speakers of fold 0" in w and "agent" in w for w in said)


def test_dialogues_that_a_column_cuts_apart_are_told_of() -> None:
    corpus = small_corpus([4] * 10)
    take = np.array([str(int(p) % 2) for p in corpus.positions], dtype=object)
    (first, _) = fold_splits(replace(corpus, columns={"take": take}), "take", seed=0)
    assert any("10 dialogues of fold 0 have utterances both in training and in test" in w for w in first.warnings)
    parts = np.array([("train", "val")[int(p) % 2] for p in corpus.positions], dtype=object)
    warned = official_split(replace(corpus, splits=parts), seed=0).warnings
    assert any("10 dialogues have utterances both in training and in validation" in w for w in warned)


def test_a_class_that_is_only_tested_is_told() -> None:
    corpus = small_corpus([4] * 10)
    number = np.array([int(d[1:]) for d in corpus.dialogue_ids])
    splits = np.select([number < 6, number < 8], ["train", "val"], "test").astype(object)
    target = np.where(splits == "test", 2, np.arange(corpus.n) % 2)
    warned = official_split(replace(corpus, splits=splits, target_N=target), seed=0).warnings
    assert any(f"classes that no training utterance has: {corpus.class_names[2]}." in one for one in warned)


def test_one_who_always_speaks_is_asked_about_in_the_singular() -> None:
    corpus = small_corpus([4] * 10, speakers=[["host"] * 4 for _ in range(10)])
    assert (
        fold_splits(corpus, "5", seed=0)[0].warnings[0].startswith("host speaks in most dialogues: if these are roles")
    )


def test_a_clip_that_is_in_training_and_in_test_under_two_names_is_told() -> None:
    corpus = small_corpus([4] * 10)
    tested, learnt = np.flatnonzero(corpus.dialogue_ids == "d9"), np.flatnonzero(corpus.dialogue_ids == "d0")
    parts = np.select([corpus.dialogue_ids == "d9", corpus.dialogue_ids == "d8"], ["test", "val"], "train").astype(
        object
    )
    corpus = replace(corpus, splits=parts)
    corpus.features["text"][tested] = corpus.features["text"][learnt[0]]
    assert not official_split(corpus, seed=0).warnings, "people say the same words more than once"
    corpus.features["audio"][tested[1]] = corpus.features["audio"][learnt[0]]
    (said,) = official_split(corpus, seed=0).warnings
    assert said.startswith(
        f"1 of 4 test utterances have the very features of training ones ({corpus.utterance_ids[tested[1]]})"
    )
