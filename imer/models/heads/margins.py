"""Case-adaptive ArcFace: the additive angular margin on the logit of the true class (DPL, section on the losses).

For a cosine z = cos θ and a margin m in radians the target's logit becomes

    φ = cos(θ + m) = z cos m − √(1 − z²) sin m     while θ + m < π, that is z > −cos m
    φ = z − m sin m                                 beyond, which keeps φ non-increasing in θ

The scale and the margin may differ from case to case. Everything is computed in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

# √(1 − z²) has no finite slope at |z| = 1; within the root, and only there, |z| is held this far below 1.
SAFE_DISTANCE = 1e-6


def margin_cosine(cosine: Tensor, margin: Tensor) -> Tensor:
    """Return φ of a cosine and a margin in radians, of any broadcastable shapes.

    >>> margin_cosine(torch.tensor([1.0, -1.0]), torch.tensor(0.2)).isfinite().all().item()
    True
    """
    inside = cosine.clamp(-1 + SAFE_DISTANCE, 1 - SAFE_DISTANCE)
    sine = torch.sqrt(1 - inside * inside)
    within = cosine * torch.cos(margin) - sine * torch.sin(margin)
    beyond = cosine - margin * torch.sin(margin)
    return torch.where(cosine > -torch.cos(margin), within, beyond)


def margin_logits(cosine_NC: Tensor, target_N: Tensor, scale_N: Tensor, margin_N: Tensor) -> Tensor:
    """Return the training logits: s·φ for the target class, s·z for every other, float32 [N, C]."""
    is_target_NC = torch.nn.functional.one_hot(target_N, cosine_NC.shape[-1]).bool()
    phi_NC = margin_cosine(cosine_NC, margin_N.unsqueeze(-1))
    return scale_N.unsqueeze(-1) * torch.where(is_target_NC, phi_NC, cosine_NC)


def mixed_margin_entropy(cosine_K: Tensor, share_K: Tensor, scale: Tensor, margin: Tensor) -> Tensor:
    """Return Σ_k q_k · CE(logits with the margin on k, k) of cosines and target shares q [..., K]: [...].

    With a margin of 0 this is the cross-entropy of q and softmax(s·z), since the shares sum to 1.
    """
    scale, margin = scale.unsqueeze(-1), margin.unsqueeze(-1)
    own_K = scale * margin_cosine(cosine_K, margin)
    n = cosine_K.shape[-1]
    others_KK = (scale * cosine_K).unsqueeze(-2).expand(*cosine_K.shape, n)  # [..., k, j]: what k competes with
    logits_KK = torch.where(torch.eye(n, dtype=torch.bool, device=own_K.device), own_K.unsqueeze(-1), others_KK)
    return (share_K * (logits_KK.logsumexp(-1) - own_K)).sum(-1)
