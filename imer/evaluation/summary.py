"""From pooled predictions to metrics: per mask, per fold, per condition, and for the constant baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imer.evaluation.bootstrap import REPLICATES, intervals
from imer.evaluation.conditions import Condition
from imer.evaluation.pooled import Pooled
from imer.evaluation.results import ConditionSummary, MaskResult, summarise
from imer.masks.sampling import missing_rate
from imer.metrics.compute import METRICS, Metrics, labelled, plain_numbers, predicted_values
from imer.metrics.tally import Tally, tally
from imer.metrics.weights import mean_weights


@dataclass(frozen=True)
class Drawn:
    """A condition with its masks: which slices of the pooled predictions belong to it, and their seeds."""

    condition: Condition
    mask_index: list[int]
    mask_seeds: list[int]


@dataclass(frozen=True)
class Labels:
    """The labels of the pooled rows.

    target_P     class index or value; cluster_P: the dialogue of each row, in 0 … n_clusters − 1
    n_classes    0 for regression
    """

    target_P: np.ndarray
    cluster_P: np.ndarray
    n_clusters: int
    n_classes: int

    @property
    def task(self) -> str:
        return "classification" if self.n_classes else "regression"

    @property
    def n_labelled(self) -> int:
        return int(labelled(self.target_P).sum())


def mask_tallies(pooled: Pooled, drawn: Drawn, labels: Labels) -> list[Tally]:
    """Return the tally by dialogue under each mask of a condition."""
    return [
        tally(
            labels.target_P,
            predicted_values(pooled.output_SPC[index], labels.n_classes),
            labels.cluster_P,
            labels.n_clusters,
            labels.n_classes,
        )
        for index in drawn.mask_index
    ]


def summarise_condition(
    pooled: Pooled,
    drawn: Drawn,
    labels: Labels,
    *,
    split: str,
    modalities: Sequence[str],
    fold_names: Sequence[str],
    n_replicates: int = REPLICATES,
) -> tuple[list[MaskResult], ConditionSummary]:
    """Return one result per mask, and the summary over masks with its interval over dialogues."""
    condition = drawn.condition
    tallies = mask_tallies(pooled, drawn, labels)
    per_mask = [plain_numbers(one.metrics()) for one in tallies]
    observed_SPM = pooled.observed_SPM[drawn.mask_index]
    rates = [missing_rate(observed_PM) for observed_PM in observed_SPM]
    shared: dict[str, Any] = {
        "split": split,
        "protocol": condition.protocol,
        "missing_rate": condition.rate,
        "pattern": condition.pattern,
        "detail": condition.detail,
        "n": labels.n_labelled,
    }
    results = [
        MaskResult(**shared, realised_rate=rate, mask_seed=mask_seed, metrics=metrics)
        for rate, mask_seed, metrics in zip(rates, drawn.mask_seeds, per_mask, strict=True)
    ]
    interval_of = intervals(tallies, n_replicates=n_replicates)
    names = METRICS[labels.task]
    confusion: list[list[float]] = []
    if labels.n_classes:
        counts = np.mean([one.sums_GK.sum(axis=0) for one in tallies], axis=0)
        confusion = counts.reshape(labels.n_classes, labels.n_classes).tolist()
    summary = ConditionSummary(
        **shared,
        realised_rate=float(np.mean(rates)),
        n_masks=len(tallies),
        metrics={name: summarise([one[name] for one in per_mask], interval_of[name]) for name in names},
        without_any=float((~observed_SPM.any(axis=-1)).sum(axis=-1).mean()),
        folds=_per_fold(pooled, drawn, labels, fold_names) if len(fold_names) > 1 else [],
        weights=mean_weights(pooled.weights_SPM[drawn.mask_index], observed_SPM, modalities),
        confusion=confusion,
    )
    return results, summary


def _per_fold(pooled: Pooled, drawn: Drawn, labels: Labels, fold_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return each fold's metrics, averaged over masks: the folds are the groups of a tally."""
    n_folds = len(fold_names)
    per_mask = []
    for index in drawn.mask_index:
        predicted_P = predicted_values(pooled.output_SPC[index], labels.n_classes)
        by_fold = tally(labels.target_P, predicted_P, pooled.fold_P, n_folds, labels.n_classes)
        per_mask.append(by_fold.metrics(np.eye(n_folds)))
    keep_P = labelled(labels.target_P)
    found = []
    for fold, name in enumerate(fold_names):
        means = {metric: np.mean([one[metric][fold] for one in per_mask]) for metric in per_mask[0]}
        found.append(
            {"fold": name, "n": int((keep_P & (pooled.fold_P == fold)).sum()), "metrics": plain_numbers(means)}
        )
    return found


def constant_baseline(labels: Labels, fold_P: np.ndarray, answers: Sequence[float | None]) -> Metrics | None:
    """Return the metrics of always answering each fold's majority class (or mean label) of training.

    None where that of a fold is not known. Correlations are left undefined: the answers of different folds differ a little,
    but a constant answer says nothing within any of them.
    """
    if None in answers:
        return None
    predicted_P = np.array(answers, dtype=np.int64 if labels.n_classes else np.float64)[fold_P]
    one_group_P = np.zeros(len(fold_P), np.int64)
    metrics = plain_numbers(tally(labels.target_P, predicted_P, one_group_P, 1, labels.n_classes).metrics())
    return {name: None if name in ("corr", "ccc") else value for name, value in metrics.items()}
