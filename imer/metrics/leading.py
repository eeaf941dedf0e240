"""Which metrics lead in tables and plots: by the task, and of numbers by whether they are on the scale of sentiment.

Acc-2 asks for the side of 0 and Acc-7 cuts at ±3. Made for sentiment from −3 to 3, they say little of ratings from 1 to 5
or of arousal from .2 to .8, which lie on one side whatever is answered. There MAE leads: validation selects by it, it is
defined for every answer, and the constant baseline has one. CCC stands beside it, as studies of valence and arousal report it:
unlike Pearson's r it also falls where answers shrink to the mean, as they do with little to go by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from imer.metrics.compute import METRICS
from imer.store.columns import number_text

LabelRange = Sequence[float]  # the smallest and the largest label
OF_ANY_SCALE = ("mae", "ccc", "corr")
_HEADLINE = {"classification": ("wa", "ua"), "regression": ("acc2_non0", "mae")}
_COMPARED = {"classification": ("ua", "wa", "f1_weighted"), "regression": ("f1_non0", "acc2_non0", "mae", "corr")}
_FARTHEST = 3.5  # from 0, on the scale of sentiment: some raters' means or additions go a little beyond 3


def is_sentiment(label_range: LabelRange | None) -> bool:
    """Tell whether labels of this range are on the scale of sentiment: on both sides of 0, and within ±3.

    So are taken labels of an unknown range (None), and those that are all alike, of which nothing can be told.

    >>> is_sentiment((-2.8, 3)), is_sentiment((-1, 1)), is_sentiment((1, 5)), is_sentiment((-50, 50))
    (True, True, False, False)
    """
    if label_range is None:
        return True
    low, high = label_range
    return low == high or (low < 0 < high and max(-low, high) <= _FARTHEST)


def headline(task: str, label_range: LabelRange | None = None) -> tuple[str, ...]:
    """Return the two metrics that are plotted and shown with intervals, the first of them where there is room for one.

    >>> headline("regression", (1, 5))
    ('mae', 'ccc')
    """
    return _HEADLINE[task] if _is_usual(task, label_range) else OF_ANY_SCALE[:2]


def compared(task: str, label_range: LabelRange | None = None) -> tuple[str, ...]:
    """Return the metrics of the results table; by the first of them the best baseline is found."""
    return _COMPARED[task] if _is_usual(task, label_range) else OF_ANY_SCALE


def telling(task: str, label_range: LabelRange | None = None) -> tuple[str, ...]:
    """Return the metrics that say something of labels of this range, which are those that a report shows."""
    return METRICS[task] if _is_usual(task, label_range) else OF_ANY_SCALE


def in_order(task: str, label_range: LabelRange | None = None) -> tuple[str, ...]:
    """Return all metrics of a task, those that say something first."""
    first = telling(task, label_range)
    return (*first, *(name for name in METRICS[task] if name not in first))


def _is_usual(task: str, label_range: LabelRange | None) -> bool:
    return task != "regression" or is_sentiment(label_range)


def range_of(target_N: np.ndarray) -> list[float] | None:
    """Return the smallest and the largest of labels [N], NaN and infinite ones left out; None where there is none."""
    values = target_N[np.isfinite(target_N)]
    return [float(values.min()), float(values.max())] if len(values) else None


def widest(ranges: Iterable[LabelRange | None]) -> list[float] | None:
    """Return the range of all labels together, of those ranges that are known; None where none is.

    >>> widest([(1, 4), None, (2, 5)])
    [1, 5]
    """
    known = [one for one in ranges if one is not None]
    return [min(low for low, _ in known), max(high for _, high in known)] if known else None


def off_the_sentiment_scale(label: str, label_range: LabelRange | None) -> list[str]:
    """Say where labels are not those that Acc-2 and Acc-7 were made for."""
    if label_range is None or is_sentiment(label_range):
        return []
    low, high = map(number_text, label_range)
    return [
        f"{label} lies in {low} … {high}: Acc-2 and its F1 ask for the side of 0, and Acc-7 cuts at ±3, so that they say "
        "little here; read MAE, the correlation and CCC."
    ]
