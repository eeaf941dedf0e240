"""Prototype relation contrastive loss: a supervised-contrastive loss among the prototypes themselves (DPL's L_PRC).

V components (one per case and modality) of K classes give K·V unit vectors p. Every vector is an anchor; the other
components of its class are its positives, and the denominator runs over every other vector:

    L = 1/(KV) Σ_{k,v} 1/(V−1) Σ_{v'≠v} [ −p_kv·p_kv'/τ + log Σ_{(j,w)≠(k,v)} exp(p_kv·p_jw/τ) ]
"""

from __future__ import annotations

import torch
from torch import Tensor

EXCLUDED = -1e9  # a finite −∞: an anchor with nothing to compare to must not make NaN


def prototype_contrast(
    unit_VKD: Tensor, active_V: Tensor, temperature: float = 1.0, negative_weight_KK: Tensor | None = None
) -> Tensor:
    """Return the contrastive loss over the active components, a float32 scalar.

    unit_VKD   unit vectors: V components of K classes
    active_V   bool: components that take part (those of cases that training has met)
    negative_weight_KK   weight of class j in the denominator of an anchor of class k; the diagonal is not read.
                         For ordered classes their distance over the largest one, so that neighbours may stay close.

    With a single active component there are no positives, and the loss is 0.
    """
    n_components, n_classes, _ = unit_VKD.shape
    unit = unit_VKD.float().flatten(0, 1)
    active = active_V.repeat_interleave(n_classes)
    label = torch.arange(n_classes, device=unit.device).repeat(n_components)
    itself = torch.eye(len(label), dtype=torch.bool, device=unit.device)
    other = active.unsqueeze(0) & ~itself
    positive = other & (label.unsqueeze(0) == label.unsqueeze(1))

    similarity = unit @ unit.T / temperature
    weighted = similarity
    if negative_weight_KK is not None:
        log_weight = negative_weight_KK.float().clamp(min=1e-12).log()[label][:, label]
        weighted = similarity + torch.where(positive, 0.0, log_weight)
    denominator = torch.where(other, weighted, EXCLUDED).logsumexp(1)

    n_positive = positive.sum(1)
    pull = torch.where(positive, similarity, 0.0).sum(1) / n_positive.clamp(min=1)
    counts = active & (n_positive > 0)
    return torch.where(counts, denominator - pull, 0.0).sum() / counts.sum().clamp(min=1)
