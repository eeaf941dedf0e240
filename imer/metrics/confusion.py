"""Classification metrics, all of them functions of the confusion matrix.

A matrix has the labels in its rows and the predictions in its columns, so that the two can never be swapped
unnoticed. Leading axes are free: a stack of matrices (one for each dialogue, or for each bootstrap replicate) gives a
stack of metrics.
"""

from __future__ import annotations

import numpy as np


def confusion_matrices(
    target_N: np.ndarray, predicted_N: np.ndarray, n_classes: int, group_N: np.ndarray, n_groups: int
) -> np.ndarray:
    """Count (label, prediction) pairs within each group.

    Parameters
    ----------
    target_N, predicted_N
        Class indices in 0 … n_classes − 1.
    group_N
        The group of each utterance, in 0 … n_groups − 1; a dialogue, as a rule.

    Returns
    -------
    int64 [n_groups, n_classes, n_classes]; rows are labels, columns predictions.

    Raises
    ------
    ValueError
        A class index lies outside 0 … n_classes − 1.
    """
    target_N, predicted_N = np.asarray(target_N, np.int64), np.asarray(predicted_N, np.int64)
    for name, index_N in (("label", target_N), ("prediction", predicted_N)):
        if index_N.size and (index_N.min() < 0 or index_N.max() >= n_classes):
            raise ValueError(f"a {name} lies outside the {n_classes} classes: {index_N.min()} … {index_N.max()}.")
    cell_N = (np.asarray(group_N, np.int64) * n_classes + target_N) * n_classes + predicted_N
    counts = np.bincount(cell_N, minlength=n_groups * n_classes * n_classes)
    return counts.reshape(n_groups, n_classes, n_classes)


def class_scores(confusion_CC: np.ndarray) -> dict[str, np.ndarray]:
    """Return recall, precision and F1 of each class, float64 [..., C], of confusion matrices [..., C, C].

    As in scikit-learn with zero_division = 0: 0 where a class never occurs among what the figure divides by.
    """
    confusion = np.asarray(confusion_CC, np.float64)
    correct_C = np.diagonal(confusion, axis1=-2, axis2=-1)
    support_C, predicted_C = confusion.sum(-1), confusion.sum(-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": np.where(support_C > 0, correct_C / support_C, 0.0),
            "precision": np.where(predicted_C > 0, correct_C / predicted_C, 0.0),
            "f1": np.where(support_C + predicted_C > 0, 2 * correct_C / (support_C + predicted_C), 0.0),
        }


def metrics_from_confusion(confusion_CC: np.ndarray) -> dict[str, np.ndarray]:
    """Return WA, UA, weighted and macro F1 of confusion matrices [..., C, C]; NaN where there is no utterance.

    As in scikit-learn: UA averages recall over the classes that occur among the labels, macro F1 averages over the
    classes that occur among the labels or the predictions, weighted F1 weights each class by its labels.
    """
    confusion = np.asarray(confusion_CC, np.float64)
    correct_C = np.diagonal(confusion, axis1=-2, axis2=-1)
    support_C, predicted_C = confusion.sum(-1), confusion.sum(-2)
    total = support_C.sum(-1)
    each = class_scores(confusion)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "wa": correct_C.sum(-1) / total,
            "ua": each["recall"].sum(-1) / (support_C > 0).sum(-1),
            "f1_weighted": (each["f1"] * support_C).sum(-1) / total,
            "f1_macro": each["f1"].sum(-1) / (support_C + predicted_C > 0).sum(-1),
        }
