"""A method as it enters the results table: its means, its tallies, whether it is a baseline, what validation says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imer.comparison.differences import MethodTallies, read_tallies
from imer.comparison.evaluated_run import EvaluatedRun
from imer.comparison.methods import Method, group_methods, known_settings
from imer.comparison.over_runs import ConditionKey, condition_key, over_runs
from imer.core.registry import entries
from imer.evaluation.results import Evaluation, rate_curve
from imer.metrics.compute import sign_of

_BASELINES = "imer.models.baselines."
MARK = " †"  # behind the names of methods whose figures are optimistic
MARKED = (
    "† optimistic: the epoch was chosen on the very part that is judged, or the model learnt from it, so these figures are no "
    "honest estimate."
)


@dataclass(frozen=True)
class Contestant:
    """A method with its mean over runs, its tallies, and the missing rates that all methods of its table have.

    `rates` has what is missing by nature once, at the lowest rate that asks for no more; `natural` names all such rates.
    """

    method: Method
    merged: Evaluation
    tallies: MethodTallies
    rates: frozenset[ConditionKey] = frozenset()
    natural: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return marked(self.method)

    @property
    def is_baseline(self) -> bool:
        entry = entries("models").get(self.model)
        return entry is not None and entry.target.startswith(_BASELINES)

    @property
    def model(self) -> str:
        return str(self.merged.run["settings"]["run.model"])

    @property
    def protocol(self) -> str:
        return str(self.merged.run["settings"]["train.protocol"])

    @property
    def members(self) -> int:
        """How many models of a fold answer together."""
        return int(known_settings(self.method.runs[0])["train.members"])

    def over_rates(self, metric: str) -> float | None:
        """Return the plain mean over the missing rates."""
        values = self._at_rates(self.merged, metric)
        return None if not values or None in values else float(np.mean([v for v in values if v is not None]))

    def spread_over_rates(self, metric: str) -> float | None:
        """Return the standard deviation over seeds of the mean over the missing rates."""
        means = []
        for run in self.method.runs:
            values = self._at_rates(run.evaluation, metric)
            if not values or None in values:
                return None
            means.append(np.mean([v for v in values if v is not None]))
        return float(np.std(means, ddof=1)) if len(means) > 1 else None

    def _at_rates(self, evaluation: Evaluation, metric: str) -> list[float | None]:
        return [one.metrics[metric].mean for one in evaluation.summary if condition_key(one) in self.rates]

    @property
    def validation(self) -> float | None:
        """The mean validation score of the selected epochs, over folds and seeds; None where one is not known."""
        chosen = [run.evaluation.run.get("selected") or {} for run in self.method.runs]
        values = [one["value"] for one in chosen if one.get("value") is not None and one.get("on") == "val"]
        return float(np.mean(values)) if len(values) == len(chosen) else None


def marked(method: Method) -> str:
    """Return a method's name, with a mark where its figures are optimistic."""
    return method.name + (MARK if any(run.evaluation.run.get("optimistic") for run in method.runs) else "")


def contestants_of(runs: Sequence[EvaluatedRun]) -> list[Contestant]:
    """Return the methods among the runs, with their tallies read."""
    found = [Contestant(method, over_runs(method), read_tallies(method)) for method in group_methods(runs)]
    if not found:
        return []
    curves = [rate_curve(one.merged.summary) for one in found]
    shared = frozenset.intersection(*(frozenset(map(condition_key, curve)) for curve in curves))
    curve = [condition for condition in curves[0] if condition_key(condition) in shared]
    natural = [c for c in curve if c.realised_rate == curve[0].realised_rate]
    once = shared - {condition_key(c) for c in natural[1:]}
    names = tuple(c.name for c in natural) if len(natural) > 1 else ()
    return [replace(one, rates=once, natural=names) for one in found]


def best_baseline(contestants: Sequence[Contestant], metric: str) -> Contestant | None:
    """Return the baseline with the best mean over the missing rates; None where there is no baseline with one."""
    sign = sign_of(metric)
    scores = [
        (sign * score, one) for one in contestants if one.is_baseline and (score := one.over_rates(metric)) is not None
    ]
    return max(scores, key=lambda entry: entry[0])[1] if scores else None
