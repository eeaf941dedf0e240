"""Of ratings MAE and CCC lead; of sentiment and of classes what always led."""

from __future__ import annotations

import numpy as np
import pytest

from imer.metrics.compute import METRICS
from imer.metrics.leading import (
    compared,
    headline,
    in_order,
    is_sentiment,
    off_the_sentiment_scale,
    range_of,
    telling,
    widest,
)

SENTIMENT = [None, (-3.0, 3.0), (-2.8, 1.4), (-1.0, 1.0), (-3.4, 3.2), (2.0, 2.0)]
RATINGS = [(1.0, 5.0), (0.0, 100.0), (0.2, 0.8), (0.0, 3.0), (-3.0, 0.0), (-50.0, 50.0), (-3.0, 5.0)]


@pytest.mark.parametrize("label_range", SENTIMENT)
def test_sentiment_is_told_by_its_side_of_0(label_range: tuple[float, float] | None) -> None:
    assert is_sentiment(label_range)
    assert headline("regression", label_range) == ("acc2_non0", "mae")
    assert compared("regression", label_range) == ("f1_non0", "acc2_non0", "mae", "corr")
    assert telling("regression", label_range) == in_order("regression", label_range) == METRICS["regression"]


@pytest.mark.parametrize("label_range", RATINGS)
def test_ratings_are_told_by_how_far_off_and_how_alike_answers_are(label_range: tuple[float, float]) -> None:
    assert not is_sentiment(label_range)
    assert headline("regression", label_range) == ("mae", "ccc")
    assert compared("regression", label_range) == telling("regression", label_range) == ("mae", "ccc", "corr")
    ordered = in_order("regression", label_range)
    assert ordered[:4] == ("mae", "ccc", "corr", "acc2_non0")
    assert sorted(ordered) == sorted(METRICS["regression"])


def test_classes_have_no_scale() -> None:
    assert headline("classification") == ("wa", "ua")
    assert compared("classification")[0] == "ua"
    assert telling("classification") == in_order("classification") == METRICS["classification"]


def test_a_range_is_of_what_is_labelled_and_known() -> None:
    assert range_of(np.array([2.0, np.nan, np.inf, -1.5])) == [-1.5, 2.0]
    assert range_of(np.array([np.nan])) is None
    assert widest([None, (1.0, 4.0), [0.5, 2.0]]) == [0.5, 4.0]
    assert widest([None, None]) is None


def test_a_scale_that_is_not_that_of_sentiment_is_told() -> None:
    for label_range in SENTIMENT:
        assert off_the_sentiment_scale("sentiment", label_range) == []
    for label_range, told in (((1.0, 7.0), "1 … 7"), ((-50.0, 50.0), "-50 … 50"), ((-3.0, -0.5), "-3 … -0.5")):
        (sentence,) = off_the_sentiment_scale("valence", label_range)
        assert sentence.startswith(f"valence lies in {told}: Acc-2")
