"""Plots of an evaluation as PNG: metric over missing rate, patterns, coordinator weights, confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imer.evaluation.balance_plots import balance_png, learning_png
from imer.evaluation.calibration_plot import calibration_png
from imer.evaluation.drawing import COLOURS, GREY, INTERVAL, RATE_AXIS, axis_title, drawn, legend_below, line_look
from imer.evaluation.results import ConditionSummary, Evaluation, MetricSummary
from imer.metrics.definitions import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 40  # of a confusion matrix with names and numbers; one of more is colours alone
LONGEST_NAME = 24  # of a class: longer ones would run into the next matrix


def _band(axes: Axes, rates: Sequence[float], points: Sequence[MetricSummary], index: int, label: str) -> None:
    means = [np.nan if p.mean is None else p.mean for p in points]
    low = [np.nan if p.ci_low is None else p.ci_low for p in points]
    high = [np.nan if p.ci_high is None else p.ci_high for p in points]
    look = line_look(index)
    axes.fill_between(rates, low, high, color=look["color"], alpha=0.18, linewidth=0)
    axes.plot(rates, means, **look, linewidth=1.8, label=label)


def _has_intervals(conditions: Sequence[ConditionSummary], metric: str) -> bool:
    """Say whether there is anything to draw around the means: one dialogue has no interval."""
    return any(one.metrics[metric].ci_low is not None for one in conditions)


def curves_png(evaluations: Sequence[tuple[str, Evaluation]], band: str = INTERVAL) -> bytes | None:
    """Plot the headline metrics over the realised missing rate, one line per named evaluation; None without a curve.

    `band` says what the shaded band is; the grey dashed line is the constant baseline of the first evaluation. Where several
    are compared and it lies far from all of them, a word at the edge takes its place, so that their differences show.
    """
    shown = [(name, one) for name, one in evaluations if len(one.rate_curve()) > 1]
    if not shown:
        return None
    headline = shown[0][1].headline

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(headline), squeeze=False)[0]
        for axes, metric in zip(panels, headline, strict=True):
            for index, (name, one) in enumerate(shown):
                curve = one.rate_curve()
                _band(axes, [c.realised_rate for c in curve], [c.metrics[metric] for c in curve], index, name)
            if any(_has_intervals(one.rate_curve(), metric) for _, one in shown):
                axes.fill_between([], [], [], color=GREY, alpha=0.25, linewidth=0, label=band)
            _baseline_line(axes, shown[0][1], metric, in_sight=len(shown) == 1)
            axes.set_xlabel(RATE_AXIS)
            axes.set_ylabel(axis_title(metric))
            axes.set_title(TITLES[metric], loc="left", fontweight="bold")
            axes.set_xlim(left=-0.01)
        legend_below(figure, panels[0])

    return drawn(draw, 11.0, 4.6)


def _baseline_line(axes: Axes, evaluation: Evaluation, metric: str, *, in_sight: bool = True) -> None:
    """Draw the constant baseline; one that is not to be brought `in_sight` never widens the axis."""
    metrics = evaluation.baseline["metrics"]
    if metrics is None or metrics[metric] is None:
        return
    value, (low, high) = metrics[metric], axes.get_ylim()
    label = f"baseline: always the {_baseline_word(evaluation)}"
    if in_sight or low <= value <= high:
        axes.axhline(value, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4, label=label)
        return
    axes.set_ylim(low, high)
    at, word = (0.02, "↓") if value < low else (0.98, "↑")
    axes.text(
        0.01,
        at,
        f"{word} baseline {value:.3f}",
        color=GREY,
        transform=axes.transAxes,
        va="bottom" if at < 0.5 else "top",
    )


def _baseline_word(evaluation: Evaluation) -> str:
    return "majority class of training" if evaluation.task == "classification" else "mean training label"


def patterns_png(evaluation: Evaluation, band: str = INTERVAL) -> bytes | None:
    """Plot the headline metrics of every fixed pattern as bars with 95 % intervals; None without patterns."""
    patterns = evaluation.patterns()
    if not patterns:
        return None

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(evaluation.headline), squeeze=False)[0]
        for axes, metric in zip(panels, evaluation.headline, strict=True):
            _pattern_bars(axes, patterns, metric)
            if _has_intervals(patterns, metric):
                axes.errorbar([], [], yerr=[], color="#222222", capsize=3, linestyle="", label=band)
            _baseline_line(axes, evaluation, metric)
            axes.set_ylabel(axis_title(metric))
            axes.set_xlabel("observed modalities: " + ", ".join(evaluation.modalities))
            axes.set_title(TITLES[metric], loc="left", fontweight="bold")
            axes.grid(visible=False, axis="x")
        if panels[0].get_legend_handles_labels()[0]:
            legend_below(figure, panels[0])

    return drawn(draw, max(9.0, 1.0 * len(patterns) + 3), 4.6)


def _pattern_bars(axes: Axes, patterns: Sequence[ConditionSummary], metric: str) -> None:
    names = [str(one.pattern) for one in patterns]
    points = [one.metrics[metric] for one in patterns]
    means = np.array([np.nan if p.mean is None else p.mean for p in points])
    low = np.array([m if p.ci_low is None else p.ci_low for p, m in zip(points, means, strict=True)])
    high = np.array([m if p.ci_high is None else p.ci_high for p, m in zip(points, means, strict=True)])
    # A percentile interval need not contain the estimate; an error bar cannot be negative.
    errors = np.maximum([means - low, high - means], 0.0)
    axes.bar(names, means, color=COLOURS[0], width=0.66, yerr=errors, ecolor="#222222", capsize=3)
    for position, (mean, top) in enumerate(zip(means, np.maximum(high, means), strict=True)):
        if np.isfinite(mean):
            axes.annotate(f"{mean:.2f}", (position, top), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    axes.margins(y=0.12)
    if max(map(len, names)) > 5:
        axes.tick_params(axis="x", labelrotation=30)


def weights_png(evaluation: Evaluation) -> bytes | None:
    """Plot the mean coordinator weight of each modality over the missing rate; None without weights or a curve."""
    curve = [one for one in evaluation.rate_curve() if any(v is not None for v in one.weights.values())]
    if len(curve) < 2:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        rates = [one.realised_rate for one in curve]
        for index, modality in enumerate(evaluation.modalities):
            weights = [np.nan if (w := one.weights.get(modality)) is None else w for one in curve]
            axes.plot(rates, weights, **line_look(index), linewidth=1.8, label=modality)
        axes.axhline(1.0, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4, label="equal share")
        axes.set_xlabel(RATE_AXIS)
        axes.set_ylabel("mean coordinator weight (1 = equal share)")
        axes.set_title("Coordinator weights, utterances with two or more observed modalities", loc="left", fontsize=10)
        axes.set_xlim(left=-0.01)
        legend_below(figure, axes)

    return drawn(draw, 6.6, 4.6)


def confusion_png(evaluation: Evaluation) -> bytes | None:
    """Plot row-normalised confusion matrices at the lowest and the highest missing rate; None for regression."""
    curve, shown = evaluation.rate_curve(), [one for one in evaluation.ends_of_curve() if one.confusion]
    if not shown:
        return None
    n_classes = len(evaluation.class_names)
    readable = n_classes <= MOST_CLASSES
    names = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in evaluation.class_names]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, one in zip(panels, shown, strict=True):
            counts = np.array(one.confusion)
            share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
            axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for row in range(n_classes if readable else 0):
                for column in range(n_classes):
                    value = share[row, column]
                    colour = "white" if value > 0.55 else "black"
                    axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=8)
            if readable:
                axes.set_xticks(range(n_classes), names, rotation=45, ha="right")
                axes.set_yticks(range(n_classes), names)
            axes.grid(visible=False)
            axes.set_xlabel("prediction")
            axes.set_ylabel("label")
            what = f"missing rate {one.realised_rate:.2f}" if curve else one.name
            axes.set_title(f"{what}: % of each label", loc="left", fontsize=10)

    side = max(3.6, 0.55 * min(n_classes, MOST_CLASSES) + 1.8)
    return drawn(draw, side * len(shown), side + 0.4)


def all_plots(evaluation: Evaluation) -> dict[str, bytes]:
    """Return every plot that the evaluation has data for: file name → PNG."""
    made = {
        "curve.png": curves_png([(str(evaluation.run["name"]), evaluation)]),
        "patterns.png": patterns_png(evaluation),
        "weights.png": weights_png(evaluation),
        "confusion.png": confusion_png(evaluation),
        "calibration.png": calibration_png(evaluation),
        "balance.png": balance_png(evaluation),
        "learning.png": learning_png(evaluation),
    }
    return {name: png for name, png in made.items() if png is not None}
