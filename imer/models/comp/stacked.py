"""Layers that keep one set of weights per modality and apply all of them at once.

The input and output have the modality as their first axis: [M, …, width]. One batched matrix product takes the place
of M small ones, which is where the time of small models goes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.models.dropout import Dropout
from imer.models.products import linear


class StackedLinear(nn.Module):
    """M linear layers: [M, …, n_in] → [M, …, n_out]. Xavier uniform weights, biases 0."""

    def __init__(self, n_stacked: int, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_stacked, n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_stacked, 1, n_out)) if bias else None
        for slice_ in self.weight.detach():
            nn.init.xavier_uniform_(slice_)

    def start_at_identity(self) -> None:
        """Make every layer the identity (n_in = n_out)."""
        with torch.no_grad():
            self.weight.copy_(torch.eye(self.weight.shape[1]).expand_as(self.weight))

    def start_at_zero(self) -> None:
        """Make every layer give 0, or its bias where it has one."""
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = linear(x.flatten(1, -2), self.weight, self.bias)
        return y.view(*x.shape[:-1], y.shape[-1])


class StackedNorm(nn.Module):
    """M layer norms over the last axis: [M, B, U, H] → the same."""

    def __init__(self, n_stacked: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_stacked, 1, 1, width))
        self.bias = nn.Parameter(torch.zeros(n_stacked, 1, 1, width))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, functional.layer_norm(x, (self.width,)), self.weight)


class StackedMLP(nn.Module):
    """M two-layer perceptrons: linear, GELU, dropout, linear."""

    def __init__(self, n_stacked: int, n_in: int, n_inner: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.inner = StackedLinear(n_stacked, n_in, n_inner)
        self.outer = StackedLinear(n_stacked, n_inner, n_out)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.dropout(functional.gelu(self.inner(x))))
