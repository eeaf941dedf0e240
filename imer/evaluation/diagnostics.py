"""Is every modality used? Balance figures from the predictions of an evaluation (ComP fig. 1 and 5 ask the same)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from imer.evaluation.conditions import pattern_name
from imer.evaluation.results import ConditionSummary
from imer.metrics.compute import Metrics, labelled, metrics_of, sign_of
from imer.training.history import Log, curves, mean_shares


def branch_metrics(
    branches: Mapping[str, np.ndarray], observed_PM: np.ndarray, modalities: Sequence[str], target_P: np.ndarray,
    n_classes: int,
) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """Return the metrics of each modality's own head, over the utterances in which the modality is observed."""
    found = {}
    for column, modality in enumerate(modalities):
        keep_P = observed_PM[:, column] & labelled(target_P)
        if modality not in branches or not keep_P.any():
            continue
        found[modality] = metrics_of(target_P[keep_P], branches[modality][keep_P], n_classes)
    return found


def pattern_balance(
    summary: Sequence[ConditionSummary],
    modalities: Sequence[str],
    headline: Sequence[str],
    baseline: Metrics | None = None,
) -> dict[str, Any]:
    """Return, from the fixed patterns that were evaluated, for each headline metric:

    - `alone`: the score with one modality only, and `gap`, the best of them minus the worst;
    - `drop_one`: how much worse the full set gets without a modality (its contribution; positive is useful);
    - `worst_pattern`: the pattern with the worst score;
    - `contribution`: the mean gain by a modality over all ways of adding the modalities one by one (its Shapley value,
      from the constant baseline's score on), and `equity`: how evenly these gains are spread (1: all alike, 0: one
      modality does everything; losses count as no gain).

    Empty without patterns; a figure is left out where a pattern it needs was not evaluated.
    """
    scores = {one.pattern: one.metrics for one in summary if one.pattern is not None}
    if not scores:
        return {}
    everything = range(len(modalities))
    names = [pattern_name([c], modalities) for c in everything]
    full = pattern_name(list(everything), modalities)
    without = [pattern_name([c for c in everything if c != left], modalities) for left in everything]
    found: dict[str, Any] = {}
    for metric in headline:
        sign = sign_of(metric)
        value = {pattern: metrics[metric].mean for pattern, metrics in scores.items()}
        alone = {m: value.get(name) for m, name in zip(modalities, names, strict=True) if name in value}
        defined = [v for v in alone.values() if v is not None]
        full_value = value.get(full)
        drop_one = {}
        for modality, rest in zip(modalities, without, strict=True):
            rest_value = value.get(rest)
            if full_value is not None and rest_value is not None:
                drop_one[modality] = sign * (full_value - rest_value)
        floor = None if baseline is None else baseline.get(metric)
        if metric == "ccc" and baseline is not None:
            floor = 0.0  # by its formula; as a score it is left undefined
        contribution = mean_gains(value, modalities, floor, sign)
        ranked = [(sign * v, pattern) for pattern, v in value.items() if v is not None]
        found[metric] = {
            "alone": alone,
            "gap": max(defined) - min(defined) if len(defined) == len(modalities) else None,
            "drop_one": drop_one,
            "contribution": contribution,
            "equity": evenness([max(gain, 0.0) for gain in contribution.values()]),
            "worst_pattern": {"pattern": min(ranked)[1], "value": value[min(ranked)[1]]} if ranked else None,
        }
    return found


def mean_gains(
    score: Mapping[str, float | None], modalities: Sequence[str], floor: float | None, sign: float
) -> dict[str, float]:
    """Return each modality's Shapley value from the scores of all patterns; empty where one is not known."""
    n = len(modalities)
    known: dict[frozenset[int], float] = {}
    for size in range(n + 1):
        for columns in combinations(range(n), size):
            value = score.get(pattern_name(list(columns), modalities)) if columns else floor
            if value is None:
                return {}
            known[frozenset(columns)] = sign * value
    gains = {}
    for column, modality in enumerate(modalities):
        gain = 0.0
        for members, value in known.items():
            if column not in members:
                ways = math.factorial(len(members)) * math.factorial(n - len(members) - 1)
                gain += ways * (known[members | {column}] - value)
        gains[modality] = gain / math.factorial(n)
    return gains


def evenness(values: Sequence[float]) -> float | None:
    """Return how evenly a sum is spread: entropy of the shares over its largest value. 1: all alike, 0: one has all.

    >>> evenness([1.0, 1.0, 1.0])
    1.0
    """
    total = sum(values)
    if len(values) < 2 or total <= 0:
        return None
    shares = [value / total for value in values if value > 0]
    return abs(sum(share * math.log(share) for share in shares)) / math.log(len(values))


def learning_balance(log: Log) -> dict[str, Any]:
    """Return how the training treated the modalities, from its log:

    - `gradient_share`: stage → modality → mean share of the gradient's norm;
    - `learning_balance`: stage → how evenly it was spread (1: all alike, 0: one modality had it all);
    - `curves`: per epoch the shares, and the validation score of each modality's own head.

    Empty for a model that is not trained by descent.
    """
    shares = mean_shares(log)
    if not shares:
        return {}
    balance = {stage: evenness(list(by_modality.values())) for stage, by_modality in shares.items()}
    return {"gradient_share": shares, "learning_balance": balance, "curves": curves(log)}
