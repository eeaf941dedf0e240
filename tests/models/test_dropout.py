"""Dropout by bytes: unbiased, the same mask forwards and backwards, quiet in evaluation."""

from __future__ import annotations

import pytest
import torch

from imer.models.dropout import Dropout, keep


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.999])
def test_the_share_of_zeros_is_the_probability_and_the_mean_is_kept(probability: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1001)
    out = Dropout(probability)(x)
    dropped = min(round(probability * 256), 255) / 256
    assert float((out == 0).double().mean()) == pytest.approx(dropped, abs=2e-3)
    spread = (dropped / (1 - dropped) / out.numel()) ** 0.5
    assert abs(float(out.double().mean()) - 1.0) < 4 * spread
    assert abs(dropped - probability) <= 1 / 256
    assert out.unique().numel() == 2


def test_the_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(1)
    x = torch.randn(7, 33, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), out.detach())


def test_nothing_happens_in_evaluation_or_at_probability_0() -> None:
    x = torch.randn(5, 3)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_seed_decides_and_neighbours_are_independent() -> None:
    torch.manual_seed(5)
    first = keep(torch.Size([64, 4096]), 128)
    torch.manual_seed(5)
    assert torch.equal(first, keep(torch.Size([64, 4096]), 128))
    signs = first.double() * 2 - 1
    for step in (1, 2, 4, 7, 8, 9):
        assert abs(float((signs[:, step:] * signs[:, :-step]).mean())) < 0.01
    assert not torch.equal(first, keep(torch.Size([64, 4096]), 128))


def test_half_precision_stays_half_precision() -> None:
    assert Dropout(0.5)(torch.ones(16, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_what_is_dropped_together_has_one_draw_the_one_that_the_layer_would_make() -> None:
    x, other = torch.randn(9, 31), torch.ones(9, 31)
    torch.manual_seed(3)
    dropped = Dropout(0.3)(x)
    torch.manual_seed(3)
    own, factor = Dropout(0.3).together(x, other)
    assert torch.equal(dropped, own)
    assert torch.equal(dropped, x * factor)
    for quiet in (Dropout(0.3).eval(), Dropout(0.0)):
        assert all(a is b for a, b in zip(quiet.together(x, other), (x, other), strict=True))
