"""What is evaluated may be too little for what its figures seem to say."""

from __future__ import annotations

import numpy as np
import pytest

from imer.evaluation.source import FEW_DIALOGUES, too_little_to_measure
from tests.batches.small import small_corpus


@pytest.mark.parametrize(
    ("n_dialogues", "said"),
    [
        (FEW_DIALOGUES, []),
        (
            2,
            [
                "The intervals resample no more than 2 dialogues: from so few they come out too narrow; do not rely on them."
            ],
        ),
        (1, ["All labelled utterances are of one dialogue, so that there are no intervals: they resample dialogues."]),
    ],
)
def test_intervals_over_few_dialogues_are_doubted(n_dialogues: int, said: list[str]) -> None:
    corpus = small_corpus([3] * FEW_DIALOGUES, task="regression")
    asked = np.flatnonzero(np.isin(corpus.dialogue_ids, [f"d{d}" for d in range(n_dialogues)]))
    assert too_little_to_measure(corpus, asked) == said
    corpus.target_N[corpus.dialogue_ids != "d0"] = np.nan
    assert "one dialogue" in too_little_to_measure(corpus, asked)[0], "dialogues without labels count for nothing"


def test_classes_that_nothing_is_measured_of_are_named() -> None:
    corpus = small_corpus([3] * FEW_DIALOGUES)
    everything = np.arange(corpus.n)
    assert too_little_to_measure(corpus, everything) == []
    (said,) = too_little_to_measure(corpus, np.flatnonzero(corpus.target_N != 1))
    assert said.startswith("1 of 3 classes have no labelled utterance here (b): nothing is said of them")
