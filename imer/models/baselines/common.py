"""What the baselines share: their settings, the way in, and the answer before anything is seen.

Shape suffixes: B dialogues, U padded utterances, M modalities, D feature width, H hidden width, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from imer.core.errors import UsageError
from imer.core.ranges import Amount, Count, Positive, Share, check_ranges
from imer.models.base import ModelSpec
from imer.models.dropout import Dropout
from imer.models.inputs import visible
from imer.models.losses import REGRESSION_LOSSES


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of every baseline that is a network.

    hidden           H, width of every branch
    dropout          in encoders
    input_dropout    of the standardised features
    label_smoothing  of the branches' own answers
    regression_loss  of the branches' own answers: mse, l1 or huber, on standardised values
    clip_z           standardised features are cut to ± this
    """

    hidden: Count = 128
    dropout: Share = 0.5
    input_dropout: Share = 0.3
    label_smoothing: Share = 0.1
    regression_loss: Annotated[str, REGRESSION_LOSSES] = "mse"
    clip_z: Positive = 10.0

    def __post_init__(self) -> None:
        check_ranges(self, "model")


@dataclass(frozen=True)
class SequenceSettings(NetworkSettings):
    """Settings of the baselines that read whole dialogues.

    heads, layers    of the attention over the utterances
    feed_forward     width of the inner layer of an attention layer, as a multiple of H
    position_width   utterances (an odd number) that the convolution sees which tells their order
    """

    heads: Count = 4
    layers: Count = 2
    feed_forward: Positive = 2.0
    position_width: Count = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden % self.heads:
            raise UsageError(f"model.hidden ({self.hidden}) must be a multiple of model.heads ({self.heads}).")
        if self.position_width % 2 == 0:
            raise UsageError(f"model.position_width is an odd number, but {self.position_width} was given.")


@dataclass(frozen=True)
class JointSequenceSettings(SequenceSettings):
    """Settings of the baselines that also combine the modalities.

    branch_weight    weight of the loss of the branches' own answers beside the joint one
    """

    branch_weight: Amount = 0.5


class Entrance(nn.Module):
    """Features of each modality [B, U, D_u] → [M, B, U, H], with a learned vector where not observed."""

    def __init__(self, modalities: dict[str, int], settings: NetworkSettings) -> None:
        super().__init__()
        self.clip_z = settings.clip_z
        self.enter = nn.ModuleDict({name: nn.Linear(d, settings.hidden) for name, d in modalities.items()})
        self.input_dropout = Dropout(settings.input_dropout)
        self.dropout = Dropout(settings.dropout)
        self.missing = nn.Parameter(torch.zeros(len(modalities), settings.hidden))

    def forward(self, features: dict[str, Tensor], observed_BUM: Tensor) -> Tensor:
        branches = []
        for u, (name, layer) in enumerate(self.enter.items()):
            here_BU = observed_BUM[..., u]
            seen_BUD = self.input_dropout(visible(features[name], here_BU, self.clip_z))
            h_BUH = self.dropout(nn.functional.gelu(layer(seen_BUD)))
            branches.append(torch.where(here_BU.unsqueeze(-1), h_BUH, self.missing[u]))
        return torch.stack(branches)


def prior_answer(target_N: Tensor, spec: ModelSpec) -> Tensor:
    """Return the answer [C] that knows the training labels only: log class shares, or the mean."""
    if spec.task == "regression":
        return target_N.float().mean().view(1)
    count_C = torch.bincount(target_N.long(), minlength=spec.n_outputs).float()
    return (count_C.clamp(min=0.5) / count_C.sum()).log()  # half an utterance for a class that was never seen
