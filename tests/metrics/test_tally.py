"""Sums per group give the same metrics as the utterances themselves."""

import numpy as np
import pytest

from imer.metrics.compute import classification_metrics, regression_metrics
from imer.metrics.tally import tally


def test_all_groups_once_is_the_plain_metric():
    rng = np.random.default_rng(1)
    group = rng.integers(0, 9, 200)
    target, predicted = np.round(rng.normal(0, 2, 200)), rng.normal(0, 2, 200)
    target[:5] = np.nan
    expected = regression_metrics(target, predicted)
    found = tally(target, predicted, group, 9).metrics()
    assert {name: pytest.approx(value, abs=1e-12) for name, value in expected.items()} == found
    classes, guesses = rng.integers(-1, 4, 200), rng.integers(0, 4, 200)
    found = tally(classes, guesses, group, 9, n_classes=4).metrics()
    assert found == {n: pytest.approx(v) for n, v in classification_metrics(classes, guesses, 4).items()}


@pytest.mark.parametrize("n_classes", [0, 3])
def test_weights_repeat_the_utterances_of_a_group(n_classes):
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(5), 8)
    if n_classes:
        target, predicted = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    else:
        target, predicted = np.round(rng.normal(0, 2, 40), 1), rng.normal(0, 2, 40)
    weights = rng.multinomial(5, np.full(5, 0.2), size=20).astype(float)
    found = tally(target, predicted, group, 5, n_classes).metrics(weights)
    for row, weight in enumerate(weights):
        rows = np.repeat(np.arange(40), weight.astype(int)[group])
        if n_classes:
            expected = classification_metrics(target[rows], predicted[rows], 3)
        else:
            expected = regression_metrics(target[rows], predicted[rows])
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value, abs=1e-9), name


def test_a_constant_prediction_stays_undefined_in_every_replicate():
    target, group = np.arange(12.0), np.repeat(np.arange(4), 3)
    weights = np.random.default_rng(3).multinomial(4, np.full(4, 0.25), size=50).astype(float)
    found = tally(target, np.full(12, 0.1), group, 4).metrics(weights)
    assert np.isnan(found["corr"]).all()
    assert not np.isnan(found["mae"]).any()
