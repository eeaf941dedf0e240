"""Plots of balance: what each modality can do alone and adds to the others, who is weighed how, who was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from imer.evaluation.drawing import COLOURS, GREY, axis_title, drawn, legend_below, line_look
from imer.evaluation.results import Evaluation
from imer.metrics.compute import LOWER_IS_BETTER
from imer.metrics.definitions import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def balance_png(evaluation: Evaluation) -> bytes | None:
    """Plot each modality alone beside its own head, its contributions, and its weight per pattern; None without patterns."""
    metric = evaluation.headline[0]
    balance = evaluation.diagnostics.get("balance", {}).get(metric)
    if not balance or not balance["alone"]:
        return None
    branches = evaluation.diagnostics.get("branches", {})
    modalities = evaluation.modalities
    own = {m: branches.get(m, {}).get(metric) for m in modalities}
    weighed = [one for one in evaluation.patterns() if any(w is not None for w in one.weights.values())]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 3 if weighed else 2, squeeze=False)[0]
        _bars(panels[0], modalities, {"only this modality": balance["alone"], "its own head beside the others": own})
        panels[0].set_ylabel(axis_title(metric))
        panels[0].set_title("What a modality can do", loc="left", fontsize=10)
        gains = {"loss without it": balance["drop_one"], "mean gain (Shapley)": balance.get("contribution", {})}
        _bars(panels[1], modalities, gains)
        panels[1].axhline(0.0, color=GREY, linewidth=1.0)
        saved = " saved" if metric in LOWER_IS_BETTER else ""  # a gain is an error that is not made
        panels[1].set_ylabel(f"{TITLES[metric]}{saved} (higher is better)")
        panels[1].set_title(f"What it adds{_equity(balance.get('equity'))}", loc="left", fontsize=10)
        if weighed:
            names = [str(one.pattern) for one in weighed]
            _bars(panels[2], names, {m: {str(o.pattern): o.weights.get(m) for o in weighed} for m in modalities})
            panels[2].axhline(1.0, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4)
            panels[2].set_ylabel("mean coordinator weight (1 = equal share)")
            panels[2].set_title("Weights by observed modalities", loc="left", fontsize=10)
        for axes in panels:
            axes.grid(visible=False, axis="x")
            if axes.get_legend_handles_labels()[1]:
                axes.legend(fontsize=8)
            axes.margins(y=0.25)

    return drawn(draw, 13.5 if weighed else 9.0, 4.2)


def _equity(value: float | None) -> str:
    return "" if value is None else f" (evenness {value:.2f})"


def _bars(axes: Axes, groups: Sequence[str], series: Mapping[str, Mapping[str, float | None]]) -> None:
    """Draw one cluster of bars per group, one bar per series of which any value is known."""
    series = {name: values for name, values in series.items() if any(v is not None for v in values.values())}
    width = 0.8 / max(len(series), 1)
    for number, (label, values) in enumerate(series.items()):
        heights = [np.nan if (value := values.get(group)) is None else value for group in groups]
        places = np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width
        axes.bar(places, heights, width, color=COLOURS[number % len(COLOURS)], label=label)
    axes.set_xticks(range(len(groups)), groups)


def learning_png(evaluation: Evaluation) -> bytes | None:
    """Plot, over the epochs of all stages, each modality's own head on validation and its share of the gradient."""
    epochs = evaluation.diagnostics.get("learning", {}).get("curves", [])
    if len(epochs) < 2:
        return None
    stages = [one["stage"] for one in epochs]
    turns = [i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    metric = next((one["metric"] for one in epochs if one["metric"]), "")

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2)
        for axes, key in zip(panels, ("branches", "gradient_share"), strict=True):
            for index, modality in enumerate(evaluation.modalities):
                values = [np.nan if (v := one[key].get(modality)) is None else v for one in epochs]
                axes.plot(
                    range(1, len(epochs) + 1), values, **line_look(index), linewidth=1.6, label=modality,
                    markevery=max(1, len(epochs) // 10),
                )  # fmt: skip
            for turn in turns:
                axes.axvline(turn + 0.5, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
            axes.set_xlabel("epoch" + (f" ({' | '.join(dict.fromkeys(stages))})" if turns else ""))
        if metric:
            panels[0].set_ylabel(axis_title(metric))
        panels[0].set_title("Each modality's own head on validation", loc="left", fontsize=10)
        panels[1].axhline(1 / len(evaluation.modalities), color=GREY, linewidth=1.0)
        panels[1].set_ylabel("share of the gradient's norm")
        panels[1].set_title("Who is being trained", loc="left", fontsize=10)
        legend_below(figure, panels[0])

    return drawn(draw, 10.0, 4.2)
