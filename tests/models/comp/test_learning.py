"""Every part learns in the stage where it is used, and a small set can be learnt by heart."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from imer.models.base import BRANCHES, JOINT
from imer.models.comp.prototypes import k_means
from tests.models.comp.build import batch, build, stir

USED_JOINTLY_ONLY = ("prototypes.", "generators.", "coordinator.", "head.")
NEW_IN_BLOCKS = ("fuse_own", "fuse_prompts", ".out.weight", ".out.bias", ".back.")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"coordinator_mask": "soft", "prototypes": "dialogue", "reconstruction_weight_joint": 0.1},
        {"layers": 2},
        {"blocks": 0},
        {
            "attention": "published",
            "prompt_head": "paper",
            "prototypes": "batch",
            "longest_dialogue": 8,
        },
    ],
)
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("stage", [BRANCHES, JOINT])
def test_every_parameter_gets_a_gradient_in_its_stage(stage: str, task: str, settings: dict[str, Any]) -> None:
    model = stir(build(task=task, **settings)).train()
    given = batch(model)
    output = model(given.features, given.observed_BUM, given.valid_BU, stage=stage)
    torch.stack(list(model.losses(output, given, stage).values())).sum().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    if stage == JOINT:
        settled = ["encoder.magnitudes."] if model.settings.stage1 else []
        unused = [] if settings.get("reconstruction_weight_joint") else ["decoder."]
        expected = {n for n, _ in model.named_parameters() if n.startswith((*settled, *unused))}
        assert set(dead) == expected
    else:
        own = {n for n, _ in model.named_parameters() if n.startswith(USED_JOINTLY_ONLY)}
        blocks = {
            n for n, _ in model.named_parameters()
            if n.startswith("blocks.") and ".layers." not in n and any(part in n for part in NEW_IN_BLOCKS)
        }  # fmt: skip
        assert set(dead) == own | blocks


def test_a_fresh_model_brings_its_prompts_to_life() -> None:
    """The identity start keeps prompts silent at first; a few steps must wake all of them."""
    model = build().train()
    given = batch(model, dialogues=6)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        optimiser.zero_grad()
        output = model(given.features, given.observed_BUM, given.valid_BU)
        torch.stack(list(model.losses(output, given, JOINT).values())).sum().backward()
        optimiser.step()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert all(name.startswith(("decoder.", "encoder.magnitudes.")) for name in dead)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_few_utterances_can_be_learnt_by_heart(task: str) -> None:
    model = build(task=task, label_smoothing=0.0, head={"label_smoothing": 0.0}).train()
    given = batch(model, dialogues=4, length=4, observed=1.0, padded=False)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(150):
        optimiser.zero_grad()
        output = model(given.features, given.observed_BUM, given.valid_BU)
        loss = model.losses(output, given, JOINT)["joint"]
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_batch_without_labels_or_without_a_modality_costs_nothing(task: str) -> None:
    model = stir(build(task=task)).train()
    given = batch(model)
    given.target_BU = torch.full_like(given.target_BU, -1 if task == "classification" else torch.nan)
    given.observed_BUM[..., 1] = False
    for stage in (BRANCHES, JOINT):
        model.zero_grad()
        output = model(given.features, given.observed_BUM, given.valid_BU, stage=stage)
        terms = model.losses(output, given, stage)
        torch.stack(list(terms.values())).sum().backward()
        assert all(value == 0 for name, value in terms.items() if not name.startswith("rebuild_"))
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_state_of_a_modality_is_its_own() -> None:
    """Overwriting modality u's state changes u's branch in the first stage, and no other."""
    model = stir(build())
    given = batch(model)
    with torch.no_grad():
        before = model(given.features, given.observed_BUM, given.valid_BU, stage=BRANCHES).branch
        for u, changed in enumerate(model.modalities):
            kept = {name: tensor.clone() for name, tensor in model.modality_state(u).items()}
            for tensor in model.modality_state(u).values():
                tensor.add_(0.3)
            after = model(given.features, given.observed_BUM, given.valid_BU, stage=BRANCHES).branch
            for name in model.modalities:
                assert torch.equal(after[name], before[name]) == (name != changed)
            for name, tensor in model.modality_state(u).items():
                tensor.copy_(kept[name])
        again = model(given.features, given.observed_BUM, given.valid_BU, stage=BRANCHES).branch
    assert all(torch.equal(again[name], before[name]) for name in before)


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"speaker_embedding": True}, {"missing_prompts": "case"}, {"missing_prompts": "modality"},
        {"positions": "rotary"}, {"attention": "published"}, {"final_norm": False},
    ],
)  # fmt: skip
def test_the_first_stage_is_the_states_of_its_modalities_and_nothing_else(settings: dict[str, Any]) -> None:
    """Each modality goes on from its own best epoch: were anything shared, no branch would be what validation saw."""
    model = stir(build(**settings))
    given = batch(model)
    speakers = (torch.arange(given.valid_BU.shape[1]) % 3).expand(given.valid_BU.shape) if model.uses_speakers else None

    def answers() -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return model(given.features, given.observed_BUM, given.valid_BU, stage=BRANCHES, speaker_BU=speakers).branch

    before = answers()
    kept = [{name: tensor.clone() for name, tensor in model.modality_state(u).items()} for u in range(3)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3)
    assert not any(torch.equal(after, before[name]) for name, after in answers().items())
    for u in range(3):
        for name, tensor in model.modality_state(u).items():
            tensor.copy_(kept[u][name])
    assert all(torch.equal(after, before[name]) for name, after in answers().items())


def test_k_means_finds_clusters() -> None:
    centres = torch.tensor([[10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
    rows = (centres[:, None] + torch.randn(3, 20, 2, generator=torch.Generator().manual_seed(0))).flatten(0, 1)
    found = k_means(rows, 3)
    assert torch.cdist(centres, found).min(dim=1).values.max() < 1.0


def test_the_bank_can_start_at_the_means_of_the_branches() -> None:
    model = build(bank_start="kmeans").eval()
    branches = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(0))
    before = model.prototypes.bank.detach().clone()
    observed = torch.ones(40, 3, dtype=torch.bool)
    observed[3:, 2] = False  # fewer rows than prototypes
    given = {"branches_MNH": branches, "observed_NM": observed, "target_N": torch.zeros(40).long()}
    model.start_stage(JOINT, given)
    assert not torch.equal(model.prototypes.bank[:2], before[:2])
    assert torch.equal(model.prototypes.bank[2], before[2])
