"""A perceptron per modality, a joint layer over them, and the branches' own answers added: the baseline to fear.

It looks at one utterance at a time. Where a modality is not observed, its branch is silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imer.batches.batch import Batch
from imer.core.errors import UsageError
from imer.models.base import ModelOutput, ModelSpec
from imer.models.baselines.common import JOINT, Entrance, NetworkSettings, TaskLoss
from imer.models.heads.base import Head, HeadInput


@dataclass(frozen=True)
class MlpSettings(NetworkSettings):
    """Settings of the perceptrons.

    branch_weight     weight of the loss of the branches' own answers beside the joint one
    modality_dropout  probability that training hides an observed modality besides what the protocol hides (each
                      utterance keeps one)
    """

    hidden: int = 256
    input_dropout: float = 0.3
    branch_weight: float = 0.5
    modality_dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.modality_dropout < 1.0:
            raise UsageError(
                f"model.modality_dropout lies in 0 … 1 (1 excluded), but {self.modality_dropout} was given."
            )


class Mlp(nn.Module):
    """Branches of one hidden layer; the head mixes them and adds the mean of their own answers."""

    Settings: ClassVar[type] = MlpSettings
    stages: ClassVar[tuple[str, ...]] = (JOINT,)
    branch_stages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: ModelSpec, settings: MlpSettings, head: Head) -> None:
        super().__init__()
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.entrance = Entrance(self.modalities, settings)
        self.branch_heads = nn.ModuleList(nn.Linear(settings.hidden, spec.n_outputs) for _ in self.modalities)
        self.head = head
        self.task_loss = TaskLoss(spec, settings)

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        observed_BUM = observed_BUM & valid_BU.unsqueeze(-1)
        if self.training and self.settings.modality_dropout:
            observed_BUM = hide_some(observed_BUM, self.settings.modality_dropout)
        branches = self.entrance(features, observed_BUM)
        answers = torch.stack([head(h_BUH) for head, h_BUH in zip(self.branch_heads, branches, strict=True)])
        said = self.head(HeadInput(branches, observed_BUM, observed_BUM.to(branches.dtype), answers))
        return ModelOutput(
            joint_BUC=said.answer_BUC,
            branch=dict(zip(self.modalities, answers, strict=True)),
            fused_BUH=said.fused_BUH,
            extra={"branches": branches, "head": said, "observed": observed_BUM},
        )

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        counted_BU = batch.labelled_BU
        terms: dict[str, Tensor] = dict(self.head.losses(output.extra["head"], batch.target_BU, counted_BU))
        if self.settings.branch_weight:
            for u, (name, answer_BUC) in enumerate(output.branch.items()):
                here_BU = counted_BU & output.extra["observed"][..., u]
                loss = self.task_loss(answer_BUC, batch.target_BU, here_BU)
                terms[f"branch_{name}"] = self.settings.branch_weight * loss
        return terms

    def start_stage(self, stage: str, given: dict[str, Any]) -> None:
        """Show the head the training utterances."""
        self.head.start(given["branches_MNH"], given["observed_NM"], given["target_N"])

    def undecayed(self) -> set[str]:
        """Names of parameters without weight decay besides biases and norms."""
        return {"entrance.missing", *(f"head.{name}" for name in self.head.undecayed)}


def hide_some(observed_BUM: Tensor, probability: float) -> Tensor:
    """Hide each observed modality with this probability, but leave an utterance as it is that would lose all."""
    kept_BUM = observed_BUM & (torch.rand(observed_BUM.shape, device=observed_BUM.device) >= probability)
    return torch.where(kept_BUM.any(dim=-1, keepdim=True), kept_BUM, observed_BUM)
