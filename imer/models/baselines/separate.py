"""Each modality by itself: one alone, or the mean of what the observed ones say.

A modality reads its own utterances of the whole dialogue and nothing of the others. Where it is not observed it has
no say; where nobody has, the answer is the training labels' prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imer.batches.batch import Batch
from imer.core.errors import UsageError, did_you_mean, listed
from imer.models.base import JOINT, ModelOutput, ModelSpec
from imer.models.baselines.common import Entrance, SequenceSettings, prior_answer
from imer.models.baselines.dialogue import DialogueEncoder
from imer.models.losses import TaskLoss


@dataclass(frozen=True)
class UnimodalSettings(SequenceSettings):
    """Settings of one modality alone.

    modality   which
    """

    modality: str = ""


class LateFusion(nn.Module):
    """One encoder and one answer per modality, each trained for itself; the joint answer is the observed ones' mean."""

    Settings: ClassVar[type] = SequenceSettings
    takes_head: ClassVar[bool] = False
    stages: ClassVar[tuple[str, ...]] = (JOINT,)
    branch_stages: ClassVar[tuple[str, ...]] = ()
    prior_C: Tensor

    def __init__(self, spec: ModelSpec, settings: SequenceSettings) -> None:
        super().__init__()
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.heard = self._heard()
        self.columns = [list(self.modalities).index(name) for name in self.heard]
        self.entrance = Entrance(self.heard, settings)
        self.encoders = nn.ModuleList(DialogueEncoder(settings) for _ in self.heard)
        self.branch_heads = nn.ModuleList(nn.Linear(settings.hidden, spec.n_outputs) for _ in self.heard)
        self.task_loss = TaskLoss(spec.task, spec.class_weights, settings.label_smoothing, settings.regression_loss)
        self.register_buffer("prior_C", torch.zeros(spec.n_outputs))

    def _heard(self) -> dict[str, int]:
        return self.modalities

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        observed_BUM = observed_BUM & valid_BU.unsqueeze(-1)
        here_BUM = observed_BUM[..., self.columns]
        own_MBUH = self.entrance(features, here_BUM)
        branches = torch.stack([encode(h_BUH, valid_BU) for encode, h_BUH in zip(self.encoders, own_MBUH, strict=True)])
        answers = torch.stack([head(h_BUH) for head, h_BUH in zip(self.branch_heads, branches, strict=True)])
        here_MBU1 = here_BUM.permute(2, 0, 1).unsqueeze(-1)
        number_BU1 = here_MBU1.sum(dim=0)
        mean_BUC = torch.where(here_MBU1, answers, 0.0).sum(dim=0) / number_BU1.clamp(min=1)
        weight_BUM = torch.zeros_like(observed_BUM, dtype=answers.dtype)
        weight_BUM[..., self.columns] = here_BUM.to(answers.dtype)
        return ModelOutput(
            joint_BUC=torch.where(number_BU1 > 0, mean_BUC, self.prior_C),
            branch=dict(zip(self.heard, answers, strict=True)),
            weight_BUM=weight_BUM,
            extra={"branches": branches},
        )

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        counted_BU = batch.labelled_BU
        terms = {}
        for column, (name, answer_BUC) in zip(self.columns, output.branch.items(), strict=True):
            here_BU = counted_BU & batch.observed_BUM[..., column]
            terms[f"branch_{name}"] = self.task_loss(answer_BUC, batch.target_BU, here_BU)
        return terms

    def start_stage(self, stage: str, given: dict[str, Any]) -> None:
        """Take the prior from the training labels."""
        self.prior_C.copy_(prior_answer(given["target_N"], self.spec))

    def undecayed(self) -> set[str]:
        """Names of parameters without weight decay besides biases and norms."""
        return {"entrance.missing"}


class Unimodal(LateFusion):
    """One modality alone."""

    Settings: ClassVar[type] = UnimodalSettings
    settings: UnimodalSettings

    def _heard(self) -> dict[str, int]:
        name = self.settings.modality
        if not name:
            raise UsageError(
                f"Name the modality to use alone: --set model.modality={next(iter(self.modalities))} "
                f"(there are {listed(self.modalities)})."
            )
        if name not in self.modalities:
            raise UsageError(f"There is no modality {name!r}; {did_you_mean(name, self.modalities)}")
        return {name: self.modalities[name]}
