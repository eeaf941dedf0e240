"""Metrics against hand-computed cases, scikit-learn and SciPy."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from imer.metrics.compute import (
    METRICS,
    SELECTION_METRIC,
    classification_metrics,
    regression_metrics,
    selection_score,
)

EXACT = {"abs": 1e-12, "rel": 0}
# Sentiment-like values: zeros, halves (where rounding rules differ), values outside ±3, and ordinary ones.
SENTIMENT = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3.0, -3.0, 3.5, -4.0]),
    st.floats(-4, 4, allow_nan=False).map(lambda x: round(x, 2)),
)


def pairs(element: st.SearchStrategy, min_size: int = 1) -> st.SearchStrategy:
    return st.lists(st.tuples(element, element), min_size=min_size, max_size=60).map(lambda p: np.array(p).T)


def reference_classification(target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    present = sorted(set(target))
    recalls = sk.recall_score(target, predicted, labels=present, average=None, zero_division=0)
    return {
        "wa": sk.accuracy_score(target, predicted),
        "ua": float(np.mean(recalls)),
        "f1_weighted": sk.f1_score(target, predicted, average="weighted", zero_division=0),
        "f1_macro": sk.f1_score(target, predicted, average="macro", zero_division=0),
    }


def reference_regression(target: np.ndarray, predicted: np.ndarray) -> dict[str, float | None]:
    kept = target != 0
    binary = {
        "non0": (target[kept] > 0, predicted[kept] > 0),
        "has0": (target >= 0, predicted >= 0),
    }
    expected: dict[str, float | None] = {}
    for name, (t, p) in binary.items():
        expected[f"acc2_{name}"] = sk.accuracy_score(t, p) if len(t) else None
        expected[f"f1_{name}"] = sk.f1_score(t, p, average="weighted", zero_division=0) if len(t) else None
    rounded = [np.array([round(max(-3.0, min(3.0, float(v)))) for v in values]) for values in (target, predicted)]
    away = [
        np.array([math.copysign(math.ceil(abs(v)), v) if v else 0.0 for v in np.clip(values, -3, 3)])
        for values in (target, predicted)
    ]
    expected["acc7"] = sk.accuracy_score(rounded[0], rounded[1])
    expected["acc7_sdk"] = float(np.mean(away[0] == away[1]))
    expected["mae"] = sk.mean_absolute_error(target, predicted)
    varies = len(set(target)) > 1 and len(set(predicted)) > 1
    expected["corr"] = float(stats.pearsonr(target, predicted)[0]) if varies else None
    means, variances = (target.mean(), predicted.mean()), (target.var(), predicted.var())
    covariance = float(np.mean((target - means[0]) * (predicted - means[1])))
    expected["ccc"] = 2 * covariance / (sum(variances) + (means[0] - means[1]) ** 2) if varies else None
    return expected


def assert_same(found: dict, expected: dict) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, **EXACT)), name


@settings(max_examples=150)
@given(pairs(st.integers(0, 3)))
def test_classification_agrees_with_scikit_learn(pair):
    target, predicted = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn remarks on absent classes, which are meant to occur here
        assert_same(classification_metrics(target, predicted, 4), reference_classification(target, predicted))
        if set(predicted) <= set(target):
            assert classification_metrics(target, predicted, 4)["ua"] == pytest.approx(
                sk.balanced_accuracy_score(target, predicted), **EXACT
            )


@settings(max_examples=150)
@given(pairs(SENTIMENT))
def test_regression_agrees_with_scikit_learn_and_scipy(pair):
    target, predicted = pair
    assert_same(regression_metrics(target, predicted), reference_regression(target, predicted))


def test_ten_thousand_random_utterances_agree():
    rng = np.random.default_rng(0)
    target = np.round(rng.normal(0, 1.5, 10_000) * 2) / 2
    predicted = np.where(rng.random(10_000) < 0.2, np.round(target * 2) / 2, target + rng.normal(0, 1, 10_000))
    assert_same(regression_metrics(target, predicted), reference_regression(target, predicted))
    classes = rng.integers(0, 7, 10_000)
    guesses = np.where(rng.random(10_000) < 0.5, classes, rng.integers(0, 6, 10_000))
    assert_same(classification_metrics(classes, guesses, 7), reference_classification(classes, guesses))


def test_classification_by_hand():
    # Labels 0 0 0 0 1 1 2, predictions 0 0 0 1 1 0 2: recalls 3/4, 1/2, 1; precisions 3/4, 1/2, 1.
    found = classification_metrics(np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 0, 2]), 3)
    assert found == {
        "wa": pytest.approx(5 / 7),
        "ua": pytest.approx((3 / 4 + 1 / 2 + 1) / 3),
        "f1_weighted": pytest.approx((4 * 3 / 4 + 2 * 1 / 2 + 1) / 7),
        "f1_macro": pytest.approx((3 / 4 + 1 / 2 + 1) / 3),
    }


def test_regression_by_hand():
    # Non-zero labels: −2, 1, 3 predicted −1, −1, 2: two of three right. With the zero (predicted −0.2: negative): 2/4.
    found = regression_metrics(np.array([-2.0, 0.0, 1.0, 3.0]), np.array([-1.0, -0.2, -1.0, 2.0]))
    assert found["acc2_non0"] == pytest.approx(2 / 3)
    assert found["acc2_has0"] == pytest.approx(2 / 4)
    # F1 of "negative" (support 1): TP 1, predicted 2 → 2/3. F1 of "positive" (support 2): TP 1, predicted 1 → 2/3.
    assert found["f1_non0"] == pytest.approx(2 / 3)
    # Has0: "negative" support 1, predicted 3, TP 1 → 1/2; "non-negative" support 3, predicted 1, TP 1 → 1/2.
    assert found["f1_has0"] == pytest.approx(1 / 2)
    assert found["mae"] == pytest.approx((1 + 0.2 + 2 + 1) / 4)
    # Acc-7 (round): −2/−1, 0/0, 1/−1, 3/2; Acc-7 (sdk): −2/−1, 0/−1, 1/−1, 3/2.
    assert (found["acc7"], found["acc7_sdk"]) == (1 / 4, 0.0)


@pytest.mark.parametrize(
    ("value", "rounded", "away_from_zero"),
    [(0.5, 0, 1), (1.5, 2, 2), (2.5, 2, 3), (-0.5, 0, -1), (-1.5, -2, -2), (-2.5, -2, -3), (-7.0, -3, -3)],
)
def test_both_acc7_rules_at_the_halves(value, rounded, away_from_zero):
    assert regression_metrics(np.array([value]), np.array([float(rounded)]))["acc7"] == 1.0
    assert regression_metrics(np.array([value]), np.array([float(away_from_zero)]))["acc7_sdk"] == 1.0


def test_swapping_labels_and_predictions_changes_the_f1():
    # A biased predictor: almost everything is called positive.
    target = np.array([-1.0] * 60 + [1.0] * 40)
    predicted = np.array([-1.0] * 5 + [1.0] * 95)
    right, swapped = regression_metrics(target, predicted), regression_metrics(predicted, target)
    assert right["f1_non0"] == pytest.approx(sk.f1_score(target > 0, predicted > 0, average="weighted"))
    assert swapped["f1_non0"] - right["f1_non0"] > 0.2
    classes = (target > 0).astype(int), (predicted > 0).astype(int)
    assert classification_metrics(*classes, 2)["ua"] != classification_metrics(*classes[::-1], 2)["ua"]


def test_undefined_is_none_and_never_zero():
    constant = regression_metrics(np.array([1.0, -2.0, 0.3]), np.array([0.1, 0.1, 0.1]))
    assert constant["corr"] is None
    assert constant["ccc"] is None
    assert constant["mae"] is not None
    one_value = regression_metrics(np.array([0.1] * 7), np.linspace(0, 1, 7))
    assert one_value["corr"] is None
    only_zero_labels = regression_metrics(np.zeros(3), np.array([1.0, -1.0, 0.5]))
    assert only_zero_labels["acc2_non0"] is None
    assert only_zero_labels["f1_non0"] is None
    assert only_zero_labels["acc2_has0"] == pytest.approx(2 / 3)
    assert set(regression_metrics(np.array([]), np.array([])).values()) == {None}
    assert set(classification_metrics(np.array([], int), np.array([], int), 4).values()) == {None}


def test_a_class_without_labels_does_not_lower_ua():
    found = classification_metrics(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]), 4)
    assert found["ua"] == pytest.approx((1 + 1 / 2) / 2)


def test_unlabelled_utterances_are_left_out():
    target, predicted = np.array([1.0, np.nan, -2.0]), np.array([0.5, 9.0, -1.0])
    assert regression_metrics(target, predicted) == regression_metrics(target[[0, 2]], predicted[[0, 2]])
    assert regression_metrics(np.array([-1.0, 1.0]), np.array([-1.0, 1.0]))["mae"] == 0.0  # −1 is a value here
    classes, guesses = np.array([0, -1, 2]), np.array([0, 1, 1])
    assert classification_metrics(classes, guesses, 3) == classification_metrics(classes[[0, 2]], guesses[[0, 2]], 3)


def test_a_diverged_model_has_no_metrics():
    found = regression_metrics(np.array([1.0, 2.0]), np.array([np.nan, 1.0]))
    assert set(found.values()) == {None}
    assert selection_score("regression", found) == -math.inf


def test_wrong_lengths_and_classes_are_refused():
    with pytest.raises(ValueError, match="two equal lists"):
        regression_metrics(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="outside the 2 classes"):
        classification_metrics(np.array([0, 2]), np.array([0, 1]), 2)


def test_selection_prefers_the_better_metric():
    assert selection_score("regression", {"mae": 0.7}) > selection_score("regression", {"mae": 0.8})
    assert selection_score("classification", {"ua": 0.7}) > selection_score("classification", {"ua": 0.6})
    assert all(name in METRICS[task] for task, name in SELECTION_METRIC.items())


@settings(max_examples=50)
@given(pairs(SENTIMENT, min_size=2), st.floats(-100, 100), st.floats(0.1, 10))
def test_correlation_ignores_shift_and_scale(pair, shift, scale):
    target, predicted = pair
    original = regression_metrics(target, predicted)["corr"]
    moved = regression_metrics(target, predicted * scale + shift)["corr"]
    if original is not None and moved is not None and np.std(predicted) > 1e-3:
        assert moved == pytest.approx(original, abs=1e-6)
