"""A small pre-norm transformer over the utterances of a dialogue, told their order by a depth-wise convolution.

Every real utterance may be read, whatever is observed of it: what is missing stands there as a learned vector.
Shape suffixes: B dialogues, U padded utterances, H hidden width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from imer.models.baselines.common import SequenceSettings
from imer.models.dropout import Dropout


class DialogueLayer(nn.Module):
    """x + attention(norm x), then x + MLP(norm x)."""

    def __init__(self, settings: SequenceSettings) -> None:
        super().__init__()
        width, inner = settings.hidden, round(settings.hidden * settings.feed_forward)
        self.heads = settings.heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), Dropout(settings.dropout), nn.Linear(inner, width))
        self.dropout = Dropout(settings.dropout)

    def forward(self, x_BUH: Tensor, valid_BU: Tensor) -> Tensor:
        x_BUH = x_BUH + self.dropout(self._attend(self.norm_attention(x_BUH), valid_BU))
        return x_BUH + self.dropout(self.mlp(self.norm_mlp(x_BUH)))

    def _attend(self, x_BUH: Tensor, valid_BU: Tensor) -> Tensor:
        b, u, h = x_BUH.shape
        split = self.query_key_value(x_BUH).view(b, u, 3, self.heads, h // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [B, heads, U, H / heads]
        score = query @ key.transpose(-1, -2) / math.sqrt(h // self.heads)
        # A large finite number instead of −∞: a dialogue that is all padding must not make NaN.
        share = score.masked_fill(~valid_BU[:, None, None], torch.finfo(score.dtype).min).softmax(dim=-1)
        return self.out((share @ value).transpose(1, 2).reshape(b, u, h))


class DialogueEncoder(nn.Module):
    """[B, U, H] → [B, U, H]: what an utterance says in its dialogue."""

    def __init__(self, settings: SequenceSettings) -> None:
        super().__init__()
        width, reach = settings.hidden, settings.position_width
        self.neighbours = nn.Conv1d(width, width, reach, padding=reach // 2, groups=width)
        nn.init.zeros_(self.neighbours.weight)  # begin with what the utterances say themselves
        self.layers = nn.ModuleList(DialogueLayer(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BUH: Tensor, valid_BU: Tensor) -> Tensor:
        real_BUH = torch.where(valid_BU.unsqueeze(-1), x_BUH, 0.0)
        x_BUH = x_BUH + self.neighbours(real_BUH.transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            x_BUH = layer(x_BUH, valid_BU)
        return self.norm(x_BUH)
