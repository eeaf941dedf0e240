"""What every model takes and gives back.

Shape suffixes: B dialogues in a batch, U padded utterances per dialogue, M modalities, D feature width, C outputs
(classes, or 1 for regression).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass
class Batch:
    """A batch of dialogues, padded to the longest of them.

    features   modality → float32 [B, U, D], standardised; any value where not observed
    observed_BUM   bool: present in the data and not hidden by a mask
    valid_BU       bool: a real utterance, not padding
    target_BU      int64 class index (−1 unlabelled) or float32 value (NaN unlabelled)
    row_BU         int64 row of the corpus, −1 for padding
    speaker_BU     int64 speaker index within the dialogue, 0 for padding
    """

    features: dict[str, Tensor]
    observed_BUM: Tensor
    valid_BU: Tensor
    target_BU: Tensor
    row_BU: Tensor
    speaker_BU: Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            {m: x.to(device) for m, x in self.features.items()},
            *(t.to(device) for t in (self.observed_BUM, self.valid_BU, self.target_BU, self.row_BU, self.speaker_BU)),
        )


@dataclass
class ModelOutput:
    """What a forward pass returns.

    joint_BUC        the prediction: logits, or the standardised value for regression
    branch           modality → [B, U, C]: each modality's own head (empty where a model has none)
    weight_BUM       the coordinator's weight per modality: 0 where not observed, sums to their number
    reconstruction   modality → [B, U, D] (empty where a model has none)
    fused_BUH        what the output head reads
    """

    joint_BUC: Tensor
    branch: dict[str, Tensor] = field(default_factory=dict)
    weight_BUM: Tensor | None = None
    reconstruction: dict[str, Tensor] = field(default_factory=dict)
    fused_BUH: Tensor | None = None


class EmotionModel(Protocol):
    """The protocol that training, evaluation and export rely on. Implementations are `torch.nn.Module`s."""

    modalities: dict[str, int]  # name → feature width, in order
    stages: tuple[str, ...]  # names of the training stages, in order; prediction uses the last

    def __call__(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput: ...

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name; training minimises their sum."""
        ...


@dataclass(frozen=True)
class Prediction:
    """A trained model's answer for n utterances, as NumPy arrays.

    probabilities_NC are class probabilities, or for regression [n, 1] values in the label's own units.
    """

    rows_N: np.ndarray
    probabilities_NC: np.ndarray
    observed_NM: np.ndarray
    weights_NM: np.ndarray
    branches: dict[str, np.ndarray] = field(default_factory=dict)
