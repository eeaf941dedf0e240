"""What the baselines share that combine modalities: a way in, branches with answers of their own, and an output head.

Each of them says only how the encoded modalities become branches (`read`).
Shape suffixes: M modalities, B dialogues, U padded utterances, D feature width, H hidden width, C outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imer.batches.batch import Batch
from imer.models.base import JOINT, ModelOutput, ModelSpec
from imer.models.baselines.common import Entrance, NetworkSettings
from imer.models.heads.base import Head, HeadInput
from imer.models.losses import TaskLoss


class JointNetwork(nn.Module):
    """Encode each modality, make branches of them, let the head answer and every branch as well."""

    stages: ClassVar[tuple[str, ...]] = (JOINT,)
    branch_stages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: ModelSpec, settings: NetworkSettings, head: Head, branch_weight: float) -> None:
        super().__init__()
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.branch_weight = branch_weight
        self.entrance = Entrance(self.modalities, settings)
        self.branch_heads = nn.ModuleDict(
            {name: nn.Linear(settings.hidden, spec.n_outputs) for name in self.modalities}
        )
        self.head = head
        self.task_loss = TaskLoss(spec.task, spec.class_weights, settings.label_smoothing, settings.regression_loss)

    @abstractmethod
    def read(self, own_MBUH: Tensor, valid_BU: Tensor, stage: str | None) -> tuple[Tensor, Tensor]:
        """Return the branches that the head reads, and those that answer for themselves: both [M, B, U, H]."""

    def shown(self, observed_BUM: Tensor) -> Tensor:
        """Return what of the observed modalities is looked at."""
        return observed_BUM

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        observed_BUM = self.shown(observed_BUM & valid_BU.unsqueeze(-1))
        branches, speaking = self.read(self.entrance(features, observed_BUM), valid_BU, stage)
        answers = torch.stack([head(h_BUH) for head, h_BUH in zip(self.branch_heads.values(), speaking, strict=True)])
        output = ModelOutput(
            joint_BUC=answers.mean(dim=0),
            branch=dict(zip(self.modalities, answers, strict=True)),
            extra={"branches": branches, "observed": observed_BUM},
        )
        if stage not in self.branch_stages:
            said = self.head(HeadInput(branches, observed_BUM, observed_BUM.to(branches.dtype), answers))
            output.joint_BUC, output.fused_BUH = said.answer_BUC, said.fused_BUH
            output.extra["head"] = said
            if said.branch_MBUC is not None:
                output.branch = dict(zip(self.modalities, said.branch_MBUC, strict=True))
        return output

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        counted_BU = batch.labelled_BU
        terms: dict[str, Tensor] = {}
        weight = 1.0
        if stage == JOINT:
            terms.update(self.head.losses(output.extra["head"], batch.target_BU, counted_BU))
            weight = self.branch_weight
        if weight:
            for u, (name, answer_BUC) in enumerate(output.branch.items()):
                here_BU = counted_BU & output.extra["observed"][..., u]
                terms[f"branch_{name}"] = weight * self.task_loss(answer_BUC, batch.target_BU, here_BU)
        return terms

    def start_stage(self, stage: str, given: dict[str, Any]) -> None:
        """Show the head the training utterances."""
        if stage == JOINT:
            self.head.start(given["branches_MNH"], given["observed_NM"], given["target_N"])

    def undecayed(self) -> set[str]:
        """Names of parameters without weight decay besides biases and norms."""
        return {"entrance.missing", *(f"head.{name}" for name in self.head.undecayed)}
