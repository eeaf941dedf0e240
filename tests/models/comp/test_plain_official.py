"""The public code's network against a plain one in float64, written from its description: answers, losses, every gradient."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imer.batches.batch import Batch
from imer.models.base import BRANCHES, JOINT, ModelSpec
from imer.models.comp.official import OfficialComp, OfficialSettings

WIDTHS = {"audio": 5, "text": 7, "visual": 4}
LENGTH, HIDDEN, HEADS, PROMPT = 7, 8, 2, 3


class PlainOfficial:
    """Features [B, U, D] by modality; everything is of all slots, padding included, as in the public code."""

    def __init__(self, model: OfficialComp) -> None:
        self.parameters = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
        self.momentum = model.settings.prompt_momentum

    def linear(self, x: Tensor, name: str, u: int | None = None) -> Tensor:
        weight, bias = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        return functional.linear(x, weight, bias) if u is None else x @ weight[u] + bias[u].view(-1)

    def mlp(self, x: Tensor, name: str, u: int) -> Tensor:
        return self.linear(functional.gelu(self.linear(x, f"{name}.inner", u)), f"{name}.outer", u)

    def layers(self, x: Tensor, seen: Tensor, u: int, *stacks: str) -> Tensor:
        """x + y + MLP(y), twice a stack; y reads the dialogue's observed rows, or is 0."""
        for name in (f"{stack}.{number}" for stack in stacks for number in range(2)):
            read = []
            for x_UH, here in zip(x, seen, strict=True):
                query, key, value = self.linear(x_UH, f"{name}.query_key_value", u).chunk(3, dim=-1)
                parts = [slice(h * HIDDEN // HEADS, (h + 1) * HIDDEN // HEADS) for h in range(HEADS)]
                shares = [(query[:, p] @ key[here][:, p].T / (HIDDEN // HEADS) ** 0.5).softmax(-1) for p in parts]
                y = torch.cat([share @ value[here][:, p] for share, p in zip(shares, parts, strict=True)], dim=-1)
                read.append(y if here.any() else torch.zeros_like(x_UH))
            y = torch.stack(read)
            x = x + y + self.mlp(y, f"{name}.mlp", u)
        return x

    def prompt(self, x: Tensor, prototypes: Tensor, number: int, u: int) -> Tensor:
        """Without a temperature, and over the prototypes of the whole batch."""
        share = functional.cosine_similarity(x.unsqueeze(-2), prototypes, dim=-1).softmax(-1)
        name = f"generators.{number}"
        return self.mlp(share @ prototypes, f"{name}.from_prototypes", u) + self.linear(x, f"{name}.from_branch", u)

    def answer(self, given: Batch, stage: str) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
        """Return the joint answer, the branches', and the loss terms of classification."""
        seen = [given.observed_BUM[..., u] for u in range(3)]
        shown = [torch.where(o[..., None], x.double(), 0.0) for o, x in zip(seen, given.features.values(), strict=True)]
        entered = [self.linear(x, f"enter.{name}") for x, name in zip(shown, WIDTHS, strict=True)]
        shared, private = (
            [self.mlp(h, name, u) for u, h in enumerate(entered)] for name in ("to_shared", "to_private")
        )
        terms = {"distance": torch.stack(list(distances(shared, private, given.valid_BU))).sum()}
        if stage == BRANCHES:
            branches = [self.layers(shared[u], seen[u], u, "before", "after") for u in range(3)]
            private_said = [self.layers(private[0], seen[u], u, "before", "after") for u in range(3)]
            for u, name in enumerate(WIDTHS):
                terms[f"private_{name}"] = cost(1 - self.linear(private_said[u], "branch_heads", u), given)
        else:
            branches = self.propagated(shared, seen)
            rebuilt = [self.mlp(torch.cat([shared[u], private[u]], -1), "decoder", u) for u in range(3)]
            terms["rebuild"] = (torch.stack(rebuilt) - torch.stack(entered)).square().mean()
        said = [self.linear(x, "branch_heads", u) for u, x in enumerate(branches)]
        for name, one in zip(WIDTHS, said, strict=True):
            terms[f"branch_{name}"] = (1 if stage == BRANCHES else 2) * cost(one, given)
        if stage == BRANCHES:
            branches = [torch.where(o[..., None], x, 0.0) for o, x in zip(seen, branches, strict=True)]
        told = functional.gelu(self.linear(torch.cat(branches, -1), "router.0"))
        share = self.linear(told, "router.3").softmax(-1)
        fused = torch.cat([share[..., [u]] * x for u, x in enumerate(branches)], dim=-1)
        joint = self.linear(fused + self.linear(fused, "mix").relu(), "classify")
        if stage == JOINT:
            terms["joint"] = cost(joint, given)
        return joint, said, terms

    def propagated(self, shared: list[Tensor], seen: list[Tensor]) -> list[Tensor]:
        others = [[v for v in range(3) if v != u] for u in range(3)]
        along = [functional.pad(x, (0, 0, 0, LENGTH - x.shape[1])).transpose(1, 2) for x in shared]
        prototypes = [self.mlp(x, "prototypes.compress", u).transpose(1, 2).flatten(0, 1) for u, x in enumerate(along)]
        first = [self.prompt(shared[u], prototypes[u], 0, u) for u in range(3)]
        z, returned = [], []
        for u in range(3):
            x = self.linear(torch.cat([shared[u], *(first[v] for v in others[u])], -1), "fuse.0", u)
            back = self.mlp(self.layers(x, seen[u], u, "before"), "back", u)
            z.append(back[..., :HIDDEN])
            returned.append(back[..., HIDDEN:].split(PROMPT, dim=-1))
        second = [self.prompt(z[u], prototypes[u], 1, u) for u in range(3)]
        branches = []
        for u in range(3):
            mixed = [self.momentum * returned[u][i] + (1 - self.momentum) * second[v] for i, v in enumerate(others[u])]
            branches.append(self.layers(self.linear(torch.cat([z[u], *mixed], -1), "fuse.1", u), seen[u], u, "after"))
        return branches


def cost(answer: Tensor, given: Batch) -> Tensor:
    counted = given.labelled_BU
    return functional.cross_entropy(answer[counted], given.target_BU[counted])


def distances(shared: list[Tensor], private: list[Tensor], valid: Tensor) -> Iterator[Tensor]:
    for u, v in ((0, 1), (0, 2), (1, 2)):
        for a, b in ((private[u], private[v]), (private[u], shared[u]), (private[v], shared[v])):
            yield functional.cosine_similarity(a[valid], b[valid], dim=-1).abs().mean()
        p, q = shared[u].sigmoid(), shared[v].sigmoid()
        yield sum((x * (x / ((p + q) / 2)).log()).sum(-1).mean() for x in (p, q)) / 2


@pytest.mark.parametrize("stage", [BRANCHES, JOINT])
def test_the_network_is_the_plain_one(stage: str) -> None:
    torch.manual_seed(0)
    settings = OfficialSettings(
        hidden=HIDDEN, heads=HEADS, prompt_width=PROMPT, n_prototypes=4, dropout=0.0, longest_dialogue=LENGTH
    )
    model = OfficialComp(ModelSpec(WIDTHS, "classification", 3), settings).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    valid = torch.arange(6) < torch.tensor([[6], [4], [1]])
    observed = (torch.rand(3, 6, 3) < 0.6) & valid[..., None]
    observed[1, :, 2] = False
    target = torch.randint(3, (3, 6))
    target[0, 1] = -1
    features = {name: torch.randn(3, 6, width) for name, width in WIDTHS.items()}
    given = Batch(features, observed, valid, target, torch.arange(18).view(3, 6), torch.zeros_like(target))

    output = model(features, observed, valid, stage=stage)
    found = model.losses(output, given, stage)
    torch.stack(list(found.values())).sum().backward()
    plain = PlainOfficial(model)
    joint, said, expected = plain.answer(given, stage)
    torch.stack(list(expected.values())).sum().backward()
    torch.testing.assert_close(output.joint_BUC[valid].double(), joint[valid], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(output.branch.values(), said, strict=True):
        torch.testing.assert_close(ours[valid].double(), theirs[valid], atol=1e-5, rtol=1e-5)
    assert {n: t.item() for n, t in found.items()} == pytest.approx(
        {n: t.item() for n, t in expected.items()}, rel=1e-5
    )
    for name, parameter in model.named_parameters():
        theirs = plain.parameters[name].grad
        torch.testing.assert_close(
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad,
            torch.zeros_like(parameter) if theirs is None else theirs.float(),
            atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}",
        )  # fmt: skip
