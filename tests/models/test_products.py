"""Products in bfloat16: close to those in float32, in float32 outside, and only where they are asked for."""

from __future__ import annotations

import pytest
import torch

from imer.models.products import Linear, linear, matmul, reduced_products
from tests.models.comp.build import batch, build, stir

ROUNDING = 2.0**-8  # of one bfloat16 number, relative


@pytest.mark.parametrize("rows", [1, 63, 64, 130])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_reduced_product_is_the_product_of_rounded_numbers(rows: int, with_bias: bool) -> None:
    drawn = torch.Generator().manual_seed(rows)
    x = torch.randn(3, rows, 40, generator=drawn, requires_grad=True)
    weight = torch.randn(3, 40, 24, generator=drawn, requires_grad=True)
    bias = torch.randn(3, 1, 24, generator=drawn, requires_grad=True) if with_bias else None
    wanted = torch.randn(3, rows, 24, generator=drawn)
    leaves = [t for t in (x, weight, bias) if t is not None]
    exact = linear(x, weight, bias)
    exact_gradients = torch.autograd.grad(exact, leaves, wanted)
    with reduced_products():
        found = linear(x, weight, bias)
    gradients = torch.autograd.grad(found, leaves, wanted)  # backward comes after the context, as in training
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    for near, true in zip((found, *gradients), (exact, *exact_gradients), strict=True):
        assert near.dtype == torch.float32
        assert (near - true).norm() <= 2 * ROUNDING * true.norm()


def test_a_linear_layer_is_torchs_own_but_inside() -> None:
    torch.manual_seed(0)
    layer, x = Linear(8, 5), torch.randn(2, 3, 8)
    expected = torch.nn.functional.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), expected)
    with reduced_products(False):
        assert torch.equal(layer(x), expected)
    with reduced_products():
        reduced = layer(x)
    assert reduced.shape == expected.shape
    assert not torch.equal(reduced, expected)
    assert torch.allclose(reduced, expected, atol=0.03)


def test_comp_answers_and_learns_nearly_the_same() -> None:
    """Answers to 2 % of their size, and a gradient in the same direction."""
    model = stir(build()).train()
    given, found = batch(model, dialogues=6), []
    for on in (False, True):
        model.zero_grad()
        with reduced_products(on):
            output = model(given.features, given.observed_BUM, given.valid_BU)
        terms = model.losses(output, given, "joint")
        torch.stack(list(terms.values())).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((given.of_real(output.joint_BUC).detach(), gradient))
    (answer, gradient), (reduced_answer, reduced_gradient) = found
    assert not torch.equal(answer, reduced_answer)
    assert (reduced_answer - answer).norm() < 0.02 * answer.norm()
    assert torch.cosine_similarity(gradient, reduced_gradient, dim=0) > 0.999


def test_attention_products_are_reduced_too() -> None:
    a, b = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8).transpose(-1, -2)
    assert torch.equal(matmul(a, b), a @ b)
    with reduced_products():
        near = matmul(a, b)
    assert near.shape == (2, 3, 5, 7)
    assert not torch.equal(near, a @ b)
    assert torch.allclose(near, a @ b, atol=0.1)
