"""Several models of one design that answer together: the mean of what they say.

Small corpora make one model a matter of luck: which weights it starts from, and above all which utterances are kept for
validation. The mean over a few is steadier than any one of them, and better than they are on average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from imer.models.base import ModelOutput


class Ensemble(nn.Module):
    """Models of one design, trained each by itself.

    Probabilities are averaged (`joint_BUC` holds their logarithm, which a softmax takes back), values as they are,
    and likewise the branches' answers and the coordinators' weights.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first: Any = members[0]
        self.spec, self.modalities = first.spec, first.modalities
        self.reads_packed = getattr(first, "reads_packed", False)
        self.uses_speakers = getattr(first, "uses_speakers", False)
        self.batch_dependent = getattr(first, "batch_dependent", False)
        self.most_utterances = getattr(first, "most_utterances", None)

    def forward(self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, **more: Any) -> ModelOutput:
        said: list[ModelOutput] = [member(features, observed_BUM, valid_BU, **more) for member in self.members]
        weights = [one.weight_BUM for one in said if one.weight_BUM is not None]
        return ModelOutput(
            joint_BUC=self._mean([one.joint_BUC for one in said]),
            branch={name: self._mean([one.branch[name] for one in said]) for name in said[0].branch},
            weight_BUM=torch.stack(weights).mean(dim=0) if weights else None,
        )

    def _mean(self, answers: list[Tensor]) -> Tensor:
        """Return the mean value, or the logarithm of the mean probability."""
        if self.spec.task == "regression":
            return torch.stack(answers).mean(dim=0)
        return torch.stack([one.log_softmax(dim=-1) for one in answers]).logsumexp(dim=0) - math.log(len(answers))


def members_of(model: nn.Module) -> list[nn.Module]:
    """Return the members of an ensemble; a model alone is its only one."""
    return list(model.members) if isinstance(model, Ensemble) else [model]


def member_key(member: int, name: str) -> str:
    """Return the name in an ensemble's state of what a member calls `name`."""
    return f"members.{member}.{name}"
