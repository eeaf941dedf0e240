"""Which epoch is kept: the best on validation; or, to compare with published numbers, the best on the test part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from imer.metrics.compute import SELECTION_METRIC, sign_of
from imer.metrics.leading import is_sentiment, range_of

TEST_BEST = "test_best"
PUBLISHED_METRIC = {"classification": "wa", "regression": "f1_non0"}  # by which the public code of ComP chooses
OPTIMISTIC = (
    "train.select = test_best chooses the epoch on the test part: the results are optimistic, and marked so everywhere."
)


def selecting_metric(task: str, select: str, target_N: np.ndarray) -> str:
    """Return the metric by which epochs are compared. `target_N` are all labels of the corpus: folds and seeds choose by one.

    Published numbers are of classes and of sentiment. Of ratings, of which any answer has the right side of 0, the published
    metric would call all epochs equal.
    """
    if select != TEST_BEST or (task == "regression" and not is_sentiment(range_of(target_N))):
        return SELECTION_METRIC[task]
    return PUBLISHED_METRIC[task]


def epoch_score(metrics: dict[str, float | None], metric: str) -> float:
    """Return the score of an epoch, higher is better; −∞ where the metric is undefined."""
    value = metrics[metric]
    return -math.inf if value is None else sign_of(metric) * value


def selection(epoch: int, metrics: dict[str, float | None], metric: str, select: str) -> dict[str, Any]:
    """Return which epoch was kept, and by what: {"epoch", "metric", "value", "on"}."""
    on = "test" if select == TEST_BEST else "val"
    return {"epoch": epoch, "metric": metric, "value": metrics.get(metric), "on": on}


def is_optimistic(selected: dict[str, Any]) -> bool:
    """Say whether an epoch was kept by what is not validation data, so that its results are no honest estimate."""
    return bool(selected["on"] != "val")


def mean_value(selections: Sequence[dict[str, Any]]) -> float | None:
    """Return the mean of the values by which several epochs were kept, over those that have one."""
    values = [one["value"] for one in selections if one["value"] is not None]
    return sum(values) / len(values) if values else None
