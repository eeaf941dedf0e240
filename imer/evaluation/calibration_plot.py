"""The plot of calibration: how often answers of a probability are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imer.evaluation.drawing import GREY, drawn, legend_below, line_look
from imer.evaluation.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 20  # answers in a bin; of fewer the share that is right says little


def calibration_png(evaluation: Evaluation) -> bytes | None:
    """Plot how often answers are right over their probability, a line for each number of observed modalities.

    None for regression, and where no bin holds enough answers.
    """
    found: list[dict[str, Any]] = evaluation.diagnostics.get("calibration", [])
    lines = [(one, [b for b in one["bins"] if b["n"] >= FEWEST]) for one in found]
    if not any(bins for _, bins in lines):
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (5, 3)), linewidth=1.4, label="as often as said")
        for index, (one, bins) in enumerate(lines):
            label = f"{one['observed']} observed (error {one['ece']:.3f})"
            axes.plot(
                [b["confidence"] for b in bins],
                [b["accuracy"] for b in bins],
                **line_look(index),
                linewidth=1.8,
                label=label,
            )
        axes.set_xlabel("probability of the answer (mean of its tenth)")
        axes.set_ylabel("share of answers that are right")
        axes.set_title("Calibration, by the number of observed modalities", loc="left", fontsize=10)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        legend_below(figure, axes)

    return drawn(draw, 5.6, 5.6)
