"""A mixture of modality experts with a soft router, after MoMKE (ACM MM 2024), written from its description.

Two stages. `branches` trains one expert per modality on its own modality. In `joint` every observed modality goes
through all experts, and a router weighs what they make of it; a modality that is not observed is silent. The head
reads the mixtures.

Shape suffixes: K experts (as many as modalities), M modalities, B dialogues, U padded utterances, H hidden width.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imer.batches.batch import Batch
from imer.models.base import ModelOutput, ModelSpec
from imer.models.baselines.common import JOINT, Entrance, JointSequenceSettings, TaskLoss
from imer.models.baselines.dialogue import DialogueEncoder
from imer.models.heads.base import Head, HeadInput

BRANCHES = "branches"


class Momke(nn.Module):
    """Experts per modality, shared by all modalities through routers."""

    Settings: ClassVar[type] = JointSequenceSettings
    stages: ClassVar[tuple[str, ...]] = (BRANCHES, JOINT)
    branch_stages: ClassVar[tuple[str, ...]] = (BRANCHES,)

    def __init__(self, spec: ModelSpec, settings: JointSequenceSettings, head: Head) -> None:
        super().__init__()
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        n = len(self.modalities)
        self.entrance = Entrance(self.modalities, settings)
        self.experts = nn.ModuleDict({name: DialogueEncoder(settings) for name in self.modalities})
        self.branch_heads = nn.ModuleDict(
            {name: nn.Linear(settings.hidden, spec.n_outputs) for name in self.modalities}
        )
        self.routers = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(settings.hidden, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, n)
                )
                for name in self.modalities
            }
        )
        self.head = head
        self.task_loss = TaskLoss(spec, settings)

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        observed_BUM = observed_BUM & valid_BU.unsqueeze(-1)
        own_MBUH = self.entrance(features, observed_BUM)
        if stage == BRANCHES:
            expert = self.experts.values()
            branches = torch.stack([encode(h_BUH, valid_BU) for encode, h_BUH in zip(expert, own_MBUH, strict=True)])
        else:
            branches = self._mixture(own_MBUH, valid_BU)
        answer = self.branch_heads.values()
        answers = torch.stack([head(h_BUH) for head, h_BUH in zip(answer, branches, strict=True)])
        output = ModelOutput(
            joint_BUC=answers.mean(dim=0),
            branch=dict(zip(self.modalities, answers, strict=True)),
            extra={"branches": branches},
        )
        if stage != BRANCHES:
            said = self.head(HeadInput(branches, observed_BUM, observed_BUM.to(branches.dtype), answers))
            output.joint_BUC, output.fused_BUH = said.answer_BUC, said.fused_BUH
            output.extra["head"] = said
        return output

    def _mixture(self, own_MBUH: Tensor, valid_BU: Tensor) -> Tensor:
        """Send every modality through every expert and mix by the routers: [M, B, U, H]."""
        m = own_MBUH.shape[0]
        stacked = own_MBUH.flatten(0, 1)  # [M·B, U, H]
        valid = valid_BU.repeat(m, 1)
        made_MBUHK = torch.stack([encode(stacked, valid).view_as(own_MBUH) for encode in self.experts.values()], dim=-1)
        logit = [route(h_BUH) for route, h_BUH in zip(self.routers.values(), own_MBUH, strict=True)]
        share_MBUK = torch.stack(logit).softmax(dim=-1)
        return (made_MBUHK * share_MBUK.unsqueeze(-2)).sum(dim=-1)

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        counted_BU = batch.labelled_BU
        terms: dict[str, Tensor] = {}
        if stage == JOINT:
            terms.update(self.head.losses(output.extra["head"], batch.target_BU, counted_BU))
        weight = 1.0 if stage == BRANCHES else self.settings.branch_weight
        for u, (name, answer_BUC) in enumerate(output.branch.items()):
            loss = self.task_loss(answer_BUC, batch.target_BU, counted_BU & batch.observed_BUM[..., u])
            terms[f"branch_{name}"] = weight * loss
        return terms

    def modality_state(self, u: int) -> dict[str, Tensor]:
        """Return views of everything that belongs to modality u alone in the first stage, by name."""
        name_u = list(self.modalities)[u]
        own = (f"entrance.enter.{name_u}.", f"experts.{name_u}.", f"branch_heads.{name_u}.")
        state = {name: p.data for name, p in self.named_parameters() if name.startswith(own)}
        return {**state, "entrance.missing": self.entrance.missing.data[u]}

    def start_stage(self, stage: str, given: dict[str, Any]) -> None:
        """Show the head the training utterances."""
        if stage == JOINT:
            self.head.start(given["branches_MNH"], given["observed_NM"], given["target_N"])

    def undecayed(self) -> set[str]:
        """Names of parameters without weight decay besides biases and norms."""
        return {"entrance.missing", *(f"head.{name}" for name in self.head.undecayed)}
