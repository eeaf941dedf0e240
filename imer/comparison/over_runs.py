"""One evaluation for a method: mean ± sd over its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from imer.comparison.methods import Method
from imer.evaluation.results import ConditionSummary, Evaluation, MetricSummary, area_under_curve


class ConditionKey(NamedTuple):
    """What identifies a condition across runs."""

    protocol: str
    missing_rate: float | None
    pattern: str | None
    detail: str


def condition_key(one: ConditionSummary) -> ConditionKey:
    """Return what tells a condition from the others of its evaluation."""
    return ConditionKey(one.protocol, one.missing_rate, one.pattern, one.detail)


def over_runs(method: Method) -> Evaluation:
    """Return one evaluation for a method: means over its runs, with ± 1 sd over runs in place of the intervals.

    Only conditions that every run has are kept. A single run is returned as it is.
    """
    first = method.evaluation
    if len(method.runs) == 1:
        return first
    by_run = [{condition_key(one): one for one in run.evaluation.summary} for run in method.runs]
    summary = []
    for one in first.summary:
        same = [found[condition_key(one)] for found in by_run if condition_key(one) in found]
        if len(same) == len(method.runs):
            summary.append(_mean_condition(same))
    return replace(first, summary=summary, aulc_mr=area_under_curve(summary, first.task))


def left_out(method: Method) -> list[str]:
    """Return the conditions that some runs of a method have and others have not, which its means therefore leave out."""
    by_run = [{condition_key(one): one.name for one in run.evaluation.summary} for run in method.runs]
    everywhere = set.intersection(*(set(found) for found in by_run))
    return list(dict.fromkeys(name for found in by_run for key, name in found.items() if key not in everywhere))


def _mean_condition(same: Sequence[ConditionSummary]) -> ConditionSummary:
    metrics = {}
    for name in same[0].metrics:
        values = [one.metrics[name].mean for one in same]
        defined = [value for value in values if value is not None]
        if len(defined) < len(values):
            metrics[name] = MetricSummary(None, None, None, None)
            continue
        mean, sd = float(np.mean(defined)), float(np.std(defined, ddof=1))
        metrics[name] = MetricSummary(mean, sd, mean - sd, mean + sd)
    weights = {}
    for modality in same[0].weights:
        shares = [share for one in same if (share := one.weights.get(modality)) is not None]
        weights[modality] = float(np.mean(shares)) if shares else None
    confusion = np.mean([one.confusion for one in same], axis=0).tolist() if same[0].confusion else []
    return replace(same[0], metrics=metrics, weights=weights, confusion=confusion, folds=[])
