"""What an evaluation found, as plain data: one entry per mask, one summary per condition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imer._version import __version__
from imer.core.errors import InvalidInput
from imer.core.files import read_json
from imer.metrics.compute import METRICS, Metrics
from imer.metrics.leading import headline, in_order

SCHEMA = "imer.evaluation/1"
_DIGITS = 12  # results are rounded to this: below it, sums differ between CPU kinds


@dataclass(frozen=True)
class MaskResult:
    """The metrics under one mask. `n` counts the labelled utterances, which alone enter the metrics.

    detail   what protocol, rate and pattern leave open: the rates by modality, or which mask it is that a file holds
    """

    split: str
    protocol: str
    missing_rate: float | None
    realised_rate: float
    pattern: str | None
    mask_seed: int
    n: int
    metrics: Metrics
    detail: str = ""


@dataclass(frozen=True)
class MetricSummary:
    """Mean and sample standard deviation over masks, and the 95 % interval of that mean over dialogues.

    `sd` is None with one mask; the interval is None with fewer than two dialogues.
    """

    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class ConditionSummary:
    """One condition, over its masks.

    without_any   mean number of utterances with nothing observed (natural absence under a fixed pattern)
    folds         per fold: name, n, metrics averaged over masks (empty for a single split)
    weights       modality → mean coordinator weight where it is observed beside another one (1 is an equal share)
    confusion     counts averaged over masks, labels in rows (classification)
    """

    split: str
    protocol: str
    missing_rate: float | None
    realised_rate: float
    pattern: str | None
    n: int
    n_masks: int
    metrics: dict[str, MetricSummary]
    without_any: float = 0.0
    folds: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, float | None] = field(default_factory=dict)
    confusion: list[list[float]] = field(default_factory=list)
    detail: str = ""

    @property
    def name(self) -> str:
        """Short name for tables: the pattern, or the protocol and its nominal rate."""
        if self.pattern is not None:
            return self.pattern
        name = self.protocol if self.missing_rate is None else f"{self.missing_rate:g}"
        return f"{name} {self.detail}".strip()


@dataclass(frozen=True)
class Evaluation:
    """All results of one run on one split, with what is needed to say where they came from.

    label_range   smallest and largest label, of those learnt from and those judged; None for classes, and where an earlier
                  version did not write it down
    """

    run: dict[str, Any]
    features: dict[str, Any]
    task: str
    label: str
    class_names: list[str]
    modalities: list[str]
    split: str
    counts: dict[str, int]
    baseline: dict[str, Any]
    results: list[MaskResult]
    summary: list[ConditionSummary]
    aulc_mr: Metrics = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    label_range: list[float] | None = None

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics that are plotted and shown with intervals, the most telling first."""
        return headline(self.task, self.label_range)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All metrics of the task, in the order in which tables have them."""
        return in_order(self.task, self.label_range)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document of `metrics.json`."""
        document = {"schema": SCHEMA, "imer_version": __version__, **rounded(asdict(self))}
        for entry in document["results"]:  # most have none
            if not entry["detail"]:
                del entry["detail"]
        if self.label_range is None:
            del document["label_range"]
        return document

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read a `metrics.json` that `imer eval` wrote.

        Raises
        ------
        InvalidInput
            The file is missing or is not the result of an evaluation.
        """
        document = read_json(path)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise InvalidInput(f"{path} is not the result of `imer eval` (schema {SCHEMA}); evaluate the run again.")
        try:
            document = {"label_range": None, **document}
            values = {name: document[name] for name in cls.__dataclass_fields__}
            values["results"] = [MaskResult(**entry) for entry in values["results"]]
            values["summary"] = [_condition_summary(entry) for entry in values["summary"]]
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"{path} is incomplete ({error}); evaluate the run again with `imer eval`.") from error

    def rate_curve(self) -> list[ConditionSummary]:
        """Return the summaries of the sweep over missing rates, by rising rate."""
        return rate_curve(self.summary)

    def ends_of_curve(self) -> list[ConditionSummary]:
        """Return the lowest and the highest missing rate, or without a curve the first and the last condition."""
        conditions = self.rate_curve() or self.summary
        return conditions[:1] + conditions[1:][-1:]

    def patterns(self) -> list[ConditionSummary]:
        """Return the summaries of fixed patterns, in the order evaluated."""
        return [one for one in self.summary if one.pattern is not None]


def _condition_summary(entry: Mapping[str, Any]) -> ConditionSummary:
    metrics = {name: MetricSummary(**value) for name, value in entry["metrics"].items()}
    return ConditionSummary(**{**entry, "metrics": metrics})


def rate_curve(summary: Sequence[ConditionSummary]) -> list[ConditionSummary]:
    """Return the conditions with a nominal rate of one protocol (the first that occurs), by rising rate.

    Masks of files are not on the curve of masks that were drawn for it.
    """
    curve = [one for one in summary if one.missing_rate is not None and one.pattern is None]
    kinds = [(one.protocol, bool(one.detail)) for one in curve]
    same = [one for one, kind in zip(curve, kinds, strict=True) if kind == kinds[0]]
    return sorted(same, key=lambda one: one.realised_rate)


def area_under_curve(summary: Sequence[ConditionSummary], task: str) -> Metrics:
    """Return AULC-MR per metric: trapezoid area over the realised rates, divided by their range.

    None for a metric that is undefined anywhere on the curve; empty with fewer than two distinct rates.
    """
    curve = rate_curve(summary)
    rates = np.array([one.realised_rate for one in curve])
    if len(curve) < 2 or rates[-1] - rates[0] <= 0:
        return {}
    areas: Metrics = {}
    for name in METRICS[task]:
        values = np.array([np.nan if (v := one.metrics[name].mean) is None else v for one in curve])
        area = float(np.sum((values[1:] + values[:-1]) / 2 * np.diff(rates)) / (rates[-1] - rates[0]))
        areas[name] = None if math.isnan(area) else area
    return areas


def summarise(values: Sequence[float | None], interval: tuple[float, float] | None) -> MetricSummary:
    """Summarise one metric over masks; all parts are None when it is undefined under any of them."""
    defined = [value for value in values if value is not None]
    if not defined or len(defined) < len(values):
        return MetricSummary(None, None, None, None)
    sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    low, high = interval if interval is not None else (None, None)
    return MetricSummary(float(np.mean(defined)), sd, low, high)


def rounded(value: Any) -> Any:
    """Round every float of a JSON-like value, and turn NaN into None."""
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value
