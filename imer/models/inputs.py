"""What a model may see of the features: nothing of what is not observed, and nothing far out.

Shape suffixes: B dialogues, U padded utterances, D feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def visible(features_BUD: Tensor, observed_BU: Tensor, clip_z: float) -> Tensor:
    """Return standardised features within ± clip_z, and 0 where not observed.

    A select, not a product: NaN and infinities in slots that are not observed must not leak.
    """
    return torch.where(observed_BU.unsqueeze(-1), features_BUD, 0.0).clamp(-clip_z, clip_z)
