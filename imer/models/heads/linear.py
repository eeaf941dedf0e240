"""The linear head: weigh the branches, mix them once, classify (ComP eq. 13–15), and add the branches' own answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from imer.core.ranges import Amount, Share, check_ranges
from imer.models.base import ModelSpec
from imer.models.dropout import Dropout
from imer.models.heads.base import HeadInput, HeadOutput
from imer.models.losses import REGRESSION_LOSSES, TaskLoss
from imer.models.products import Linear


@dataclass(frozen=True)
class LinearSettings:
    """Settings of the linear head.

    dropout          of the mixing layer
    label_smoothing  share of the target spread over all classes
    regression_loss  mse, l1 or huber, on standardised values
    late_fusion      how much of the weighted mean of the branches' own answers is added to the joint answer
    mixing           whether the weighted branches pass the residual layer that mixes them
    """

    dropout: Share = 0.3
    label_smoothing: Share = 0.1
    regression_loss: Annotated[str, REGRESSION_LOSSES] = "mse"
    late_fusion: Amount = 1.0
    mixing: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, "head")


class LinearHead(nn.Module):
    """Reads the concatenation of the weighted branches, [B, U, M·H]."""

    Settings: ClassVar[type] = LinearSettings
    learning_rate_factor = 1.0
    undecayed: frozenset[str] = frozenset()

    def __init__(self, spec: ModelSpec, width: int, settings: LinearSettings) -> None:
        super().__init__()
        self.settings = settings
        width = len(spec.modalities) * width
        self.mix = Linear(width, width) if settings.mixing else None
        self.dropout = Dropout(settings.dropout)
        self.classify = nn.Linear(width, spec.n_outputs)
        for layer in (self.mix, self.classify):
            if layer is not None:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.task_loss = TaskLoss(spec.task, spec.class_weights, settings.label_smoothing, settings.regression_loss)

    def forward(self, given: HeadInput) -> HeadOutput:
        weight_MBU1 = given.weight_BUM.permute(2, 0, 1).unsqueeze(-1)
        fused_BUH = torch.cat(list(given.branches_MBUH * weight_MBU1), dim=-1)
        mixed_BUH = fused_BUH
        if self.mix is not None:
            mixed_BUH = fused_BUH + self.dropout(torch.relu(self.mix(fused_BUH)))
        answer_BUC = self.classify(mixed_BUH)
        if self.settings.late_fusion:
            share_MBU1 = weight_MBU1 / given.weight_BUM.sum(-1).clamp(min=1.0)[None, ..., None]
            answer_BUC = answer_BUC + self.settings.late_fusion * (given.branch_answers_MBUC * share_MBU1).sum(0)
        return HeadOutput(answer_BUC, fused_BUH)

    def losses(self, output: HeadOutput, target_BU: Tensor, counted_BU: Tensor) -> dict[str, Tensor]:
        return {"joint": self.task_loss(output.answer_BUC, target_BU, counted_BU)}

    def start(self, branches_MNH: Tensor, observed_NM: Tensor, target_N: Tensor) -> None:
        """Nothing to learn beforehand."""
