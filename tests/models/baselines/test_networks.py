"""What the baselines that are networks promise beyond what every model has to do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from imer.core.errors import UsageError
from imer.models.base import BRANCHES, ModelSpec
from imer.models.baselines.common import JointSequenceSettings, NetworkSettings, SequenceSettings, prior_answer
from imer.models.baselines.mlp import MlpSettings, hide_some
from imer.models.baselines.momke import Momke
from imer.models.baselines.separate import LateFusion, Unimodal, UnimodalSettings
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
