"""Regression by ordered classes: K bins on the label's range, read by their expectation.

A value y between two bin centres becomes a two-hot target whose expectation is exactly y, and the prediction is
ŷ = Σ_k p_k b_k, which always lies inside the range. Where a modality is missing p broadens and ŷ shrinks towards the
middle, which is what the squared error asks for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imer.core.errors import UsageError


class OrdinalBins(nn.Module):
    """`count` equally spaced bin centres from `low` to `high`, both in the units of the target.

    >>> bins = OrdinalBins(-3.0, 3.0, 7)
    >>> bins.two_hot(torch.tensor([-2.75])).tolist()
    [[0.75, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    centre_K: Tensor

    def __init__(self, low: float, high: float, count: int) -> None:
        super().__init__()
        if count < 2 or not high > low:
            raise UsageError(
                f"Ordinal bins need at least 2 bins and a highest value above the lowest, "
                f"but there are {count} from {low:g} to {high:g}."
            )
        self.register_buffer("centre_K", torch.linspace(low, high, count))

    def two_hot(self, value: Tensor) -> Tensor:
        """Return q with Σ_k q_k b_k = y, y held inside the range: [...] → float32 [..., K]."""
        centre = self.centre_K
        last = len(centre) - 1
        place = (value.float() - centre[0]) / (centre[-1] - centre[0]) * last
        place = place.clamp(0, last).unsqueeze(-1)
        # A bin holds 1 − its distance in bins to the value, so only the two bins around the value get any.
        return (1 - (place - torch.arange(last + 1, device=place.device)).abs()).clamp(min=0)

    def expectation(self, probability_K: Tensor) -> Tensor:
        """Return ŷ = Σ_k p_k b_k: [..., K] → [...]."""
        return (probability_K * self.centre_K).sum(-1)

    def distance_KK(self) -> Tensor:
        """Return |b_j − b_k| over the range, in [0, 1]: how much two bins repel each other."""
        centre = self.centre_K
        return (centre.unsqueeze(0) - centre.unsqueeze(1)).abs() / (centre[-1] - centre[0])
