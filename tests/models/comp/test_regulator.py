"""The regulator weighs the gradient of the prototypes per instance, and touches nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given as given_
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from imer.models.base import JOINT
from imer.models.comp.model import Comp
from imer.models.comp.regulator import InstanceWeights, branch_errors, instance_weights, regulated_product
from imer.models.comp.settings import CompSettings
from tests.models.comp.build import batch, build, stir


def _gradients(model: Comp, weight: float | Tensor | None) -> dict[str, Tensor]:
    """Return the gradient of the joint loss with the regulator's weights replaced."""
    given = batch(model, dialogues=6, observed=0.8)
    model.zero_grad()
    output = model(given.features, given.observed_BUM, given.valid_BU)
    loss = torch.stack(list(model.losses(output, given, JOINT).values())).sum()
    if weight is not None:
        shape = model.bank_weights.value.shape if model.bank_weights.value is not None else (3, *given.valid_BU.shape)
        model.bank_weights.value = torch.ones(shape) * weight
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("prototypes", ["bank", "dialogue"])
def test_weight_1_is_no_regulator_and_weight_half_halves_the_bank_alone(prototypes: str) -> None:
    model = stir(build(regulator="off", prototypes=prototypes))
    off, one, half = _gradients(model, None), _gradients(model, 1.0), _gradients(model, 0.5)
    assert all(torch.equal(off[name], one[name]) for name in off)
    assert off["prototypes.bank"].abs().max() > 0
    assert torch.allclose(half["prototypes.bank"], 0.5 * off["prototypes.bank"], rtol=1e-5, atol=1e-10)
    behind_the_bank = ("prototypes.", *(("encoder.", "positions.") if prototypes == "dialogue" else ()))
    for name in off:
        if not name.startswith(behind_the_bank):
            assert torch.equal(half[name], off[name])


def test_a_regulated_product_has_the_gradient_of_a_product() -> None:
    rows = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    bank = torch.randn(2, 1, 5, 3, dtype=torch.float64, requires_grad=True)
    per_dialogue = torch.randn(2, 3, 5, 3, dtype=torch.float64, requires_grad=True)
    for other in (bank, per_dialogue):
        assert torch.autograd.gradcheck(lambda a, k: regulated_product(a, k, InstanceWeights()), (rows, other))


def test_it_is_really_attached() -> None:
    on, off = stir(build(regulator="balanced")), stir(build(regulator="off"))
    with_it, without = _gradients(on, None), _gradients(off, None)
    assert not torch.allclose(with_it["prototypes.bank"], without["prototypes.bank"], rtol=1e-3)
    others = [name for name in without if not name.startswith("prototypes.")]
    assert others
    assert all(torch.equal(with_it[name], without[name]) for name in others)


def test_alike_errors_give_weight_1() -> None:
    observed = torch.ones(3, 4, 5, dtype=torch.bool)
    weights = instance_weights(torch.full((3, 4, 5), 0.3), observed, observed[0], CompSettings())
    assert torch.equal(weights, torch.ones_like(weights))
    few = torch.zeros_like(observed)
    few[:, 0, :4] = True
    assert torch.equal(instance_weights(torch.rand(3, 4, 5), few, observed[0], CompSettings()), weights)


@hypothesis_settings(max_examples=40)
@given_(
    seed=st.integers(0, 10_000),
    observed=st.floats(0.3, 1.0),
    direction=st.sampled_from(["hard_up", "hard_down"]),
    scale=st.sampled_from([1e-3, 1.0, 100.0]),
)
def test_weights_have_mean_1_and_stay_in_bounds(seed: int, observed: float, direction: str, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    error = torch.rand(3, 6, 7, generator=generator) * scale
    here = torch.rand(3, 6, 7, generator=generator) < observed
    counted = torch.rand(6, 7, generator=generator) < 0.9
    settings = CompSettings(regulator_direction=direction)
    weights = instance_weights(error, here, counted, settings)
    compared = here & counted & ((here & counted).sum(0) >= 2)
    assert (weights[~compared] == 1).all()
    limit = settings.regulator_limit**2
    assert (weights >= 1 / limit - 1e-6).all()
    assert (weights <= limit + 1e-6).all()
    for u in range(3):
        if compared[u].sum() >= 8:
            assert abs(weights[u][compared[u]].mean() - 1) < 1e-5


def test_direction_and_the_published_rule() -> None:
    error = torch.rand(2, 1, 40, generator=torch.Generator().manual_seed(0))
    here = torch.ones(2, 1, 40, dtype=torch.bool)
    worse = error[0, 0] - error[1, 0]
    up = instance_weights(error, here, here[0], CompSettings())[0, 0]
    down = instance_weights(error, here, here[0], CompSettings(regulator_direction="hard_down"))[0, 0]
    assert torch.corrcoef(torch.stack([worse, up]))[0, 1] > 0.9
    assert torch.corrcoef(torch.stack([worse, down]))[0, 1] < -0.9
    published = instance_weights(error, here, here[0], CompSettings(regulator="paper"))
    expected = (1 - worse / worse.sum()).clamp(0, 2)
    assert torch.allclose(published[0, 0], expected, atol=1e-5)
    # Two equally good modalities: the published quotient is 0 / 0, here it is left alone.
    alike = torch.stack([error[0], error[0]])
    assert torch.equal(instance_weights(alike, here, here[0], CompSettings(regulator="paper")), torch.ones(2, 1, 40))


def test_errors_of_branches() -> None:
    logits = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
    target = torch.tensor([[0, -1]])
    error = branch_errors(logits, target, target >= 0, "classification")
    assert error[0, 0, 0] == pytest.approx(1 - torch.softmax(torch.tensor([2.0, 0.0]), 0)[0].item())
    values = torch.tensor([[[[2.0]]]])
    assert branch_errors(values, torch.tensor([[-1.0]]), torch.tensor([[True]]), "regression").item() == 3.0
