"""The result of a sweep as rows: methods × conditions, mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imer.comparison.evaluated_run import EvaluatedRun
from imer.comparison.matched import join_matched
from imer.comparison.methods import group_methods
from imer.comparison.over_runs import over_runs
from imer.evaluation.tables import UNDEFINED, Table, mean_and_sd, number
from imer.experiments.choice import Variant
from imer.metrics.leading import LabelRange, headline, in_order


def summary_of(runs: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """Return one entry for every method and condition, as plain data; `sd` is None where there is one seed."""
    entries = []
    for method in group_methods(join_matched(runs)):
        merged, n_seeds = over_runs(method), len(method.runs)
        for one in merged.summary:
            entries.append(
                {
                    "method": method.name,
                    "trained": merged.run["settings"]["train.protocol"],
                    "protocol": one.protocol,
                    "missing_rate": one.missing_rate,
                    "realised_rate": one.realised_rate,
                    "pattern": one.pattern,
                    "seeds": n_seeds,
                    "n": one.n,
                    "metrics": {
                        name: {"mean": found.mean, "sd": found.sd if n_seeds > 1 else None}
                        for name, found in one.metrics.items()
                    },
                }
            )
    return entries


def all_rows(summary: Sequence[dict[str, Any]], task: str, label_range: LabelRange | None = None) -> Table:
    """Return every entry with every metric, for TSV."""
    names = in_order(task, label_range)
    facts = ["method", "trained", "protocol", "missing_rate", "realised_rate", "pattern", "seeds", "n"]
    columns = [*facts, *(title for name in names for title in (name, f"{name} sd"))]
    rows = []
    for one in summary:
        values = [v for name in names for v in (one["metrics"][name]["mean"], one["metrics"][name]["sd"])]
        rows.append([*(_fact(one[key]) for key in facts), *(number(value, 4) for value in values)])
    return columns, rows


def headline_rows(summary: Sequence[dict[str, Any]], task: str, label_range: LabelRange | None = None) -> Table:
    """Return what fits a terminal: the headline metrics as mean ± sd."""
    names = headline(task, label_range)
    columns = ["method", "hidden", "realised", "seeds", *names]
    rows = []
    for one in summary:
        rate = one["protocol"] if one["missing_rate"] is None else f"{one['missing_rate']:g}"
        hidden = rate if one["pattern"] is None else f"all but {one['pattern']}"
        cells = [mean_and_sd(**one["metrics"][name]) for name in names]
        rows.append([one["method"], hidden, number(one["realised_rate"]), str(one["seeds"]), *cells])
    return columns, rows


def _fact(value: Any) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:g}" if isinstance(value, float) else str(value)


def variant_rows(variants: Sequence[Variant]) -> Table:
    """Return what validation says of the settings of a grid, one row for each combination."""
    columns = ["method", "settings", "runs", "metric", "validation", "chosen"]
    rows = [
        [
            one.family, " ".join(one.settings) or UNDEFINED, str(len(one.cells)), one.metric, number(one.value, 4),
            "yes" if one.chosen else "no",
        ]
        for one in variants
    ]  # fmt: skip
    return columns, rows
