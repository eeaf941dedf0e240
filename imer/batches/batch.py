"""A batch of dialogues: what a model is trained on.

Shape suffixes: B dialogues in a batch, U padded utterances per dialogue, M modalities, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imer.batches.layout import Packed


@dataclass
class Batch:
    """A batch of dialogues, padded to the longest of them.

    features   modality → float32 [B, U, D], standardised; any value where not observed
    observed_BUM   bool: present in the data and not hidden by a mask
    valid_BU       bool: a real utterance, not padding
    target_BU      int64 class index (−1 unlabelled) or float32 standardised value (NaN unlabelled)
    row_BU         int64 row of the corpus, −1 for padding
    speaker_BU     int64 speaker index within the dialogue, 0 for padding
    """

    features: dict[str, Tensor]
    observed_BUM: Tensor
    valid_BU: Tensor
    target_BU: Tensor
    row_BU: Tensor
    speaker_BU: Tensor

    @property
    def labelled_BU(self) -> Tensor:
        """bool: real utterances that have a label."""
        known = torch.isfinite(self.target_BU) if self.target_BU.is_floating_point() else self.target_BU >= 0
        return self.valid_BU & known

    def of_real(self, x_BU: Tensor) -> Tensor:
        """Return the real utterances' part of a tensor [B, U, ...]: [N, ...]."""
        return x_BU[self.valid_BU]


@dataclass
class PackedBatch(Batch):
    """The real utterances of a batch alone: B is 1, U their number, and nothing is padding.

    layout   the way to the dialogues and back
    """

    layout: Packed

    def of_real(self, x_BU: Tensor) -> Tensor:
        return x_BU[0]
