"""The script: splits, balance, and cues that fail independently of each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.core.errors import UsageError
from imer.core.types import MODALITIES, SPLITS
from imer.demo.script import (
    EMOTIONS,
    FLAT,
    FLAT_PROBABILITY,
    MISTAKEN_FOR,
    MISTAKEN_PROBABILITY,
    Line,
    unseen_lines,
    write_script,
)


@settings(max_examples=25)
@given(n=st.integers(12, 400), seed=st.integers(0, 99))
def test_splits_share_neither_dialogues_nor_speakers(n: int, seed: int) -> None:
    lines = write_script(n, seed)
    assert len(lines) == n
    assert len({line.utterance_id for line in lines}) == n
    for part in ("dialogue_id", "speaker", "session"):
        split_of = defaultdict(set)
        for line in lines:
            split_of[getattr(line, part)].add(line.split)
        assert all(len(splits) == 1 for splits in split_of.values())
    assert {line.split for line in lines} == set(SPLITS)
    positions = defaultdict(list)
    for line in lines:
        positions[line.dialogue_id].append(line.position)
    assert all(found == list(range(len(found))) for found in positions.values())
    assert all(-3 <= line.sentiment <= 3 for line in lines)
    assert all(len(line.absent) <= 1 for line in lines)
    assert {modality for line in lines for modality in line.absent} == set(MODALITIES)


def test_every_split_has_every_class() -> None:
    for seed in range(5):
        found = defaultdict(Counter)
        for line in write_script(60, seed):
            found[line.split][line.emotion] += 1
        assert all(set(counts) == set(EMOTIONS) for counts in found.values())


def test_same_seed_same_script() -> None:
    assert write_script(40, 7) == write_script(40, 7)
    assert write_script(40, 7) != write_script(40, 8)


def test_too_few_utterances() -> None:
    with pytest.raises(UsageError, match="at least 12 utterances, not 5"):
        write_script(5, 0)


def _many_lines() -> list[Line]:
    return [line for seed in range(15) for line in write_script(280, seed)]


def test_cues_fail_independently() -> None:
    lines = _many_lines()
    right = np.array([[line.cues[m] == line.emotion for m in MODALITIES] for line in lines], float)
    emotion = np.array([line.emotion for line in lines])
    for name in EMOTIONS:  # given what is felt, one modality's failure says nothing about another's
        of_class = np.corrcoef(right[emotion == name].T)
        off_diagonal = of_class[~np.eye(3, dtype=bool)]
        assert np.nanmax(np.abs(off_diagonal)) < 0.12  # about four standard errors at ~1000 lines a class


def _likelihood(modality: str, emotion: str, cue: str) -> float:
    flat, mistaken = FLAT_PROBABILITY[modality], MISTAKEN_PROBABILITY[modality]
    terms = ((FLAT, flat), (MISTAKEN_FOR[modality][emotion], mistaken), (emotion, 1 - flat - mistaken))
    return sum(probability for shown, probability in terms if shown == cue)


def _best_recall(lines: list[Line], modalities: tuple[str, ...]) -> float:
    """UA of the best possible reader who sees the cues of these modalities and nothing else."""
    right = defaultdict(list)
    for line in lines:
        best = max(EMOTIONS, key=lambda e: prod(_likelihood(m, e, line.cues[m]) for m in modalities))
        right[line.emotion].append(best == line.emotion)
    return float(np.mean([np.mean(found) for found in right.values()]))


def test_each_modality_alone_is_much_worse_than_all() -> None:
    lines = _many_lines()
    alone = [_best_recall(lines, (modality,)) for modality in MODALITIES]
    together = _best_recall(lines, MODALITIES)
    assert all(0.5 < recall < 0.75 for recall in alone)
    assert together > 0.9


def test_sentiment_follows_what_is_felt() -> None:
    lines = _many_lines()
    mean = {name: np.mean([line.sentiment for line in lines if line.emotion == name]) for name in EMOTIONS}
    assert mean["angry"] < mean["sad"] < mean["neutral"] < mean["happy"]
    assert abs(mean["neutral"]) < 0.1


def test_unseen_lines_show_what_they_feel() -> None:
    lines = unseen_lines(0)
    assert [line.emotion for line in lines] == list(EMOTIONS)
    assert all(set(line.cues.values()) == {line.emotion} for line in lines)
    assert not {line.speaker for line in lines} & {line.speaker for line in write_script(280, 0)}
