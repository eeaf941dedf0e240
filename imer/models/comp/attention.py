"""Attention over the utterances of a dialogue, within each modality (the MSA of ComP eq. 4), pre-norm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imer.batches.layout import Layout
from imer.models.comp.missing_prompts import MissingAwarePrompts, admit_prompts
from imer.models.comp.positions import rotate
from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedLinear, StackedMLP, StackedNorm
from imer.models.dropout import Dropout
from imer.models.products import matmul


@dataclass(frozen=True)
class Reading:
    """What each utterance may read, worked out once for all layers.

    layout      where the rows stand, and how they get to their dialogues and back
    bias_MB1QK  0 where a row may be read, else a large negative number: added to the scores. It is finite, so that a
                row that may read nothing stays finite, also in its gradient, …
    reads_MR1   1, and 0 for such rows: they get exactly nothing in the end. A factor costs a tenth of a select
    """

    layout: Layout
    bias_MB1QK: Tensor
    reads_MR1: Tensor


def readable(observed_MR: Tensor, layout: Layout, settings: CompSettings) -> Reading:
    """Return who may read whom within a dialogue, and behind it which missing-aware prompts."""
    observed_MBU = layout.mask_to_dialogues(observed_MR)
    valid_BU = layout.valid_BU
    key_MBU = observed_MBU if settings.keys == "available" else valid_BU.expand_as(observed_MBU)
    allowed_MBQK = key_MBU.unsqueeze(2)
    if settings.causal:
        place = torch.arange(valid_BU.shape[1], device=valid_BU.device)
        allowed_MBQK = allowed_MBQK & (place[None, :] <= place[:, None])
    if settings.missing_prompts != "none":
        allowed_MBQK = admit_prompts(
            allowed_MBQK, observed_MBU, settings.missing_prompts, settings.missing_prompt_length
        )
    bias = torch.where(allowed_MBQK, 0.0, torch.finfo(torch.float32).min)
    reads_MBU = allowed_MBQK.any(dim=-1).expand_as(observed_MBU)
    return Reading(layout, bias.unsqueeze(2), layout.to_rows(reads_MBU.unsqueeze(-1)).to(bias.dtype))


class AttentionLayer(nn.Module):
    """x + attention(norm x), then x + MLP(norm x), on rows [M, R, H] of any layout."""

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

    def forward(self, x_MRH: Tensor, reading: Reading) -> Tensor:
        x_MRH = x_MRH + self.dropout(self._attend(self.norm_attention(x_MRH), reading))
        return x_MRH + self.dropout(self.mlp(self.norm_mlp(x_MRH)))

    def _attend(self, x_MRH: Tensor, reading: Reading) -> Tensor:
        query, key, value = reading.layout.split_heads(self.query_key_value(x_MRH), 3, self.heads)
        prompted = None if self.prompts is None else self.prompts.scores(query)  # prompts have no place in the sequence
        if self.rotary:
            query, key = rotate(query), rotate(key)
        score = matmul(query, key.transpose(-1, -2))
        score = score if prompted is None else torch.cat((score, prompted), dim=-1)
        share = attention_share(score, reading, value.shape[-1])
        read = matmul(share[..., : key.shape[-2]], value)
        if self.prompts is not None:
            read = read + self.prompts.read(share[..., key.shape[-2] :])
        return self.out(reading.layout.join_heads(read)) * reading.reads_MR1


class PublishedAttentionLayer(nn.Module):
    """The layer of the public code: x + y + MLP(y) with y = attention(x); no norms and no output layer."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.heads = settings.heads
        self.query_key_value = StackedLinear(n_modalities, width, 3 * width)
        self.mlp = StackedMLP(n_modalities, width, width, width, settings.dropout)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x_MRH: Tensor, reading: Reading) -> Tensor:
        query, key, value = reading.layout.split_heads(self.query_key_value(x_MRH), 3, self.heads)
        share = attention_share(matmul(query, key.transpose(-1, -2)), reading, value.shape[-1])
        read = matmul(share, value)
        y = reading.layout.join_heads(read) * reading.reads_MR1
        return x_MRH + y + self.dropout(self.mlp(y))


def attention_layer(n_modalities: int, settings: CompSettings) -> nn.Module:
    """Return the layer that the settings name."""
    kind = PublishedAttentionLayer if settings.attention == "published" else AttentionLayer
    return kind(n_modalities, settings)


def attention_share(score: Tensor, reading: Reading, width: int) -> Tensor:
    """Return the softmax over what may be read of scores [M, B, heads, Q, K], divided by the root of the heads' width."""
    return torch.add(reading.bias_MB1QK, score, alpha=1.0 / math.sqrt(width)).softmax(dim=-1)
