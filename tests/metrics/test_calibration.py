"""Calibration: against scikit-learn's curve, values by hand, and made answers whose probabilities are true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from sklearn.calibration import calibration_curve

from imer.metrics.calibration import N_BINS, calibration, reliability


def _answers(n: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes drawn by the very probabilities that are given."""
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.full(n_classes, 0.6), n)
    target = (probability.cumsum(1) > rng.random((n, 1))).argmax(1)
    return probability, target


def test_true_probabilities_have_next_to_no_error() -> None:
    probability, target = _answers(200_000, 4, seed=0)
    found = reliability(probability, target)
    assert found["ece"] < 0.01
    assert found["confidence"] == pytest.approx(found["accuracy"], abs=0.005)
    sharper = probability**3 / (probability**3).sum(1, keepdims=True)
    assert reliability(sharper, target)["ece"] > 0.1
    assert reliability(sharper, target)["accuracy"] == found["accuracy"]


@pytest.mark.parametrize("sharpness", [1.0, 0.05])  # answers of every probability, and of hardly any above .2
def test_bins_are_those_of_scikit_learn(sharpness: float) -> None:
    probability, target = _answers(3_000, 12, seed=1)
    probability = probability**sharpness / (probability**sharpness).sum(1, keepdims=True)
    found = reliability(probability, target)
    right = probability.argmax(1) == target
    accuracy, confidence = calibration_curve(right, probability.max(1), n_bins=N_BINS)
    assert [b["accuracy"] for b in found["bins"]] == pytest.approx(accuracy)
    assert [b["confidence"] for b in found["bins"]] == pytest.approx(confidence)


@given(nps.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(2, 6)), elements=st.floats(0.01, 1)), st.data())
def test_error_lies_between_the_difference_of_the_means_and_one(raw: np.ndarray, data: st.DataObject) -> None:
    probability = raw / raw.sum(1, keepdims=True)
    target = data.draw(nps.arrays(np.int64, len(raw), elements=st.integers(0, raw.shape[1] - 1)))
    found = reliability(probability, target)
    assert abs(found["confidence"] - found["accuracy"]) - 1e-9 <= found["ece"] <= 1
    assert sum(one["n"] for one in found["bins"]) == found["n"] == len(raw)


def test_answers_are_told_apart_by_what_was_observed() -> None:
    sure, unsure = [0.95, 0.05], [0.55, 0.45]
    output_SPC = np.array([[sure, sure, unsure], [unsure, sure, sure]])
    observed_SPM = np.array([[[1, 1], [1, 1], [0, 1]], [[1, 0], [0, 0], [1, 1]]], dtype=bool)
    target_P = np.array([0, 1, -1])  # the last has no label
    one, two = calibration(output_SPC, observed_SPM, target_P)
    assert (one["observed"], one["n"], one["accuracy"]) == (1, 1, 1.0)
    assert one["ece"] == pytest.approx(0.45)
    assert (two["observed"], two["n"], two["accuracy"]) == (2, 2, 0.5)
    assert two["ece"] == pytest.approx(0.45)
