"""Calibration: whether answers that are given a probability of .7 are right in seven of ten cases.

Shape suffixes: S masks, P predictions under each, C classes, M modalities, N answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from imer.metrics.compute import labelled

N_BINS = 10  # of equal width, from 0 to 1


def reliability(probability_NC: np.ndarray, target_N: np.ndarray) -> dict[str, Any]:
    """Compare the probability of the answers with how often they are right.

    Returns
    -------
    n, confidence (mean probability of the answer), accuracy, ece (expected calibration error: the mean over answers of
    the distance between the two within their bin of confidence), and `bins`: n, confidence and accuracy of those that
    hold any answer. `target_N` holds the classes, all of them known.

    >>> reliability(np.array([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1]))["ece"]
    0.25
    """
    confidence_N = probability_NC.max(axis=1).astype(np.float64)
    right_N = probability_NC.argmax(axis=1) == target_N
    bin_N = np.clip(np.ceil(confidence_N * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    n_B = np.bincount(bin_N, minlength=N_BINS)
    confidence_B = np.bincount(bin_N, confidence_N, N_BINS) / np.maximum(n_B, 1)
    accuracy_B = np.bincount(bin_N, right_N, N_BINS) / np.maximum(n_B, 1)
    n = len(target_N)
    return {
        "n": n,
        "confidence": float(confidence_N.mean()),
        "accuracy": float(right_N.mean()),
        "ece": float((n_B * np.abs(accuracy_B - confidence_B)).sum() / n),
        "bins": [
            {"n": int(n_B[b]), "confidence": float(confidence_B[b]), "accuracy": float(accuracy_B[b])}
            for b in np.flatnonzero(n_B)
        ],
    }


def calibration(output_SPC: np.ndarray, observed_SPM: np.ndarray, target_P: np.ndarray) -> list[dict[str, Any]]:
    """Return the reliability of class probabilities by the number of modalities that were `observed`, over all masks.

    Answers to which nothing was observed are left out, and those without a label.
    """
    count_SP = np.where(labelled(target_P), observed_SPM.sum(axis=-1), 0)
    target_SP = np.broadcast_to(target_P, count_SP.shape)
    found = []
    for count in range(1, observed_SPM.shape[-1] + 1):
        here_SP = count_SP == count
        if here_SP.any():
            found.append({"observed": count, **reliability(output_SPC[here_SP], target_SP[here_SP])})
    return found
