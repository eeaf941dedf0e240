"""AdamW's groups, warm-up, the running mean of the weights, and its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imer.training.optimiser import Optimiser, parameter_groups
from imer.training.settings import TrainSettings
from tests.models.comp.build import build


def test_biases_norms_banks_and_temperatures_do_not_decay() -> None:
    model = build()
    groups = parameter_groups(model, TrainSettings(weight_decay=0.1))
    names = {id(p): name for name, p in model.named_parameters()}
    decayed = {names[id(p)] for g in groups if g["weight_decay"] > 0 for p in g["params"]}
    spared = {names[id(p)] for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    assert decayed | spared == set(names.values())
    assert not decayed & spared
    for word in ("bias", "norm", "prototypes.bank", "log_sharpness", "encoder.missing"):
        assert any(word in name for name in spared)
        assert not any(word in name for name in decayed)
    assert {"encoder.update.inner.weight", "head.classify.weight", "branch_heads.weight"} <= decayed


def _train(
    settings: TrainSettings, steps: int, optimiser: Optimiser | None = None, model: nn.Module | None = None
) -> Optimiser:
    if model is None:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
    optimiser = optimiser or Optimiser(model, settings, max_epochs=5, steps_per_epoch=4)
    data = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimiser.step((model(data) - 1).square().mean())
    return optimiser


@pytest.mark.parametrize(
    "settings", [TrainSettings(), TrainSettings(schedule="cosine", average_epochs=0.0, warmup_epochs=0)]
)
def test_its_state_continues_bit_for_bit(settings: TrainSettings) -> None:
    whole = _train(settings, 9)
    half = _train(settings, 4)
    torch.manual_seed(5)
    model = nn.Linear(3, 2)
    model.load_state_dict({name: tensor.clone() for name, tensor in half.model.state_dict().items()})
    rest = Optimiser(model, settings, max_epochs=5, steps_per_epoch=4)
    rest.load_state({name: tensor.clone() for name, tensor in half.state().items()})
    _train(settings, 5, rest, model)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.mean, rest.mean, strict=True))
    assert bool(whole.mean) == bool(settings.average_epochs)


def test_rates_warm_up_and_fall() -> None:
    optimiser = _train(TrainSettings(warmup_epochs=2, schedule="constant"), 1)
    rate = TrainSettings().learning_rate
    assert optimiser.adam.param_groups[0]["lr"] == pytest.approx(rate / 8)
    _train(TrainSettings(), 10, optimiser, optimiser.model)
    assert optimiser.adam.param_groups[0]["lr"] == pytest.approx(rate)
    cosine = _train(TrainSettings(schedule="cosine", warmup_epochs=0), 20)
    assert cosine.adam.param_groups[0]["lr"] < 0.02 * rate


def test_the_running_mean_is_lent_to_the_model() -> None:
    optimiser = _train(TrainSettings(average_epochs=2.5), 6)
    own = [p.detach().clone() for p in optimiser.model.parameters()]
    with optimiser.averaged_weights():
        inside = [p.detach().clone() for p in optimiser.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(inside, optimiser.mean, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(inside, own, strict=True))
    assert all(torch.equal(p, kept) for p, kept in zip(optimiser.model.parameters(), own, strict=True))
