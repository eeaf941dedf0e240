"""The DPL head against a plain one, utterance by utterance and class by class in float64: answers, losses, every gradient."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from imer.models.heads.dpl import DPLHead
from tests.models.heads.builders import MODALITIES, SHARING, every_case, given, head

CASES = [tuple(u for u in range(3) if code >> u & 1) for code in range(8)]  # by code
LOSSES = {"contrast_weight": 0.4, "delta_penalty": 0.05, "learn_scale": "always", "scale": 9.0, "dropout": 0.0}


class PlainHead:
    """The head's answers and loss terms from the definitions; `parameters` are float64 leaves of autograd.

    voted  (case, modality): where a modality voted in training
    """

    def __init__(self, head: DPLHead, voted: set[tuple[int, int]]) -> None:
        self.voted = voted
        self.settings, self.classes = head.settings, head.readout.n_classes
        self.axis, self.regression = head.readout.axis, head.spec.task == "regression"
        self.parameters = {n: p.detach().double().requires_grad_() for n, p in head.named_parameters()}

    def cases_of(self, u: int) -> list[int]:
        """The cases in which modality u has prototypes, by rising code."""
        return [code for code in range(1, 8) if u in CASES[code] or self.settings.absent != "zero"]

    def prototype(self, code: int, u: int) -> Tensor:
        """w^{O,u}, [K, H], before normalisation."""
        sharing, row = self.settings.sharing, self.cases_of(u).index(code)

        def of(kind: str) -> Tensor:
            return self.parameters[f"prototypes.prototypes.{kind}.{MODALITIES[u]}"]

        if sharing == "full":
            return of("own")[row]
        if sharing == "cardinality":
            return of("own")[len(CASES[code]) - 1]
        common = normalize(of("common"), dim=-1)
        if sharing == "delta":
            return common + of("offset")[row]
        if sharing == "additive":
            causes = [v for v in range(3) if v != u]
            return common + sum(of("offset")[i] for i, v in enumerate(causes) if v not in CASES[code])
        return common

    def cosine(self, branches_MH: Tensor, weight_M: Tensor, code: int) -> Tensor:
        """z, [K]."""
        observed = CASES[code]
        voters = [u for u in range(3) if (code, u) in self.voted]
        h = {}
        for u in voters:
            layer = f"refiners.{MODALITIES[u]}.layer"
            mixed = self.parameters[f"{layer}.weight"] @ branches_MH[u] + self.parameters[f"{layer}.bias"]
            h[u] = branches_MH[u] + mixed.relu()
        w = {u: self.prototype(code, u) for u in voters}
        if self.settings.normalise == "joint":
            return cosine_similarity(torch.cat([*h.values()])[None], torch.cat([*w.values()], dim=-1), dim=-1)
        mean = sum(weight_M[u] for u in observed) / len(observed)
        vote = {u: weight_M[u] for u in voters}
        if self.settings.absent == "trainable":
            vote.update({u: mean for u in voters if u not in observed})
        if self.settings.coordinator == "off":
            vote = dict.fromkeys(voters, 1.0)
        return sum(vote[u] * cosine_similarity(h[u][None], w[u], dim=-1) for u in voters) / sum(vote.values())

    def scale(self, code: int) -> Tensor:
        low, high = self.settings.scale_low, self.settings.scale_high
        return low * (high / low) ** self.parameters["readout.scale_place_C"][code].sigmoid()

    def said(self, z_K: Tensor, code: int, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the answer [C] of an utterance, and what it costs."""
        if self.axis:
            value = self.parameters["readout.reach"] * z_K + self.parameters["readout.bias_C"][code]
            return value, {"joint": (value[0] - target) ** 2}
        logit_K = self.scale(code) * z_K
        if self.regression:
            bins = torch.linspace(-3, 3, 7, dtype=torch.float64)
            value = logit_K.softmax(0) @ bins
            y = min(max(float(target), -3.0), 3.0)
            low = min(math.floor(y), 2)
            log_p = logit_K.log_softmax(0)
            entropy = -(low + 1 - y) * log_p[low + 3] - (y - low) * log_p[low + 4]
            return value[None], {"joint": (value - target) ** 2, "bins": entropy}
        few = (3 - len(CASES[code])) / 2
        margin = (1 - few) * self.settings.margin_complete + few * self.settings.margin_single
        z, k = z_K[int(target)], int(target)
        phi = z - margin * math.sin(margin) if z <= -math.cos(margin) else (z.acos() + margin).cos()
        logit_with = torch.stack([self.scale(code) * (phi if j == k else z_K[j]) for j in range(self.classes)])
        return logit_K, {"joint": -logit_with.log_softmax(0)[k]}

    def contrast(self, u: int) -> Tensor:
        """The contrastive loss among the distinct prototypes of a modality."""
        codes = [code for code in self.cases_of(u) if (code, u) in self.voted]
        if self.settings.sharing == "shared":
            codes = codes[:1]
        if self.settings.sharing == "cardinality":
            codes = list({len(CASES[code]): code for code in codes}.values())
        p = [normalize(self.prototype(code, u), dim=-1) for code in codes]
        anchors = []
        for v, k in product(range(len(p)), range(self.classes)):
            alike = [p[v][k] @ p[other][k] for other in range(len(p)) if other != v]
            rest = [
                (abs(j - k) / (self.classes - 1) if self.regression and j != k else 1.0) * (p[v][k] @ p[other][j]).exp()
                for other, j in product(range(len(p)), range(self.classes)) if (other, j) != (v, k)
            ]  # fmt: skip
            if alike:
                anchors.append(torch.stack(rest).sum().log() - torch.stack(alike).mean())
        return torch.stack(anchors).mean() if anchors else torch.zeros((), dtype=torch.float64)


def compare(settings: dict[str, Any], task: str) -> None:
    ours = head(task, **{**LOSSES, "refine": True, **settings}).train()
    drawn = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=drawn) * 0.3)
    codes = (every_case().long() * torch.tensor([1, 2, 4])).sum(-1).tolist()
    weight = torch.rand(1, len(codes), 3, generator=drawn) + 0.1
    voted = {(code, u) for code in range(1, 8) for u in CASES[code]}
    if ours.settings.absent == "trainable":
        voted = set(product(range(1, 8), range(3)))
    elif ours.settings.absent == "heard":  # each absent modality in some of the cases
        voted |= {(0b001, 1), (0b010, 0), (0b010, 2), (0b110, 0)}
        weight[0] *= torch.tensor([[(code, u) in voted for u in range(3)] for code in codes])
    plain = PlainHead(ours, voted)
    asked = replace(given(n_outputs=4 if task == "classification" else 1), weight_BUM=weight)
    target = torch.rand(1, len(codes), generator=drawn) * 8 - 4
    target = target if task == "regression" else (target.abs() % 4).long()

    output = ours(asked)
    found = ours.losses(output, target, torch.ones_like(target, dtype=torch.bool))
    torch.stack(list(found.values())).sum().backward()

    said = []
    for i, code in enumerate(codes):
        z_K = plain.cosine(asked.branches_MBUH[:, 0, i].double(), weight[0, i].double(), code)
        said.append(plain.said(z_K, code, target[0, i].double()))
    torch.testing.assert_close(
        output.answer_BUC[0].double(), torch.stack([one for one, _ in said]), atol=1e-5, rtol=1e-5
    )
    expected = {name: torch.stack([costs[name] for _, costs in said]).mean() for name in said[0][1]}
    if not plain.axis:
        expected["contrast"] = 0.4 * torch.stack([plain.contrast(u) for u in range(3)]).mean()
    if offsets := [p for n, p in plain.parameters.items() if ".offset." in n]:
        expected["offsets"] = 0.05 * torch.cat([o.square().sum(-1).flatten() for o in offsets]).mean()
    assert {n: t.item() for n, t in found.items()} == pytest.approx(
        {n: t.item() for n, t in expected.items()}, rel=1e-5
    )
    torch.stack(list(expected.values())).sum().backward()
    for name, parameter in ours.named_parameters():
        theirs = plain.parameters[name].grad
        torch.testing.assert_close(
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad,
            torch.zeros_like(parameter) if theirs is None else theirs.float(),
            atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}",
        )  # fmt: skip


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("absent", ["zero", "heard", "trainable"])
@pytest.mark.parametrize("sharing", SHARING)
def test_the_head_is_the_plain_one(sharing: str, absent: str, task: str) -> None:
    compare({"sharing": sharing, "absent": absent}, task)


@pytest.mark.parametrize("settings", [{"normalise": "joint"}, {"coordinator": "off"}])
def test_the_same_without_blocks_and_without_weights(settings: dict[str, Any]) -> None:
    compare(settings, "classification")


def test_the_same_with_an_axis() -> None:
    compare({"decoder": "axis", "sharing": "delta"}, "regression")
