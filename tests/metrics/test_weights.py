"""Mean weights say how much a modality was listened to where there was another to listen to."""

from __future__ import annotations

import numpy as np
import pytest

from imer.metrics.weights import mean_weights

NAMES = ("audio", "text", "visual")


def test_only_what_is_observed_beside_another_counts() -> None:
    observed = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0]], dtype=bool)
    weights = np.array([[0.2, 0.8, 0.0], [1.0, 0.0, 0.0], [0.4, 0.6, 0.0]])
    found = mean_weights(weights, observed, NAMES)
    assert found == {"audio": pytest.approx(0.3), "text": pytest.approx(0.7), "visual": None}
    under_two_masks = mean_weights(np.stack([weights, weights[::-1]]), np.stack([observed, observed[::-1]]), NAMES)
    assert under_two_masks == pytest.approx(found)


def test_a_model_without_a_coordinator_has_no_weights() -> None:
    observed = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)
    assert mean_weights(observed.astype(np.float32), observed, NAMES) == {}
