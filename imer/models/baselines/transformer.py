"""The masked transformer: all modalities of an utterance as one token, attention over the whole dialogue, and the
branches' own answers added.

Each modality's branch is what it says itself plus what the dialogue says about the utterance, so that every output
head can read it.
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


class Transformer(nn.Module):
    """Encode each modality, add them up, attend over the dialogue, answer."""

    Settings: ClassVar[type] = JointSequenceSettings
    stages: ClassVar[tuple[str, ...]] = (JOINT,)
    branch_stages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: ModelSpec, settings: JointSequenceSettings, head: Head) -> None:
        super().__init__()
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.entrance = Entrance(self.modalities, settings)
        self.encoder = DialogueEncoder(settings)
        self.branch_heads = nn.ModuleList(nn.Linear(settings.hidden, spec.n_outputs) for _ in self.modalities)
        self.head = head
        self.task_loss = TaskLoss(spec, settings)

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        observed_BUM = observed_BUM & valid_BU.unsqueeze(-1)
        own_MBUH = self.entrance(features, observed_BUM)
        context_BUH = self.encoder(own_MBUH.sum(dim=0), valid_BU)
        branches = own_MBUH + context_BUH
        answers = torch.stack([head(h_BUH) for head, h_BUH in zip(self.branch_heads, own_MBUH, strict=True)])
        said = self.head(HeadInput(branches, observed_BUM, observed_BUM.to(branches.dtype), answers))
        return ModelOutput(
            joint_BUC=said.answer_BUC,
            branch=dict(zip(self.modalities, answers, strict=True)),
            fused_BUH=said.fused_BUH,
            extra={"branches": branches, "head": said},
        )

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        counted_BU = batch.labelled_BU
        terms: dict[str, Tensor] = dict(self.head.losses(output.extra["head"], batch.target_BU, counted_BU))
        if self.settings.branch_weight:
            for u, (name, answer_BUC) in enumerate(output.branch.items()):
                loss = self.task_loss(answer_BUC, batch.target_BU, counted_BU & batch.observed_BUM[..., u])
                terms[f"branch_{name}"] = self.settings.branch_weight * loss
        return terms

    def start_stage(self, stage: str, given: dict[str, Any]) -> None:
        """Show the head the training utterances."""
        self.head.start(given["branches_MNH"], given["observed_NM"], given["target_N"])

    def undecayed(self) -> set[str]:
        """Names of parameters without weight decay besides biases and norms."""
        return {"entrance.missing", *(f"head.{name}" for name in self.head.undecayed)}
