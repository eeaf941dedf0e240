"""Losses over some of the utterances of a batch: always a mean over those that count, 0 where none does.

Shape suffixes: C outputs; the leading axes are free, and `counted` has exactly these.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.core.ranges import OneOf

REGRESSION_LOSSES = OneOf("mse", "l1", "huber")


def masked_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of `values` where `counted`; what stands elsewhere, even NaN, has no part in it."""
    total = torch.where(counted, values, 0.0).sum()
    return total / counted.sum().clamp(min=1)


def cross_entropy(
    logits: Tensor, target: Tensor, counted: Tensor, *, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy of class logits [..., C] and class indices [...] (ComP eq. 16).

    With class weights the mean is weighted by them, as everywhere in the field.
    """
    n_classes = logits.shape[-1]
    safe_target = torch.where(counted, target, 0)
    each = functional.cross_entropy(
        logits.reshape(-1, n_classes), safe_target.reshape(-1), reduction="none", label_smoothing=smoothing
    ).reshape(target.shape)
    if class_weights is None:
        return masked_mean(each, counted)
    weight = torch.where(counted, class_weights[safe_target], 0.0)
    return (torch.where(counted, each, 0.0) * weight).sum() / weight.sum().clamp(min=1e-6)


def regression_loss(values: Tensor, target: Tensor, counted: Tensor, kind: str = "mse") -> Tensor:
    """Return the loss of standardised values [..., 1] and targets [...]: `mse` (ComP eq. 17), `l1` or `huber`."""
    safe_target = torch.where(counted, target, 0.0)
    difference = values.squeeze(-1) - safe_target
    if kind == "mse":
        each = difference.square()
    elif kind == "l1":
        each = difference.abs()
    else:
        each = functional.huber_loss(values.squeeze(-1), safe_target, reduction="none")
    return masked_mean(each, counted)


class TaskLoss(nn.Module):
    """The loss of answers [..., C] to a task: cross-entropy with its class weights, or a regression loss of a kind."""

    class_weights_C: Tensor | None

    def __init__(
        self, task: str, class_weights: tuple[float, ...] | None, smoothing: float = 0.0, kind: str = "mse"
    ) -> None:
        super().__init__()
        self.task, self.smoothing, self.kind = task, smoothing, kind
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights_C", weights, persistent=False)

    def forward(self, answer: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        if self.task == "regression":
            return regression_loss(answer, target, counted, self.kind)
        weights = self.class_weights_C
        return cross_entropy(answer, target, counted, class_weights=weights, smoothing=self.smoothing)
