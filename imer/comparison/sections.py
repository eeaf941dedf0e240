"""The tables of a report: metrics by condition, paired differences, folds, balance of the modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imer.comparison.differences import paired, read_tallies, tally_differences
from imer.comparison.document import Block, Grid, Heading, Paragraph
from imer.comparison.methods import Method
from imer.comparison.over_runs import condition_key
from imer.core.errors import listed
from imer.evaluation.results import ConditionSummary, Evaluation, MetricSummary
from imer.evaluation.tables import UNDEFINED, Table, interval, mean_and_sd, number
from imer.metrics.compute import LOWER_IS_BETTER
from imer.metrics.confusion import class_scores
from imer.metrics.definitions import TITLES

_OF_A_CLASS = {"recall": "recall", "precision": "precision", "f1": "F1"}
OVER = "95 % interval over dialogues, and over seeds where there are several"
UNPAIRED = (
    "The runs were tested on different utterances (their splits depend on the seed), so there is nothing to pair."
)


def rate_conditions(merged: Sequence[tuple[str, Evaluation]]) -> list[ConditionSummary]:
    """Return the conditions that are no fixed pattern, of all evaluations, by protocol and rate."""
    seen = {condition_key(one): one for _, evaluation in merged for one in evaluation.summary if one.pattern is None}
    in_curve = {condition_key(one) for _, evaluation in merged for one in evaluation.rate_curve()}
    return sorted(seen.values(), key=lambda one: (condition_key(one) not in in_curve, one.protocol, one.realised_rate))


def pattern_conditions(merged: Sequence[tuple[str, Evaluation]]) -> list[ConditionSummary]:
    """Return the fixed patterns of all evaluations."""
    seen = {condition_key(one): one for _, evaluation in merged for one in evaluation.patterns()}
    return list(seen.values())


def condition_title(one: ConditionSummary) -> str:
    """Return the title of a condition's column: the pattern, or nominal / realised rate."""
    if one.pattern is not None:
        return one.pattern
    return f"{one.name} / {one.realised_rate:.3f}"


def metric_table(
    merged: Sequence[tuple[str, Evaluation]],
    methods: Sequence[Method],
    conditions: Sequence[ConditionSummary],
    name: str,
) -> Table:
    """One row per method, one column per condition, the area under the curve last, and the baseline below."""
    curve = any(evaluation.aulc_mr for _, evaluation in merged) and conditions[0].pattern is None
    columns = ["method", *map(condition_title, conditions), *(["AULC-MR"] if curve else [])]
    rows = []
    for (title, evaluation), method in zip(merged, methods, strict=True):
        by_key = {condition_key(one): one for one in evaluation.summary}
        cells = [title if len(method.runs) == 1 else f"{title}, {len(method.runs)} runs"]
        for one in conditions:
            found = by_key.get(condition_key(one))
            cells.append(UNDEFINED if found is None else cell(found.metrics[name], several=len(method.runs) > 1))
        rows.append(cells + ([number(evaluation.aulc_mr.get(name))] if curve else []))
    baseline = merged[0][1].baseline["metrics"]
    if baseline is not None:
        value = number(baseline[name])
        rows.append(["baseline", *([value] * (len(columns) - 1))])
    return columns, rows


def cell(metric: MetricSummary, *, several: bool) -> str:
    """Write a metric: mean ± sd over several runs, or mean and interval of a single one."""
    if metric.mean is None:
        return UNDEFINED
    if several:
        return mean_and_sd(metric.mean, metric.sd)
    return (
        number(metric.mean) if metric.ci_low is None else f"{metric.mean:.3f} {interval(metric.ci_low, metric.ci_high)}"
    )


def difference_blocks(methods: Sequence[Method], reference: str | None) -> list[Block]:
    """Paired differences of every method to the reference (the first, where that is not named or not among them)."""
    if len(methods) < 2:
        return []
    names = {method.name: method for method in methods}
    base = names.get(reference or "", methods[0])
    blocks: list[Block] = [
        Heading("Paired differences", 3),
        Paragraph(
            f"Each method minus {base.name}, on the same utterances, with the {OVER}. "
            "An interval that excludes 0 is marked *. For MAE a negative difference is better."
        ),
    ]
    tallies = read_tallies(base)
    found = {}
    otherwise_masked = []
    for one in methods:
        if one is not base and paired(own := read_tallies(one), tallies):
            found[one.name] = tally_differences(own, tallies).by_condition
            if any(set(own.by_condition[key]) != set(tallies.by_condition[key]) for key in found[one.name]):
                otherwise_masked.append(one.name)
    if not found:
        return [Heading("Paired differences", 3), Paragraph(UNPAIRED)]
    if otherwise_masked:
        blocks.append(other_masks(otherwise_masked, base.name))
    for metric in base.evaluation.headline:
        keys = [condition_key(one) for one in base.evaluation.summary]
        keys = [key for key in keys if any(key in differences for differences in found.values())]
        titles = {condition_key(one): condition_title(one) for one in base.evaluation.summary}
        rows = []
        for name, differences in found.items():
            cells = [name]
            for key in keys:
                value, bounds = differences[key][metric] if key in differences else (None, None)
                cells.append(difference_cell(value, bounds))
            rows.append(cells)
        blocks.append(Grid((["method", *(titles[key] for key in keys)], rows), f"{TITLES[metric]}: difference."))
    return blocks


def other_masks(names: Sequence[str], base: str) -> Paragraph:
    """Say whose differences are not those of the means."""
    return Paragraph(
        f"{listed(names, 10)} did not meet the same masks as {base}: each mean is over the method's own masks, each "
        "difference over those that both met."
    )


def difference_cell(value: float | None, bounds: tuple[float, float] | None) -> str:
    """Write a difference with its interval, marked * where that excludes 0."""
    if value is None:
        return UNDEFINED
    if bounds is None:
        return f"{value:+.3f}"
    mark = " *" if bounds[0] > 0 or bounds[1] < 0 else ""
    return f"{value:+.3f} [{bounds[0]:+.3f}, {bounds[1]:+.3f}]{mark}"


def fold_blocks(methods: Sequence[Method]) -> list[Block]:
    """Pooled against averaged over folds, for the first run of every method."""
    rows = []
    for method in methods:
        evaluation = method.evaluation
        for one in evaluation.summary:
            if not one.folds:
                continue
            cells = [method.name, condition_title(one)]
            for metric in evaluation.headline:
                values = [fold["metrics"][metric] for fold in one.folds]
                defined = [value for value in values if value is not None]
                mean = sum(defined) / len(defined) if len(defined) == len(values) else None
                worst = None
                if mean is not None:
                    worst = max(defined) if metric in LOWER_IS_BETTER else min(defined)
                cells += [number(one.metrics[metric].mean), number(mean), number(worst)]
            rows.append(cells)
    if not rows:
        return []
    columns = ["method", "condition"]
    for metric in methods[0].evaluation.headline:
        columns += [f"{TITLES[metric]} pooled", "mean of folds", "worst fold"]
    caption = (
        "Pooled: all folds' predictions as one set. Mean of folds: each fold counts the same. First run of each method."
    )
    return [Heading("Pooled and per fold", 3), Grid((columns, rows), caption)]


def balance_blocks(methods: Sequence[Method]) -> list[Block]:
    """Contribution of each modality, where the patterns were evaluated."""
    rows, overall = [], []
    for method in methods:
        balance: dict[str, Any] = method.evaluation.diagnostics.get("balance", {})
        learning: dict[str, Any] = method.evaluation.diagnostics.get("learning", {})
        by_stage: dict[str, dict[str, float]] = learning.get("gradient_share", {})
        stage = list(by_stage)[-1] if by_stage else ""
        shares = by_stage.get(stage, {})
        for metric, found in balance.items():
            for modality in method.evaluation.modalities:
                alone, drop = found["alone"].get(modality), found["drop_one"].get(modality)
                branch = method.evaluation.diagnostics["branches"].get(modality, {}).get(metric)
                gain, share = found.get("contribution", {}).get(modality), shares.get(modality)
                figures = [number(value) for value in (alone, branch, drop, gain, share)]
                rows.append([method.name, TITLES[metric], modality, *figures])
            worst = found["worst_pattern"]
            least = UNDEFINED if worst is None else f"{worst['pattern']} {worst['value']:.3f}"
            even = number(found.get("equity")), number(learning.get("learning_balance", {}).get(stage))
            overall.append([method.name, TITLES[metric], number(found["gap"]), least, *even])
    if not rows:
        return []
    columns = ["method", "metric", "modality", "alone", "own head, least masked", "loss without it", "mean gain"]
    caption = (
        "Alone: only this modality is observed. Own head: the modality's branch beside the others. Loss without it: how much "
        "worse the full set gets. Mean gain: over all ways of adding the modalities one by one, from the constant baseline on "
        "(Shapley value). Gradient: share of the gradient's norm in the last stage of training. First run of each method."
    )
    note = (
        "Gap: best minus worst modality alone. Evenness of gains and of gradients: 1 where all modalities have the same, 0 "
        "where one has everything."
    )
    more = ["method", "metric", "gap", "worst pattern", "evenness of gains", "evenness of gradients"]
    return [
        Heading("Balance of the modalities", 3),
        Grid(([*columns, "gradient"], rows), caption),
        Grid((more, overall), note),
    ]


def class_blocks(merged: Sequence[tuple[str, Evaluation]]) -> list[Block]:
    """Recall, precision and F1 of each class, at the lowest and the highest missing rate (classes only)."""
    first = merged[0][1]
    shown = [one for one in first.ends_of_curve() if one.confusion]
    if not shown:
        return []
    rows = []
    for title, evaluation in merged:
        by_key = {condition_key(one): np.array(one.confusion) for one in evaluation.summary}
        counts = [by_key.get(condition_key(one)) for one in shown]
        scores = [None if one is None else class_scores(one) for one in counts]
        labels_C = next((one.sum(-1) for one in counts if one is not None), np.zeros(len(first.class_names)))
        for k, name in enumerate(first.class_names):
            each = [UNDEFINED if one is None else number(one[key][k]) for one in scores for key in _OF_A_CLASS]
            rows.append([title, name, f"{labels_C[k]:.0f}", *each])
    if not shown or not rows:
        return []
    columns = [
        "method",
        "class",
        "labels",
        *(f"{_OF_A_CLASS[k]}, {condition_title(c)}" for c in shown for k in _OF_A_CLASS),
    ]
    caption = "Of the counts under all masks together (and of all runs), which confusion matrices show."
    return [Heading("Classes", 3), Grid((columns, rows), caption)]


def calibration_blocks(methods: Sequence[Method]) -> list[Block]:
    """How far probabilities can be taken at their word, by the number of observed modalities (classes only)."""
    rows = [
        [
            method.name,
            str(one["observed"]),
            *(number(one[key]) for key in ("confidence", "accuracy", "ece")),
        ]
        for method in methods
        for one in method.evaluation.diagnostics.get("calibration", [])
    ]
    if not rows:
        return []
    columns = [
        "method",
        "observed modalities",
        "mean probability of the answer",
        "share that is right",
        "calibration error",
    ]
    caption = "Over all masks that were evaluated, labelled utterances only. First run of each method."
    return [Heading("Calibration", 3), Grid((columns, rows), caption)]
