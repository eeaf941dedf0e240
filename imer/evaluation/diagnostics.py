"""Is every modality used? Balance figures from the predictions of an evaluation (ComP fig. 1 and 5 ask the same)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imer.evaluation.conditions import pattern_name
from imer.evaluation.results import HEADLINE, ConditionSummary
from imer.metrics.compute import LOWER_IS_BETTER, labelled
from imer.metrics.tally import tally


def mean_weights(
    weights_SPM: np.ndarray, observed_SPM: np.ndarray, modalities: Sequence[str]
) -> dict[str, float | None]:
    """Return the mean coordinator weight of each modality where it is observed beside at least one other.

    A lone modality always has weight 1 and would say nothing. None where a modality is never observed beside another;
    empty when the model has no coordinator (it then weighs every observed modality by exactly 1).
    """
    if np.array_equal(weights_SPM, observed_SPM):
        return {}
    beside_SPM = observed_SPM & (observed_SPM.sum(axis=-1, keepdims=True) > 1)
    found: dict[str, float | None] = {}
    for column, modality in enumerate(modalities):
        values = weights_SPM[..., column][beside_SPM[..., column]]
        found[modality] = float(values.mean(dtype=np.float64)) if values.size else None
    return found


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
        output_PC = branches[modality][keep_P]
        predicted_P = output_PC.argmax(axis=1) if n_classes else output_PC[:, 0]
        one_group_P = np.zeros(int(keep_P.sum()), np.int64)
        metrics = tally(target_P[keep_P], predicted_P, one_group_P, 1, n_classes).metrics()
        found[modality] = {name: None if np.isnan(value) else float(value) for name, value in metrics.items()}
    return found


def pattern_balance(summary: Sequence[ConditionSummary], modalities: Sequence[str], task: str) -> dict[str, Any]:
    """Return, from the fixed patterns that were evaluated, for each headline metric:

    - `alone`: the score with one modality only, and `gap`, the best of them minus the worst;
    - `drop_one`: how much worse the full set gets without a modality (its contribution; positive is useful);
    - `worst_pattern`: the pattern with the worst score.

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
    for metric in HEADLINE[task]:
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        value = {pattern: metrics[metric].mean for pattern, metrics in scores.items()}
        alone = {m: value.get(name) for m, name in zip(modalities, names, strict=True) if name in value}
        defined = [v for v in alone.values() if v is not None]
        full_value = value.get(full)
        drop_one = {}
        for modality, rest in zip(modalities, without, strict=True):
            rest_value = value.get(rest)
            if full_value is not None and rest_value is not None:
                drop_one[modality] = sign * (full_value - rest_value)
        ranked = [(sign * v, pattern) for pattern, v in value.items() if v is not None]
        found[metric] = {
            "alone": alone,
            "gap": max(defined) - min(defined) if len(defined) == len(modalities) else None,
            "drop_one": drop_one,
            "worst_pattern": {"pattern": min(ranked)[1], "value": value[min(ranked)[1]]} if ranked else None,
        }
    return found
