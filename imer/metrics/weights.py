"""How much the coordinator lets each modality say, in the mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mean_weights(weights_PM: np.ndarray, observed_PM: np.ndarray, modalities: Sequence[str]) -> dict[str, float | None]:
    """Return the mean coordinator weight of each modality where it is observed beside at least one other.

    A lone modality always has weight 1 and would say nothing. None where a modality is never observed beside another;
    empty when the model has no coordinator (it then weighs every observed modality by exactly 1).
    """
    if np.array_equal(weights_PM, observed_PM):
        return {}
    beside_PM = observed_PM & (observed_PM.sum(axis=-1, keepdims=True) > 1)
    found: dict[str, float | None] = {}
    for column, modality in enumerate(modalities):
        values = weights_PM[..., column][beside_PM[..., column]]
        found[modality] = float(values.mean(dtype=np.float64)) if values.size else None
    return found
