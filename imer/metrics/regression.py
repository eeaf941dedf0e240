"""Sentiment-regression metrics, all of them functions of a few sums over utterances.

Sums add up over dialogues, so a bootstrap over dialogues is one matrix product. Labels and predictions are first
shifted by their own median element: that keeps the sums of squares exact enough (Pearson agrees with SciPy's to
1e-12), and a constant sequence becomes exactly zero, which tells "undefined" from "nearly undefined".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imer.metrics.confusion import metrics_from_confusion

# Columns of the sums: count, Σx, Σy, Σx², Σy², Σxy (x label, y prediction, both shifted), Σ|label − prediction|,
# right by Acc-7 (round), right by Acc-7 (sdk), and two 2 × 2 confusion matrices.
_N, _X, _Y, _XX, _YY, _XY, _ABSOLUTE, _ROUND, _SDK = range(9)
_NON0, _HAS0 = slice(9, 13), slice(13, 17)
N_SUMS = 17
_CONSTANT = 1e-13  # a variance below this share of the mean square is rounding error: the sequence is constant


@dataclass(frozen=True)
class RegressionSums:
    """Sums of each group: `sums_GK` float64 [..., 17], and the shifts that were subtracted from x and y."""

    sums_GK: np.ndarray
    target_shift: float
    predicted_shift: float


def seven_classes(value_N: np.ndarray) -> np.ndarray:
    """Acc-7 (round): clip to ±3, then round half to even, as NumPy does.

    >>> seven_classes(np.array([0.5, 1.5, -2.5, 9.0])).tolist()
    [0.0, 2.0, -2.0, 3.0]
    """
    return np.round(np.clip(value_N, -3.0, 3.0)) + 0.0


def seven_classes_sdk(value_N: np.ndarray) -> np.ndarray:
    """Acc-7 (sdk): clip to ±3, then round away from zero to the next whole number.

    >>> seven_classes_sdk(np.array([0.1, -1.2, 2.0, 0.0])).tolist()
    [1.0, -2.0, 2.0, 0.0]
    """
    clipped_N = np.clip(value_N, -3.0, 3.0)
    return np.sign(clipped_N) * np.ceil(np.abs(clipped_N)) + 0.0


def _median_element(value_N: np.ndarray) -> float:
    return float(np.partition(value_N, value_N.size // 2)[value_N.size // 2]) if value_N.size else 0.0


def regression_sums(
    target_N: np.ndarray, predicted_N: np.ndarray, group_N: np.ndarray, n_groups: int
) -> RegressionSums:
    """Add up, within each group, everything that the metrics need. All values must be finite."""
    target_N, predicted_N = np.asarray(target_N, np.float64), np.asarray(predicted_N, np.float64)
    target_shift, predicted_shift = _median_element(target_N), _median_element(predicted_N)
    x_N, y_N = target_N - target_shift, predicted_N - predicted_shift
    columns = np.zeros((target_N.size, N_SUMS))
    columns[:, _N] = 1.0
    columns[:, _X], columns[:, _Y] = x_N, y_N
    columns[:, _XX], columns[:, _YY], columns[:, _XY] = x_N * x_N, y_N * y_N, x_N * y_N
    columns[:, _ABSOLUTE] = np.abs(target_N - predicted_N)
    columns[:, _ROUND] = seven_classes(target_N) == seven_classes(predicted_N)
    columns[:, _SDK] = seven_classes_sdk(target_N) == seven_classes_sdk(predicted_N)
    rows_N = np.arange(target_N.size)
    columns[rows_N, _NON0.start + 2 * (target_N > 0) + (predicted_N > 0)] = target_N != 0
    columns[rows_N, _HAS0.start + 2 * (target_N >= 0) + (predicted_N >= 0)] = 1.0
    group_N = np.asarray(group_N, np.int64)
    sums_GK = np.stack([np.bincount(group_N, column, n_groups) for column in columns.T], axis=-1)
    return RegressionSums(sums_GK, target_shift, predicted_shift)


def metrics_from_sums(sums: RegressionSums) -> dict[str, np.ndarray]:
    """Return the regression metrics of sums [..., 17]; NaN where a metric is undefined."""
    s = sums.sums_GK
    n = s[..., _N]
    non0 = metrics_from_confusion(s[..., _NON0].reshape(*s.shape[:-1], 2, 2))
    has0 = metrics_from_confusion(s[..., _HAS0].reshape(*s.shape[:-1], 2, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x = s[..., _XX] / n - (s[..., _X] / n) ** 2
        var_y = s[..., _YY] / n - (s[..., _Y] / n) ** 2
        covariance = s[..., _XY] / n - s[..., _X] * s[..., _Y] / n**2
        gap = sums.target_shift - sums.predicted_shift + (s[..., _X] - s[..., _Y]) / n
        varies = (var_x > _CONSTANT * s[..., _XX] / n) & (var_y > _CONSTANT * s[..., _YY] / n)
        corr = np.clip(covariance / np.sqrt(var_x * var_y), -1.0, 1.0)
        ccc = 2 * covariance / (var_x + var_y + gap**2)
        return {
            "acc2_non0": non0["wa"],
            "f1_non0": non0["f1_weighted"],
            "acc2_has0": has0["wa"],
            "f1_has0": has0["f1_weighted"],
            "acc7": s[..., _ROUND] / n,
            "acc7_sdk": s[..., _SDK] / n,
            "mae": s[..., _ABSOLUTE] / n,
            "corr": np.where(varies, corr, np.nan),
            "ccc": np.where(varies, ccc, np.nan),
        }
