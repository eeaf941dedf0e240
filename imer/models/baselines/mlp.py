"""A perceptron per modality, a joint layer over them, and the branches' own answers added: the baseline to fear.

It looks at one utterance at a time. Where a modality is not observed, its branch is silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from imer.core.ranges import Amount, Count, Share
from imer.models.base import ModelSpec
from imer.models.baselines.common import NetworkSettings
from imer.models.baselines.joint import JointNetwork
from imer.models.heads.base import Head


@dataclass(frozen=True)
class MlpSettings(NetworkSettings):
    """Settings of the perceptrons.

    branch_weight     weight of the loss of the branches' own answers beside the joint one
    modality_dropout  probability that training hides an observed modality besides what the protocol hides (each
                      utterance keeps one)
    """

    hidden: Count = 256
    branch_weight: Amount = 0.5
    modality_dropout: Share = 0.0


class Mlp(JointNetwork):
    """Branches of one hidden layer; the head mixes them and adds the mean of their own answers."""

    Settings: ClassVar[type] = MlpSettings

    def __init__(self, spec: ModelSpec, settings: MlpSettings, head: Head) -> None:
        super().__init__(spec, settings, head, settings.branch_weight)
        self.modality_dropout = settings.modality_dropout

    def shown(self, observed_BUM: Tensor) -> Tensor:
        hides = self.training and self.modality_dropout
        return hide_some(observed_BUM, self.modality_dropout) if hides else observed_BUM

    def read(self, own_MBUH: Tensor, valid_BU: Tensor, stage: str | None) -> tuple[Tensor, Tensor]:
        return own_MBUH, own_MBUH


def hide_some(observed_BUM: Tensor, probability: float) -> Tensor:
    """Hide each observed modality with this probability, but leave an utterance as it is that would lose all."""
    kept_BUM = observed_BUM & (torch.rand(observed_BUM.shape, device=observed_BUM.device) >= probability)
    return torch.where(kept_BUM.any(dim=-1, keepdim=True), kept_BUM, observed_BUM)
