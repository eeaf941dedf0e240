"""Which settings of a grid are reported: those that validation prefers, in the mean over seeds (and rates)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imer.experiments.plan import Cell
from imer.metrics.compute import sign_of


@dataclass(frozen=True)
class Variant:
    """One combination of the grid's settings in a family of cells, and what validation says of it.

    value   mean over the cells of the validation metric of their selected epochs; None where one is undefined
    chosen  whether it is the best of those that have the most finished cells
    """

    family: str
    settings: tuple[str, ...]
    cells: tuple[str, ...]
    metric: str
    value: float | None
    chosen: bool = False


def choose(cells: Sequence[Cell], selected: Mapping[str, Mapping[str, Any]]) -> list[Variant]:
    """Return every variant that has a finished cell, the chosen one of each family marked.

    Parameters
    ----------
    selected
        Name of a finished cell → what its training selected: `metric` and `value` among others.
    """
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for cell in cells:
        if cell.name in selected:
            grouped.setdefault((cell.family, cell.variant), []).append(cell.name)
    variants = [_measured(family, settings, names, selected) for (family, settings), names in grouped.items()]
    best = {family: _best([one for one in variants if one.family == family]) for family, _ in grouped}
    return [
        Variant(one.family, one.settings, one.cells, one.metric, one.value, one is best[one.family]) for one in variants
    ]


def _measured(
    family: str, settings: tuple[str, ...], names: list[str], selected: Mapping[str, Mapping[str, Any]]
) -> Variant:
    values = [selected[name]["value"] for name in names]
    mean = None if None in values else float(np.mean(values))
    return Variant(family, settings, tuple(names), str(selected[names[0]]["metric"]), mean)


def _best(variants: Sequence[Variant]) -> Variant:
    most = max(len(one.cells) for one in variants)  # one whose cells failed in part is not judged by the others
    whole = [one for one in variants if len(one.cells) == most]
    sign = sign_of(whole[0].metric)
    return max(whole, key=lambda one: -np.inf if one.value is None else sign * one.value)
