"""What the baselines that are networks promise beyond what every model has to do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from imer.core.errors import UsageError
from imer.models.base import BRANCHES, ModelSpec
from imer.models.baselines.common import JointSequenceSettings, NetworkSettings, SequenceSettings, prior_answer
from imer.models.baselines.dialogue import DialogueEncoder
from imer.models.baselines.mlp import MlpSettings, hide_some
from imer.models.baselines.momke import Momke
from imer.models.baselines.separate import LateFusion, Unimodal, UnimodalSettings
from imer.models.baselines.transformer import Transformer
from imer.models.heads.linear import LinearHead, LinearSettings

SPEC = ModelSpec({"audio": 5, "text": 7, "visual": 4}, "classification", 3)
SMALL: dict[str, Any] = {"hidden": 16, "heads": 2, "dropout": 0.0, "input_dropout": 0.0}
VALID = torch.ones(2, 6, dtype=torch.bool)
FEATURES = {m: torch.randn(2, 6, d, generator=torch.Generator().manual_seed(d)) for m, d in SPEC.modalities.items()}
OBSERVED = torch.rand(2, 6, 3, generator=torch.Generator().manual_seed(0)) < 0.5


def test_late_fusion_is_the_mean_of_the_observed_modalities_answers() -> None:
    model = LateFusion(SPEC, SequenceSettings(**SMALL)).eval()
    model.start_stage("joint", {"target_N": torch.tensor([0, 0, 1, 2])})
    said = model(FEATURES, OBSERVED, VALID)
    for b in range(2):
        for i in range(6):
            heard = [said.branch[m][b, i] for u, m in enumerate(SPEC.modalities) if OBSERVED[b, i, u]]
            expected = torch.stack(heard).mean(dim=0) if heard else torch.tensor([0.5, 0.25, 0.25]).log()
            assert torch.allclose(said.joint_BUC[b, i], expected, atol=1e-6)


def test_one_modality_alone_hears_no_other_and_falls_back_to_the_prior() -> None:
    model = Unimodal(SPEC, UnimodalSettings(**SMALL, modality="text")).eval()
    model.start_stage("joint", {"target_N": torch.tensor([0, 0, 1, 2])})
    said = model(FEATURES, OBSERVED, VALID).joint_BUC
    other = {m: x if m == "text" else x + 5 for m, x in FEATURES.items()}
    flipped = ~OBSERVED
    flipped[..., 1] = OBSERVED[..., 1]
    assert torch.equal(model(other, flipped, VALID).joint_BUC, said)
    unseen = ~OBSERVED[..., 1]
    assert unseen.any()
    assert torch.allclose(said[unseen].exp(), torch.tensor([0.5, 0.25, 0.25]).expand(int(unseen.sum()), 3))


@pytest.mark.parametrize(("name", "message"), [("", "Name the modality to use alone"), ("txt", "did you mean 'text'")])
def test_one_modality_alone_needs_its_name(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Unimodal(SPEC, UnimodalSettings(**SMALL, modality=name))


def test_the_prior_is_that_of_the_labels() -> None:
    assert prior_answer(torch.tensor([0, 0, 1, 1]), SPEC).exp()[:2].tolist() == [0.5, 0.5]
    assert math.isfinite(prior_answer(torch.tensor([0, 0, 1, 1]), SPEC)[2])
    regression = ModelSpec(SPEC.modalities, "regression", 1)
    assert prior_answer(torch.tensor([1.0, 2.0]), regression).tolist() == [1.5]


def test_modality_dropout_hides_some_and_never_all() -> None:
    torch.manual_seed(0)
    kept = hide_some(torch.ones(20, 50, 3, dtype=torch.bool), 0.5)
    assert kept.any(dim=-1).all()
    assert 0.6 < kept.float().mean() < 0.65  # half, and the eighth that would have lost all three
    nothing = torch.zeros(1, 2, 3, dtype=torch.bool)
    assert torch.equal(hide_some(nothing, 0.5), nothing)


def test_experts_of_the_first_stage_are_each_modalitys_own() -> None:
    torch.manual_seed(0)
    model = Momke(SPEC, JointSequenceSettings(**SMALL), LinearHead(SPEC, 16, LinearSettings())).eval()
    before = model(FEATURES, OBSERVED, VALID, stage=BRANCHES).branch
    mixed = model(FEATURES, OBSERVED, VALID).branch
    for u, changed in enumerate(SPEC.modalities):
        kept = {name: tensor.clone() for name, tensor in model.modality_state(u).items()}
        for tensor in model.modality_state(u).values():
            tensor.add_(0.3)
        after = model(FEATURES, OBSERVED, VALID, stage=BRANCHES).branch
        assert all(torch.equal(after[name], before[name]) == (name != changed) for name in before)
        after = model(FEATURES, OBSERVED, VALID).branch  # in the joint stage every expert serves all
        assert not any(torch.equal(after[name], mixed[name]) for name in before)
        for name, tensor in model.modality_state(u).items():
            tensor.copy_(kept[name])


def stirred(model: Any) -> Any:
    """Move every parameter away from where it starts."""
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=drawn) * 0.3)
    return model.eval()


def test_a_mixture_is_what_all_experts_make_of_a_modality_by_its_own_router() -> None:
    settings = JointSequenceSettings(**SMALL)
    model = stirred(Momke(SPEC, settings, LinearHead(SPEC, 16, LinearSettings())))
    said = model(FEATURES, OBSERVED, VALID)
    own = model.entrance(FEATURES, OBSERVED)
    for u, name in enumerate(SPEC.modalities):
        share = model.routers[name](own[u]).softmax(dim=-1)
        made = [expert(own[u], VALID) for expert in model.experts.values()]
        mixture = sum(share[..., [k]] * one for k, one in enumerate(made))
        assert torch.allclose(said.extra["branches"][u], mixture, atol=1e-5)
        assert torch.allclose(said.branch[name], model.branch_heads[name](mixture), atol=1e-5)


def test_a_branch_of_the_transformer_is_what_it_says_itself_and_what_the_dialogue_says() -> None:
    model = stirred(Transformer(SPEC, JointSequenceSettings(**SMALL), LinearHead(SPEC, 16, LinearSettings())))
    said = model(FEATURES, OBSERVED, VALID)
    own = model.entrance(FEATURES, OBSERVED)
    for u, name in enumerate(SPEC.modalities):
        assert torch.allclose(said.extra["branches"][u], own[u] + model.encoder(own.sum(dim=0), VALID), atol=1e-5)
        assert torch.allclose(said.branch[name], model.branch_heads[name](own[u]), atol=1e-5)


def test_a_dialogue_is_encoded_as_by_torchs_own_pre_norm_transformer() -> None:
    """Behind the sum over the neighbours, and with padding that nobody reads."""
    settings = SequenceSettings(**SMALL)
    encoder = stirred(DialogueEncoder(settings))
    valid = torch.arange(6) < torch.tensor([[6], [4]])
    x = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(4))
    real = (x * valid[..., None]).transpose(1, 2)
    expected = x + encoder.neighbours(real).transpose(1, 2)
    for layer in encoder.layers:
        theirs = torch.nn.TransformerEncoderLayer(16, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True).eval()
        theirs.load_state_dict({
            "self_attn.in_proj_weight": layer.query_key_value.weight, "self_attn.in_proj_bias": layer.query_key_value.bias,
            "self_attn.out_proj.weight": layer.out.weight, "self_attn.out_proj.bias": layer.out.bias,
            "linear1.weight": layer.mlp[0].weight, "linear1.bias": layer.mlp[0].bias,
            "linear2.weight": layer.mlp[3].weight, "linear2.bias": layer.mlp[3].bias,
            "norm1.weight": layer.norm_attention.weight, "norm1.bias": layer.norm_attention.bias,
            "norm2.weight": layer.norm_mlp.weight, "norm2.bias": layer.norm_mlp.bias,
        })  # fmt: skip
        expected = theirs(expected, src_key_padding_mask=~valid)
    assert torch.allclose(encoder(x, valid)[valid], encoder.norm(expected)[valid], atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (NetworkSettings, {"hidden": 0}), (NetworkSettings, {"dropout": 1.0}), (NetworkSettings, {"regression_loss": "l3"}),
        (SequenceSettings, {"layers": 0}), (SequenceSettings, {"heads": 3}), (SequenceSettings, {"position_width": 4}),
        (MlpSettings, {"modality_dropout": 1.0}), (JointSequenceSettings, {"branch_weight": -1.0}),
        (NetworkSettings, {"clip_z": -1.0}), (SequenceSettings, {"feed_forward": 0.0}),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(kind: type, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        kind(**wrong)
