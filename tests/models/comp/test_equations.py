"""ComP's equations, written out once more in the plainest way, against the model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imer.batches.layout import Padded
from imer.models.base import BRANCHES, JOINT
from imer.models.comp.attention import AttentionLayer, PublishedAttentionLayer, readable
from imer.models.comp.coordinator import SOFT_START, Coordinator
from imer.models.comp.model import Comp
from imer.models.comp.positions import Positions, sines
from imer.models.comp.prompts import Exchange
from imer.models.comp.prototypes import SHARPNESS_LIMITS, Assignment
from imer.models.comp.regulator import InstanceWeights, instance_weights
from imer.models.comp.settings import CompSettings
from tests.models.comp.build import answers, batch, build, stir


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_weighted_mean_of_what_may_be_read(causal: bool) -> None:
    settings = CompSettings(hidden=4, heads=2, dropout=0.0, causal=causal)
    torch.manual_seed(0)
    layer = AttentionLayer(1, settings).eval()
    x, seen = torch.randn(1, 1, 5, 4), torch.tensor([True, True, False, True, True])
    with torch.no_grad():
        said = layer._attend(x, readable(seen[None, None], Padded(torch.ones(1, 5, dtype=torch.bool)), settings))
        query, key, value = layer.query_key_value(x)[0, 0].view(5, 3, 2, 2).unbind(1)
        read = torch.zeros(5, 2, 2)
        for i in range(5):
            keys = [j for j in range(5) if seen[j] and (j <= i or not causal)]
            for head in range(2):
                score = torch.stack([query[i, head] @ key[j, head] for j in keys]) / math.sqrt(2)
                read[i, head] = score.softmax(0) @ value[keys, head]
        assert torch.allclose(said, layer.out(read.view(1, 1, 5, 4)), atol=1e-5)


def test_a_published_layer_adds_what_it_read_and_its_perceptron() -> None:
    """x + y + MLP(y), where y is the attention: of the only utterance that may be read, its value."""
    settings = CompSettings(hidden=4, heads=2, dropout=0.0, attention="published")
    torch.manual_seed(0)
    layer = PublishedAttentionLayer(1, settings).eval()
    x, seen = torch.randn(1, 1, 3, 4), torch.tensor([False, True, False])
    with torch.no_grad():
        said = layer(x, readable(seen[None, None], Padded(torch.ones(1, 3, dtype=torch.bool)), settings))
        y = layer.query_key_value(x)[0, 0, 1, 8:].expand(1, 1, 3, 4)
        assert torch.allclose(said, x + y + layer.mlp(y), atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_neighbours_are_those_of_both_sides_or_of_the_past(causal: bool) -> None:
    """A depth-wise convolution, forwards and backwards, of dialogues that end at different places."""
    torch.manual_seed(0)
    settings = CompSettings(hidden=4, heads=2, position_width=5, causal=causal)
    positions, layout = Positions(2, settings), Padded(torch.arange(7) < torch.tensor([[7], [4]]))
    with torch.no_grad():
        positions.kernel.normal_()
        positions.bias.normal_()
    x = torch.randn(2, 2, 7, 4, requires_grad=True)
    found = positions(x, layout, None)[:, layout.valid_BU]
    found.square().sum().backward()
    gradients = [t.grad.clone() for t in (x, positions.kernel, positions.bias)]
    for tensor in (x, positions.kernel, positions.bias):
        tensor.grad = None
    per_modality = []
    for m in range(2):
        weight = positions.kernel[:, m, 0, 0].T[:, None]  # [H, 1, S]
        before = 4 if causal else 2
        real = functional.pad((x[m] * layout.valid_BU[..., None]).transpose(1, 2), (before, 4 - before))
        per_modality.append(functional.conv1d(real, weight, positions.bias[m, 0, 0], groups=4).transpose(1, 2))
    expected = (x + torch.stack(per_modality))[:, layout.valid_BU]
    expected.square().sum().backward()
    assert torch.allclose(found, expected, atol=1e-5)
    for gradient, tensor in zip(gradients, (x, positions.kernel, positions.bias), strict=True):
        assert torch.allclose(gradient, tensor.grad, atol=1e-3)
    with torch.no_grad():
        assert torch.allclose(positions(x, layout, None)[:, layout.valid_BU], expected, atol=1e-5)


def test_waves_of_positions_grow_geometrically() -> None:
    found = sines(50, 6, torch.device("cpu"))
    for place in (0, 1, 49):
        angles = [place / 1000 ** (wave / 3) for wave in range(3)]
        assert found[place].tolist() == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=1e-5)


def test_rotary_positions_tell_the_distance_alone() -> None:
    """The same dialogue three utterances later in the table is answered alike."""
    model = stir(build(positions="rotary", prompts=False))
    given = batch(model, length=8, padded=False)

    def later(t: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(t[:, :3]), t], dim=1)

    features = {name: later(x) for name, x in given.features.items()}
    with torch.no_grad():
        said = model(given.features, given.observed_BUM, given.valid_BU).joint_BUC
        again = model(features, later(given.observed_BUM), later(given.valid_BU)).joint_BUC
    assert torch.allclose(again[:, 3:], said, atol=1e-5)


def test_momentum_is_the_share_of_what_came_back() -> None:
    """With λ = 1 nothing of the second block's prompts is heard."""
    for momentum, heard in ((1.0, False), (0.5, True)):
        model = stir(build(blocks=2, prompt_momentum=momentum))
        given = batch(model)
        said = answers(model, given)
        with torch.no_grad():
            for parameter in model.generators[1].parameters():
                parameter.add_(1.0)
        assert torch.equal(said, answers(model, given)) != heard


def test_prompts_that_are_heard_are_scaled_up_to_all_sources() -> None:
    exchange, observed = Exchange(3, "rescale"), torch.tensor([True, True, False])[:, None, None]
    received = exchange.silence_missing(torch.ones(3, 1, 1, 4), observed)[:, 0, 0]
    assert received.tolist() == [[2, 2, 0, 0], [2, 2, 0, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize(("stage", "weight", "rebuild"), [(BRANCHES, 1.0, 0.5), (JOINT, 0.25, 0.125)])
def test_terms_count_where_their_modality_is_observed(stage: str, weight: float, rebuild: float) -> None:
    weights = {"branch_weight": 0.25, "reconstruction_weight": 0.5, "reconstruction_weight_joint": 0.125}
    model: Comp = stir(build(**weights, label_smoothing=0.0)).train()
    given = batch(model)
    output = model(given.features, given.observed_BUM, given.valid_BU, stage=stage)
    terms = model.losses(output, given, stage)
    for u, name in enumerate(model.modalities):
        here = given.observed_BUM[..., u]
        branch = functional.cross_entropy(output.branch[name][here], given.target_BU[here])
        assert torch.allclose(terms[f"branch_{name}"], weight * branch)
        error = functional.mse_loss(output.reconstruction[name][here], given.features[name][here])
        assert torch.allclose(terms[f"rebuild_{name}"], rebuild * error)


@pytest.mark.parametrize(("stage1", "weight", "rebuilds"), [(True, 0.5, True), (True, 0.0, False), (False, 0.5, False)])
def test_the_first_stage_rebuilds_the_features_whatever_the_second_does(
    stage1: bool, weight: float, rebuilds: bool
) -> None:
    model = build(stage1=stage1, reconstruction_weight=weight).train()
    given = batch(model)
    stage = model.stages[0]
    output = model(given.features, given.observed_BUM, given.valid_BU, stage=stage)
    assert any(name.startswith("rebuild_") for name in model.losses(output, given, stage)) == rebuilds


def test_the_branches_are_normalised_once_after_all_blocks() -> None:
    assert [block.final_norm is not None for block in build(blocks=3).blocks] == [False, False, True]


def test_sharpness_stays_within_its_limits() -> None:
    assignment = Assignment(1, CompSettings(hidden=4, heads=1))
    generator = torch.Generator().manual_seed(0)
    rows, bank = torch.randn(3, 4, generator=generator), torch.randn(5, 4, generator=generator)
    cosine = functional.normalize(rows, dim=-1) @ functional.normalize(bank, dim=-1).T
    with torch.no_grad():
        for learned, sharpness in zip((-20.0, 20.0), SHARPNESS_LIMITS, strict=True):
            assignment.log_sharpness.fill_(learned)
            mixed = assignment(rows[None, None], bank[None, None], InstanceWeights())[0, 0]
            assert torch.allclose(mixed, (sharpness * cosine).softmax(dim=-1) @ bank, atol=1e-4)


def test_a_soft_coordinator_starts_by_preferring_what_is_there() -> None:
    coordinator = Coordinator(2, CompSettings(hidden=4, heads=1))
    observed, valid = torch.tensor([[[True, True]], [[True, False]]]), torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        coordinator.router[2].weight.zero_()  # the branches do not matter
        weight_BUM = coordinator(torch.randn(2, 1, 2, 4), observed, valid, Padded(valid))
    assert weight_BUM[0, 0].tolist() == [1, 1]
    assert torch.allclose(weight_BUM[0, 1], 2 * torch.tensor([0.0, SOFT_START]).softmax(0))


def test_the_regulator_compares_with_observed_modalities_alone() -> None:
    error = torch.rand(3, 1, 40, generator=torch.Generator().manual_seed(0))
    observed, counted = torch.ones(3, 1, 40, dtype=torch.bool), torch.ones(1, 40, dtype=torch.bool)
    observed[2] = False
    elsewhere = error.clone()
    elsewhere[2] += 9.0
    elsewhere[2, 0, ::2] = 0.0
    said, again = (instance_weights(e, observed, counted, CompSettings()) for e in (error, elsewhere))
    assert not torch.equal(said[:2], torch.ones_like(said[:2]))
    assert torch.equal(said, again)
