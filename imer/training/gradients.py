"""Who is being trained? The share of each modality in the gradient, as a figure of balance (ComP's motive).

The norm is that of the gradient which reaches a modality's first layer (`enter.<modality>`): what its own encoder is
told to change. It is taken at the last step of every epoch, which costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


@torch.no_grad()
def gradient_shares(model: nn.Module, modalities: Sequence[str]) -> dict[str, float]:
    """Return each modality's share of the gradients' norms, summing to 1; empty where a model has no such layers."""
    squares: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        for modality in modalities:
            if f".enter.{modality}." in f".{name}" and parameter.grad is not None:
                squares[modality] = squares.get(modality, 0.0) + float(parameter.grad.square().sum())
    total = sum(math.sqrt(square) for square in squares.values())
    if not total or not math.isfinite(total):
        return {}
    return {modality: round(math.sqrt(square) / total, 6) for modality, square in squares.items()}
