"""The metrics of one set of predictions, as plain numbers; undefined ones are None, never 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from imer.metrics.confusion import confusion_matrices, metrics_from_confusion
from imer.metrics.regression import metrics_from_sums, regression_sums

CLASSIFICATION = ("wa", "ua", "f1_weighted", "f1_macro")
REGRESSION = ("acc2_non0", "f1_non0", "acc2_has0", "f1_has0", "acc7", "acc7_sdk", "mae", "corr", "ccc")
METRICS = {"classification": CLASSIFICATION, "regression": REGRESSION}
SELECTION_METRIC = {"classification": "ua", "regression": "mae"}
LOWER_IS_BETTER = frozenset({"mae"})

Metrics = dict[str, float | None]


def sign_of(metric: str) -> float:
    """Return the factor that makes higher better: −1 for errors, else 1."""
    return -1.0 if metric in LOWER_IS_BETTER else 1.0


def labelled(target_N: np.ndarray) -> np.ndarray:
    """Tell which labels count: bool [N], false for −1 among class indices and for NaN among values."""
    target_N = np.asarray(target_N)
    return np.isfinite(target_N) if target_N.dtype.kind == "f" else target_N >= 0


def constant_answer(target_N: np.ndarray) -> float | None:
    """Return the majority class's index, or the mean label; None where nothing is labelled."""
    known_N = target_N[labelled(target_N)]
    if not known_N.size:
        return None
    return float(known_N.mean() if known_N.dtype.kind == "f" else np.bincount(known_N).argmax())


def classification_metrics(target_N: np.ndarray, predicted_N: np.ndarray, n_classes: int) -> Metrics:
    """Return `wa`, `ua`, `f1_weighted` and `f1_macro` over the labelled utterances.

    Parameters
    ----------
    target_N
        Class index of each label, −1 where unlabelled (left out).
    predicted_N
        Class index of each prediction.

    Returns
    -------
    Each metric in 0 … 1, or None where no utterance is labelled.

    Raises
    ------
    ValueError
        The lengths differ, or a class index lies outside 0 … n_classes − 1.

    >>> classification_metrics(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)["wa"]
    0.75
    """
    target_N, predicted_N = _same_length(target_N, predicted_N)
    keep_N = labelled(target_N)
    group_N = np.zeros(int(keep_N.sum()), np.int64)
    confusion = confusion_matrices(target_N[keep_N], predicted_N[keep_N], n_classes, group_N, 1)
    return plain_numbers(metrics_from_confusion(confusion[0]))


def regression_metrics(target_N: np.ndarray, predicted_N: np.ndarray) -> Metrics:
    """Return the regression metrics over the labelled utterances.

    Parameters
    ----------
    target_N
        Labels in their own units, NaN where unlabelled (left out).
    predicted_N
        Predictions in the same units.

    Returns
    -------
    The metrics named in `REGRESSION`; None where one is undefined: no utterance, no non-zero label (`*_non0`), or a
    constant sequence (`corr`, `ccc`). All are None when a prediction of a labelled utterance is not finite.

    Raises
    ------
    ValueError
        The lengths differ.

    >>> regression_metrics(np.array([-1.0, 2.0]), np.array([-2.0, 2.0]))["mae"]
    0.5
    """
    target_N, predicted_N = _same_length(np.asarray(target_N, np.float64), np.asarray(predicted_N, np.float64))
    keep_N = labelled(target_N)
    target_N, predicted_N = target_N[keep_N], predicted_N[keep_N]
    if not np.isfinite(predicted_N).all():
        return dict.fromkeys(REGRESSION)
    sums = regression_sums(target_N, predicted_N, np.zeros(target_N.size, np.int64), 1)
    return plain_numbers({name: value[0] for name, value in metrics_from_sums(sums).items()})


def predicted_values(output_PC: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the predicted class (the first of equals) or value of each row."""
    return output_PC.argmax(axis=-1) if n_classes else output_PC[..., 0].astype(np.float64)


def metrics_of(target_N: np.ndarray, output_NC: np.ndarray, n_classes: int) -> Metrics:
    """Return the metrics of a model's output (class probabilities, or one value) over the labelled utterances."""
    predicted_N = predicted_values(output_NC, n_classes)
    if n_classes:
        return classification_metrics(target_N, predicted_N, n_classes)
    return regression_metrics(target_N, predicted_N)


def mean_metrics(found: Sequence[Metrics], task: str) -> Metrics:
    """Return the mean of each metric over where it is defined; None where it never is."""
    means: Metrics = {}
    for name in found[0] if found else METRICS[task]:
        values = [value for metrics in found if (value := metrics[name]) is not None]
        means[name] = sum(values) / len(values) if values else None
    return means


def selection_score(task: str, metrics: Mapping[str, float | None]) -> float:
    """Return the score by which epochs are compared, higher is better; −∞ where the metric is undefined.

    >>> selection_score("regression", {"mae": 0.8})
    -0.8
    """
    name = SELECTION_METRIC[task]
    value = metrics[name]
    if value is None:
        return -math.inf
    return sign_of(name) * value


def plain_numbers(values: Mapping[str, np.ndarray]) -> Metrics:
    """Turn NumPy scalars into floats, and NaN into None."""
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def _same_length(target_N: np.ndarray, predicted_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    target_N, predicted_N = np.asarray(target_N), np.asarray(predicted_N)
    if target_N.ndim != 1 or target_N.shape != predicted_N.shape:
        raise ValueError(f"labels {target_N.shape} and predictions {predicted_N.shape} must be two equal lists.")
    return target_N, predicted_N
