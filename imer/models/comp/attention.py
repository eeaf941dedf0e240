"""Attention over the utterances of a dialogue, within each modality (the MSA of ComP eq. 4), pre-norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from imer.models.comp.missing_prompts import MissingAwarePrompts
from imer.models.comp.positions import rotate
from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedLinear, StackedMLP, StackedNorm
from imer.models.dropout import Dropout


class AttentionLayer(nn.Module):
    """x + attention(norm x), then x + MLP(norm x), on [M, B, U, H]."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.heads, self.rotary = settings.heads, settings.positions == "rotary"
        self.norm_attention = StackedNorm(n_modalities, width)
        self.query_key_value = StackedLinear(n_modalities, width, 3 * width)
        self.out = StackedLinear(n_modalities, width, width)
        self.norm_mlp = StackedNorm(n_modalities, width)
        self.mlp = StackedMLP(n_modalities, width, round(width * settings.feed_forward), width, settings.dropout)
        self.dropout = Dropout(settings.dropout)
        self.prompts = None
        if settings.missing_prompts != "none":
            self.prompts = MissingAwarePrompts(
                n_modalities, width, settings.heads, settings.missing_prompts, settings.missing_prompt_length
            )

    def forward(self, x_MBUH: Tensor, allowed_MBQK: Tensor) -> Tensor:
        """allowed_MBQK: which rows, and behind them which missing-aware prompts, each row may read: [M, B, 1 or U, K]."""
        x_MBUH = x_MBUH + self.dropout(self._attend(self.norm_attention(x_MBUH), allowed_MBQK))
        return x_MBUH + self.dropout(self.mlp(self.norm_mlp(x_MBUH)))

    def _attend(self, x_MBUH: Tensor, allowed_MBQK: Tensor) -> Tensor:
        m, b, u, h = x_MBUH.shape
        split = self.query_key_value(x_MBUH).view(m, b, u, 3, self.heads, h // self.heads)
        query, key, value = split.permute(3, 0, 1, 4, 2, 5)  # each [M, B, heads, U, H / heads]
        prompted = None if self.prompts is None else self.prompts.scores(query)  # prompts have no place in the sequence
        if self.rotary:
            query, key = rotate(query), rotate(key)
        allowed = allowed_MBQK.unsqueeze(2)
        score = query @ key.transpose(-1, -2)
        score = (score if prompted is None else torch.cat((score, prompted), dim=-1)) / math.sqrt(h // self.heads)
        # A large finite number instead of −∞: a row that may read nothing stays finite, also in its gradient, …
        share = score.masked_fill(~allowed, torch.finfo(score.dtype).min).softmax(dim=-1)
        read = share[..., :u] @ value
        if self.prompts is not None:
            read = read + self.prompts.read(share[..., u:])
        read = read.transpose(2, 3).reshape(m, b, u, h)
        # … and gets exactly nothing here.
        any_MBQ1 = allowed_MBQK.any(dim=-1).unsqueeze(-1)
        return torch.where(any_MBQ1, self.out(read), 0.0)


class PublishedAttentionLayer(nn.Module):
    """The layer of the public code: x + y + MLP(y) with y = attention(x); no norms and no output layer."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.heads = settings.heads
        self.query_key_value = StackedLinear(n_modalities, width, 3 * width)
        self.mlp = StackedMLP(n_modalities, width, width, width, settings.dropout)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x_MBUH: Tensor, allowed_MBQK: Tensor) -> Tensor:
        m, b, u, h = x_MBUH.shape
        split = self.query_key_value(x_MBUH).view(m, b, u, 3, self.heads, h // self.heads)
        query, key, value = split.permute(3, 0, 1, 4, 2, 5)
        score = query @ key.transpose(-1, -2) / math.sqrt(h // self.heads)
        share = score.masked_fill(~allowed_MBQK.unsqueeze(2), torch.finfo(score.dtype).min).softmax(dim=-1)
        read = (share @ value).transpose(2, 3).reshape(m, b, u, h)
        y = torch.where(allowed_MBQK.any(dim=-1).unsqueeze(-1), read, 0.0)
        return x_MBUH + y + self.dropout(self.mlp(y))


def attention_layer(n_modalities: int, settings: CompSettings) -> nn.Module:
    """Return the layer that the settings name."""
    kind = PublishedAttentionLayer if settings.attention == "published" else AttentionLayer
    return kind(n_modalities, settings)


def readable(observed_MBU: Tensor, valid_BU: Tensor, *, keys: str, causal: bool) -> Tensor:
    """Return which rows may be read: [M, B, 1 or U, U]."""
    key_MBU = observed_MBU if keys == "available" else valid_BU.expand_as(observed_MBU)
    allowed = key_MBU.unsqueeze(2)
    if causal:
        place = torch.arange(valid_BU.shape[1], device=valid_BU.device)
        allowed = allowed & (place[None, :] <= place[:, None])
    return allowed
