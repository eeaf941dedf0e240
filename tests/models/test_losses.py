"""Losses count what counts, and agree with PyTorch's own where everything does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from imer.models.losses import cross_entropy, masked_mean, regression_loss


def test_what_does_not_count_has_no_part_even_where_it_is_nan() -> None:
    values = torch.tensor([1.0, torch.nan, 3.0])
    counted = torch.tensor([True, False, True])
    assert masked_mean(values, counted) == 2.0
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)) == 0.0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_the_usual_one(smoothing: float, weighted: bool) -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 5, 3), torch.randint(0, 3, (4, 5))
    counted = torch.rand(4, 5) < 0.6
    weights = torch.tensor([0.5, 1.0, 2.0]) if weighted else None
    found = cross_entropy(logits, torch.where(counted, target, -1), counted, class_weights=weights, smoothing=smoothing)
    each = functional.cross_entropy(logits[counted], target[counted], label_smoothing=smoothing, reduction="none")
    share = torch.ones_like(each) if weights is None else weights[target[counted]]
    assert found.item() == pytest.approx(((each * share).sum() / share.sum()).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "reference"), [("mse", functional.mse_loss), ("l1", functional.l1_loss), ("huber", functional.huber_loss)]
)
def test_regression_losses_are_the_usual_ones(kind: str, reference: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    values, target = torch.randn(6, 1), torch.randn(6) * 3
    target[0] = torch.nan
    found = regression_loss(values, target, torch.isfinite(target), kind)
    assert found.item() == pytest.approx(reference(values[1:, 0], target[1:]).item(), rel=1e-6)
