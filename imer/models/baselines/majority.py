"""The majority class (or the mean) of the training labels, whatever is seen: the floor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from imer.batches.batch import Batch
from imer.models.base import JOINT, ModelOutput, ModelSpec
from imer.models.baselines.common import prior_answer


@dataclass(frozen=True)
class MajoritySettings:
    """There is nothing to set."""


class Majority(nn.Module):
    """Answers every utterance with the class shares of the training labels, or with their mean."""

    Settings: ClassVar[type] = MajoritySettings
    takes_head: ClassVar[bool] = False
    stages: ClassVar[tuple[str, ...]] = (JOINT,)
    branch_stages: ClassVar[tuple[str, ...]] = ()
    candidates = 1
    mask_draws = 1
    prior_C: Tensor

    def __init__(self, spec: ModelSpec, settings: MajoritySettings) -> None:
        super().__init__()
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.register_buffer("prior_C", torch.zeros(spec.n_outputs))

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        return ModelOutput(joint_BUC=self.prior_C.expand(*valid_BU.shape, -1))

    def collect(self, batches: Iterable[Batch]) -> Tensor:
        """Return the labels."""
        return torch.cat([b.target_BU[b.labelled_BU] for b in batches])

    def fit(self, target_N: Tensor, candidate: int) -> dict[str, float]:
        """Take the labels' shares, or their mean."""
        self.prior_C.copy_(prior_answer(target_N, self.spec))
        return {}
