"""The model against the plain one of `plain.py`: answers, loss terms, the regulator's weights, and every gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imer.batches.batch import Batch
from imer.models.base import BRANCHES, JOINT
from imer.models.comp.model import Comp
from imer.models.comp.settings import CompSettings
from tests.models.comp.build import batch, build
from tests.models.comp.plain import PlainComp, Said

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "hard": {"coordinator_mask": "hard"},
    "as published": {"coordinator_mask": "none", "prompts_from_missing": True, "final_norm": False, "positions": "none",
                     "attention": "published", "prototypes": "batch", "longest_dialogue": 9, "prompt_head": "paper",
                     "regulator": "paper", "prompt_momentum": 0.3, "layers": 2, "identity_start": False},
    "causal": {"causal": True},
    "rotary, case prompts": {"positions": "rotary", "missing_prompts": "case", "missing_prompt_length": 2},
    "modality prompts, valid keys": {"missing_prompts": "modality", "missing_prompt_length": 1, "keys": "valid"},
    "dialogue prototypes": {"prototypes": "dialogue", "prompt_aggregation": "rescale", "blocks": 3},
    "hard down": {"regulator_direction": "hard_down", "regulator_strength": 1.5, "regulator_limit": 1.5},
    "paper's regulator": {"regulator": "paper"},
}  # fmt: skip
EXACT = {"label_smoothing": 0.0, "reconstruction_weight": 0.3, "reconstruction_weight_joint": 0.2, "branch_weight": 0.7}


def stirred(n: int, **settings: Any) -> Comp:
    """Return a model whose parameters are far from where they start, in training (it has no dropout)."""
    model = build(n, head={"label_smoothing": 0.0, "late_fusion": 0.5}, **{**EXACT, **settings})
    generator = torch.Generator().manual_seed(1)
    far = 0.2 if model.settings.attention == "pre_norm" else 0.05  # without norms everything grows
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * far)
    return model.train()


def some(model: Comp) -> Batch:
    """Return dialogues of 7, 6, 5 and 4 utterances: some are unlabelled, some without anything, one dialogue has no audio.

    All are of 7 where prototypes are made of the batch, padding included.
    """
    given = batch(model, length=7, observed=0.75, padded=model.settings.prototypes != "batch")
    given.observed_BUM[1, :, 0] = False
    given.observed_BUM[0, 2] = False
    given.target_BU[0, :2] = torch.nan if given.target_BU.is_floating_point() else -1
    return given


def by_dialogue(model: Comp, given: Batch) -> tuple[list[list[Tensor]], list[Tensor], list[Tensor]]:
    """Return features, what is observed and the targets of each dialogue without its padding."""
    lengths = given.valid_BU.sum(dim=1).tolist()
    cut = [slice(0, length) for length in lengths]
    features = [[given.features[name][b, c] for name in model.modalities] for b, c in enumerate(cut)]
    return (
        features,
        [given.observed_BUM[b, c] for b, c in enumerate(cut)],
        [given.target_BU[b, c] for b, c in enumerate(cut)],
    )


def terms(plain: PlainComp, said: list[Said], xs: list[list[Tensor]], seen: Tensor, target: Tensor, stage: str) -> Any:
    """Return the loss terms: means over the labelled utterances that count."""
    settings, regression = plain.settings, target.is_floating_point()
    known = torch.isfinite(target) if regression else target >= 0

    def cost(answer: Tensor, counted: Tensor) -> Tensor:
        if regression:
            return (answer[counted, 0] - target[counted]).square().mean()
        return functional.cross_entropy(answer[counted], target[counted])

    found = {} if stage == BRANCHES else {"joint": cost(torch.cat([one.joint for one in said]), known)}
    weight, rebuild = (1.0, settings.reconstruction_weight) if stage == BRANCHES else (
        settings.branch_weight, settings.reconstruction_weight_joint)  # fmt: skip
    for u, name in enumerate(plain.names):
        here = seen[:, u]
        found[f"branch_{name}"] = weight * cost(torch.cat([one.uni[u] for one in said]), known & here)
        error = torch.cat([one.rebuilt[u] for one in said]) - torch.cat([x[u] for x in xs])
        found[f"rebuild_{name}"] = rebuild * error[here].square().mean()
    return found


def regulator(settings: CompSettings, answers: Tensor, seen: Tensor, target: Tensor) -> np.ndarray:
    """Return w [M, N] of all instances, from the branches' answers [M, N, C]."""
    regression = target.is_floating_point()
    known = (torch.isfinite(target) if regression else target >= 0).numpy()
    if regression:
        error = (answers[..., 0] - target).abs().numpy()
    else:
        error = 1 - answers.softmax(-1)[:, torch.arange(len(target)), target.clamp(min=0)].numpy()
    here = seen.numpy().T & known
    weight = np.ones(here.shape)
    for u in range(len(here)):
        pairs = {v: here[u] & here[v] for v in range(len(here)) if v != u}
        compared = np.flatnonzero(sum(pairs.values()))
        if settings.regulator == "paper":
            quotient = {}
            for v, both in pairs.items():
                d = np.where(both, error[u] - error[v], 0.0)
                quotient[v] = 1 - d / d.sum() if abs(d.sum()) > 1e-3 * abs(d).sum() else np.ones(len(d))
            for i in compared:
                weight[u, i] = np.clip(np.mean([quotient[v][i] for v in pairs if pairs[v][i]]), 0, 2)
            continue
        worse = np.array([np.mean([error[u, i] - error[v, i] for v in pairs if pairs[v][i]]) for i in compared])
        assert len(compared) >= 8
        sign = 1 if settings.regulator_direction == "hard_up" else -1
        z = sign * settings.regulator_strength * (worse - worse.mean()) / (worse.std(ddof=1) + 1e-6)
        gain = np.exp(z).clip(1 / settings.regulator_limit, settings.regulator_limit)
        weight[u, compared] = gain / gain.mean()
    return weight


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("stage", [BRANCHES, JOINT])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_model_is_the_plain_one(variant: str, stage: str, task: str) -> None:
    model = stirred(3, task=task, **VARIANTS[variant])
    given, plain = some(model), PlainComp(model)
    output = model(given.features, given.observed_BUM, given.valid_BU, stage=stage)
    found = model.losses(output, given, stage)
    torch.stack(list(found.values())).sum().backward()

    xs, seen, targets = by_dialogue(model, given)
    all_seen, target = torch.cat(seen), torch.cat(targets)
    said = plain.answer(xs, seen, stage)
    if stage == JOINT:
        answers = torch.stack([answer[given.valid_BU] for answer in output.branch.values()])
        # Of the model's own answers: the published quotient makes much of their last digit.
        weight = torch.from_numpy(regulator(model.settings, answers.detach().double(), all_seen, target))
        torch.testing.assert_close(model.bank_weights.value[:, given.valid_BU].double(), weight, atol=1e-3, rtol=1e-3)
        said = plain.answer(xs, seen, stage, [list(w.split([len(o) for o in seen])) for w in weight])
        real = given.valid_BU
        torch.testing.assert_close(
            output.joint_BUC[real].double(), torch.cat([s.joint for s in said]), atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            output.weight_BUM[real].double(), torch.cat([s.weight for s in said]), atol=1e-5, rtol=1e-5
        )
    expected = terms(plain, said, xs, all_seen, target, stage)
    assert {name: term.item() for name, term in found.items()} == pytest.approx(
        {name: term.item() for name, term in expected.items()}, rel=1e-4
    )
    torch.stack(list(expected.values())).sum().backward()
    for name, parameter in model.named_parameters():
        theirs = plain.parameters[name].grad
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        theirs = torch.zeros_like(gradient) if theirs is None else theirs.to(gradient.dtype)
        scale = theirs.abs().max().clamp(min=1.0)
        torch.testing.assert_close(
            gradient / scale, theirs / scale, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("n_modalities", [2, 4])
def test_with_more_and_fewer_modalities(n_modalities: int) -> None:
    model = stirred(n_modalities, coordinator_mask="hard")
    given, plain = some(model), PlainComp(model)
    output = model(given.features, given.observed_BUM, given.valid_BU)
    xs, seen, _ = by_dialogue(model, given)
    joint = torch.cat([one.joint for one in plain.answer(xs, seen, JOINT)])
    torch.testing.assert_close(output.joint_BUC[given.valid_BU].double(), joint, atol=1e-4, rtol=1e-4)
