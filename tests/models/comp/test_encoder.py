"""Encoders: what is unusual about a feature is read beside it, learnt by the branches, and then left alone."""

from __future__ import annotations

import torch

from imer.models.base import BRANCHES, JOINT
from imer.models.comp.encoder import MAGNITUDE_LIMIT, magnitude
from tests.models.comp.build import answers, batch, build, stir


def test_a_magnitude_has_no_sign_and_an_end_and_is_0_on_average_where_features_are_normal() -> None:
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(magnitude(z), magnitude(-z))
    assert abs(float(magnitude(z).mean())) < 0.003
    assert float(magnitude(z).std()) < 0.25  # small beside the features, whose deviation is 1
    assert magnitude(torch.tensor(MAGNITUDE_LIMIT)) == magnitude(torch.tensor(-50.0))


def test_a_fresh_model_says_what_one_without_magnitudes_says() -> None:
    given = batch(build())
    assert torch.equal(answers(build(), given), answers(build(magnitudes_up_to=0), given))


def test_they_tell_two_sides_of_the_mean_from_the_middle() -> None:
    model = stir(build(1 + 1, blocks=0, clip_z=10.0))
    with torch.no_grad():
        for layer in model.encoder.enter.values():
            layer.weight.zero_()  # nothing but magnitudes is left
    given = batch(model, observed=1.0)
    turned = {name: -values for name, values in given.features.items()}
    assert torch.equal(answers(model, given), answers(model, given, features=turned))
    nearer = {name: values / 2 for name, values in given.features.items()}
    assert not torch.allclose(answers(model, given), answers(model, given, features=nearer))


def _gradients(stage: str, *, stage1: bool) -> set[bool]:
    model = stir(build(stage1=stage1)).train()
    given = batch(model)
    output = model(given.features, given.observed_BUM, given.valid_BU, stage=stage)
    torch.stack(list(model.losses(output, given, stage).values())).sum().backward()
    return {layer.weight.grad is not None for layer in model.encoder.magnitudes.values()}


def test_the_first_stage_learns_them_and_the_second_only_where_there_is_no_first() -> None:
    assert _gradients(BRANCHES, stage1=True) == {True}
    assert _gradients(JOINT, stage1=True) == {False}
    assert _gradients(JOINT, stage1=False) == {True}


def test_a_feature_is_dropped_with_its_magnitude() -> None:
    model = build(2, input_dropout=0.5).train()
    name, layer = next(iter(model.encoder.enter.items()))
    with torch.no_grad():  # each layer copies its features to units of their own
        layer.weight.zero_()[: layer.in_features] = torch.eye(layer.in_features)
        model.encoder.magnitudes[name].weight.zero_()[layer.in_features : 2 * layer.in_features] = torch.eye(
            layer.in_features
        )
    seen = torch.full((1, 400, layer.in_features), 2.0)
    torch.manual_seed(0)
    told = model.encoder._entered(name, seen, settled=False)
    own, magnitudes = told[..., : layer.in_features] != 0, told[..., layer.in_features : 2 * layer.in_features] != 0
    assert torch.equal(own, magnitudes)
    assert 0.4 < float(own.float().mean()) < 0.6


def test_wide_embeddings_have_none() -> None:
    widths = {name: layer.in_features for name, layer in build(4).encoder.enter.items()}
    assert set(build(4, magnitudes_up_to=5).encoder.magnitudes) == {name for name, d in widths.items() if d <= 5}
    assert not build(magnitudes_up_to=0).encoder.magnitudes
