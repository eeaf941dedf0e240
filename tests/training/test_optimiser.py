"""AdamW's groups, warm-up, the running mean of the weights, and its state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imer.models.base import ModelSpec
from imer.training.build import build_model
from imer.training.optimiser import Optimiser, parameter_groups
from imer.training.settings import TrainSettings
from imer.training.settings_layers import load_settings
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


def test_published_adam_decays_everything() -> None:
    settings = TrainSettings(weight_decay=0.1, optimiser="adam")
    assert {group["weight_decay"] for group in parameter_groups(build(), settings)} == {0.1}


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


def test_the_gradient_is_clipped_to_its_norm_and_told_as_it_was() -> None:
    for limit, clipped in ((0.01, True), (0.0, False)):
        optimiser = _train(TrainSettings(clip_norm=limit), 1)
        norm = torch.cat([p.grad.flatten() for p in optimiser.parameters]).norm()
        told = optimiser.mean_gradient_norm()
        assert told > 0.1
        assert float(norm) == pytest.approx(limit if clipped else told, rel=1e-3)


def test_a_heads_own_learning_rate_is_for_its_parameters_alone() -> None:
    small = ("model.hidden=16", "train.learning_rate=0.001", "train.warmup_epochs=0")
    settings = load_settings(preset="dpl-paper", assignments=small)
    model = build_model(ModelSpec({"audio": 5, "text": 7}, "classification", 3), settings)
    optimiser = Optimiser(model, settings.train, max_epochs=5, steps_per_epoch=4)
    optimiser.step(torch.stack([p.square().sum() for p in optimiser.parameters]).sum())
    rate = {id(p): group["lr"] for group in optimiser.adam.param_groups for p in group["params"]}
    names = dict(model.named_parameters())
    assert {name: rate[id(p)] for name, p in names.items()} == pytest.approx(
        {name: 0.01 if name.startswith("head.") else 0.001 for name in names}
    )


def test_the_running_mean_forgets_its_start_fast_at_first() -> None:
    """Of a memory of 2 steps: after 10 it is as long as it is meant to be."""
    settings = TrainSettings(average_epochs=0.5)
    optimiser = _train(settings, 0)
    by_hand = [p.detach().clone() for p in optimiser.parameters]
    for step in range(1, 15):
        _train(settings, 1, optimiser, optimiser.model)
        kept = min(step / (step + 10), 0.5)
        by_hand = [kept * m + (1 - kept) * p.detach() for m, p in zip(by_hand, optimiser.parameters, strict=True)]
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(optimiser.mean, by_hand, strict=True))


def test_the_running_mean_is_lent_to_the_model() -> None:
    optimiser = _train(TrainSettings(average_epochs=2.5), 6)
    own = [p.detach().clone() for p in optimiser.model.parameters()]
    with optimiser.averaged_weights():
        inside = [p.detach().clone() for p in optimiser.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(inside, optimiser.mean, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(inside, own, strict=True))
    assert all(torch.equal(p, kept) for p, kept in zip(optimiser.model.parameters(), own, strict=True))
