"""The gradient regulator: no kind of instance may own the prototypes (ComP eq. 10–11).

An instance is judged by how much worse one of its modalities does than its others. The gradient that reaches the
prototypes of modality u *through instance i* is multiplied by a weight w_i^u; every other gradient is left alone. Where
prototypes are pooled from the dialogue (`prototypes = dialogue`), what passes through the pool counts as theirs.
The weights are known only after the forward pass, so the products with the prototypes look them up in a holder when
the backward pass comes.

Shape suffixes: M modalities, B dialogues, U utterances.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imer.models.comp.settings import CompSettings

FEWEST_COMPARED = 8  # instances with two observed modalities; below this nothing is regulated
SMALLEST_SPREAD = 1e-6
UNNOTICED = (0.8, 1.25)  # weights that change next to nothing
PAPER_LIMIT = 2.0
PAPER_SMALLEST_SHARE = 1e-3  # of Σ|d|: below this |Σd| the published quotient means nothing


class InstanceWeights:
    """Holds w [M, B, U] between forward and backward; None: all ones."""

    def __init__(self) -> None:
        self.value: Tensor | None = None


class _RegulatedProduct(torch.autograd.Function):
    """A @ K whose gradient for K is weighted per row of A."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bank: Tensor, weights: InstanceWeights) -> Tensor:
        ctx.save_for_backward(rows, bank)
        ctx.weights = weights
        return _product(rows, bank)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, bank = ctx.saved_tensors
        weighted = rows if ctx.weights.value is None else rows * ctx.weights.value.unsqueeze(-1)
        to_rows = _product(gradient, bank.transpose(-1, -2))
        if bank.shape[1] == 1:  # one bank for all dialogues
            to_bank = (weighted.flatten(1, 2).transpose(-1, -2) @ gradient.flatten(1, 2)).unsqueeze(1)
        else:
            to_bank = weighted.transpose(-1, -2) @ gradient
        return to_rows, to_bank, None


def regulated_product(rows: Tensor, bank: Tensor, weights: InstanceWeights) -> Tensor:
    """Return rows [M, B, U, a] @ bank [M, 1 or B, a, b]; in training its gradient for the bank is weighted per row."""
    if torch.is_grad_enabled() and bank.requires_grad:
        return _RegulatedProduct.apply(rows, bank, weights)
    return _product(rows, bank)


def _product(rows: Tensor, bank: Tensor) -> Tensor:
    """Return rows @ bank. One bank for all dialogues is not copied for each, as broadcasting would."""
    if bank.shape[1] != 1:
        return rows @ bank
    return (rows.flatten(1, 2) @ bank.squeeze(1)).unflatten(1, rows.shape[1:3])


@torch.no_grad()
def branch_errors(answers_MBUC: Tensor, target_BU: Tensor, counted_BU: Tensor, task: str) -> Tensor:
    """Return E [M, B, U]: 1 − probability of the true class, or the absolute error in standard deviations."""
    if task == "regression":
        return (answers_MBUC.squeeze(-1) - torch.where(counted_BU, target_BU, 0.0)).abs()
    index = torch.where(counted_BU, target_BU, 0).expand(answers_MBUC.shape[:-1]).unsqueeze(-1)
    return 1.0 - answers_MBUC.softmax(dim=-1).gather(-1, index).squeeze(-1)


@torch.no_grad()
def instance_weights(error_MBU: Tensor, observed_MBU: Tensor, counted_BU: Tensor, settings: CompSettings) -> Tensor:
    """Return w [M, B, U]: mean 1 over the instances that can be compared, exactly 1 elsewhere."""
    here = observed_MBU & counted_BU
    n_here = here.sum(dim=0)
    compared = here & (n_here >= 2)
    if settings.regulator == "paper":
        return _published_weights(error_MBU, here, compared)
    others = (torch.where(here, error_MBU, 0.0).sum(dim=0) - error_MBU) / (n_here - 1).clamp(min=1)
    relative = error_MBU - others  # R: the mean over the other modalities v of E^u − E^v
    weights = torch.ones_like(error_MBU)
    direction = 1.0 if settings.regulator_direction == "hard_up" else -1.0
    for u in range(len(error_MBU)):
        values = relative[u][compared[u]]
        if len(values) < FEWEST_COMPARED or (spread := values.std()) < SMALLEST_SPREAD:
            continue
        z = (values - values.mean()) / (spread + SMALLEST_SPREAD)
        limit = settings.regulator_limit
        gain = (direction * settings.regulator_strength * z).exp().clamp(1.0 / limit, limit)
        weights[u][compared[u]] = gain / gain.mean()
    return weights


@torch.no_grad()
def regulated_share(weights_MBU: Tensor, here_MBU: Tensor) -> Tensor:
    """Return the share of the observed, labelled instances whose weight is noticeably not 1: for the log."""
    low, high = UNNOTICED
    far = ((weights_MBU < low) | (weights_MBU > high)) & here_MBU
    return far.sum() / here_MBU.sum().clamp(min=1)


def _published_weights(error_MBU: Tensor, here: Tensor, compared: Tensor) -> Tensor:
    """Return the mean over v of 1 − d_i / Σd with d = E^u − E^v (ComP eq. 10), in [0, 2], guarded where Σd ≈ 0."""
    n = len(error_MBU)
    weights = torch.ones_like(error_MBU)
    for u in range(n):
        total, count = torch.zeros_like(error_MBU[u]), torch.zeros_like(error_MBU[u])
        for v in (v for v in range(n) if v != u):
            both = here[u] & here[v]
            d = torch.where(both, error_MBU[u] - error_MBU[v], 0.0)
            denominator = d.sum()
            if denominator.abs() <= PAPER_SMALLEST_SHARE * d.abs().sum() or not bool(both.any()):
                total, count = total + both, count + both
                continue
            total, count = total + torch.where(both, 1.0 - d / denominator, 0.0), count + both
        weights[u] = torch.where(compared[u], (total / count.clamp(min=1)).clamp(0.0, PAPER_LIMIT), 1.0)
    return weights
