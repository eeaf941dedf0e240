"""Which epoch is kept: the best on validation; or, to compare with published numbers, the best on the test part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from imer.metrics.compute import SELECTION_METRIC, selection_score

TEST_BEST = "test_best"
PUBLISHED_METRIC = {"classification": "wa", "regression": "f1_non0"}  # by which the public code of ComP chooses
OPTIMISTIC = (
    "train.select = test_best chooses the epoch on the test part: the results are optimistic, and marked so everywhere."
)


def epoch_score(metrics: dict[str, float | None], task: str, select: str) -> float:
    """Return the score of an epoch, higher is better; −∞ where the metric is undefined."""
    if select != TEST_BEST:
        return selection_score(task, metrics)
    value = metrics[PUBLISHED_METRIC[task]]
    return -math.inf if value is None else value


def selection(epoch: int, metrics: dict[str, float | None], task: str, select: str) -> dict[str, Any]:
    """Return which epoch was kept, and by what: {"epoch", "metric", "value", "on"}."""
    test = select == TEST_BEST
    metric = PUBLISHED_METRIC[task] if test else SELECTION_METRIC[task]
    return {"epoch": epoch, "metric": metric, "value": metrics.get(metric), "on": "test" if test else "val"}


def is_optimistic(selected: dict[str, Any]) -> bool:
    """Say whether an epoch was kept by what is not validation data, so that its results are no honest estimate."""
    return bool(selected["on"] != "val")


def mean_value(selections: Sequence[dict[str, Any]]) -> float | None:
    """Return the mean of the values by which several epochs were kept, over those that have one."""
    values = [one["value"] for one in selections if one["value"] is not None]
    return sum(values) / len(values) if values else None
