"""Sums of each group of utterances, from which the metrics of any resampling of the groups follow.

Every metric here is a function of sums over utterances. Adding up each dialogue once therefore makes a bootstrap over
dialogues a single matrix product, whatever the number of utterances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from imer.metrics.compute import labelled
from imer.metrics.confusion import confusion_matrices, metrics_from_confusion
from imer.metrics.regression import RegressionSums, metrics_from_sums, regression_sums


@dataclass(frozen=True)
class Tally:
    """Sums per group: `sums_GK` [groups, K], with what is needed to read them."""

    sums_GK: np.ndarray
    n_classes: int = 0  # 0: regression
    target_shift: float = 0.0
    predicted_shift: float = 0.0

    def metrics(self, weights_RG: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the metrics of each row of weights (how often a group counts); of all groups once by default.

        Each metric is an array [R] (or a scalar without weights) with NaN where it is undefined.
        """
        sums = self.sums_GK.sum(axis=0) if weights_RG is None else weights_RG @ self.sums_GK
        if self.n_classes:
            return metrics_from_confusion(sums.reshape(*sums.shape[:-1], self.n_classes, self.n_classes))
        return metrics_from_sums(RegressionSums(sums, self.target_shift, self.predicted_shift))

    def only(self, groups: np.ndarray) -> Tally:
        """Return the tally of some of the groups."""
        return replace(self, sums_GK=self.sums_GK[groups])


def tally(
    target_N: np.ndarray, predicted_N: np.ndarray, group_N: np.ndarray, n_groups: int, n_classes: int = 0
) -> Tally:
    """Add up the labelled utterances of each group.

    Parameters
    ----------
    target_N, predicted_N
        Class indices (−1 unlabelled) when `n_classes` is given, otherwise values (NaN unlabelled). Predictions of
        labelled utterances must be finite.
    group_N
        Group of each utterance, in 0 … n_groups − 1.
    """
    keep_N = labelled(target_N)
    target_N, predicted_N, group_N = (np.asarray(a)[keep_N] for a in (target_N, predicted_N, group_N))
    if n_classes:
        confusion = confusion_matrices(target_N, predicted_N, n_classes, group_N, n_groups)
        return Tally(confusion.reshape(n_groups, -1).astype(np.float64), n_classes)
    sums = regression_sums(target_N, predicted_N, group_N, n_groups)
    return Tally(sums.sums_GK, 0, sums.target_shift, sums.predicted_shift)
