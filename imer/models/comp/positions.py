"""What tells a branch the order of its utterances.

conv        add a depth-wise convolution over neighbouring utterances: local order, any length (default)
sinusoidal  add fixed sines of the position
rotary      rotate queries and keys by the position, inside attention
none        nothing: the utterances of a dialogue are a set
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.models.comp.settings import CompSettings

LONGEST_WAVE = 1000.0  # utterances
SPEAKERS_TOLD_APART = 8  # in one dialogue; further ones share the last vector


class Positions(nn.Module):
    """Branches [M, B, U, H] → the same, with what the position (and the speaker) adds."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        self.kind, self.causal, width = settings.positions, settings.causal, settings.hidden
        if self.kind == "conv":
            # Zero at first: the model starts from what the utterances say themselves.
            self.kernel = nn.Parameter(torch.zeros(settings.position_width, n_modalities, 1, 1, width))
            self.bias = nn.Parameter(torch.zeros(n_modalities, 1, 1, width))
        if settings.speaker_embedding:
            self.speaker = nn.Parameter(torch.zeros(SPEAKERS_TOLD_APART, width))
        else:
            self.register_parameter("speaker", None)

    def forward(self, x_MBUH: Tensor, valid_BU: Tensor, speaker_BU: Tensor | None) -> Tensor:
        added = x_MBUH
        if self.kind == "conv":
            added = added + self._neighbours(x_MBUH, valid_BU)
        elif self.kind == "sinusoidal":
            added = added + sines(x_MBUH.shape[2], x_MBUH.shape[3], x_MBUH.device)
        if self.speaker is not None and speaker_BU is not None:
            added = added + self.speaker[speaker_BU.clamp(max=SPEAKERS_TOLD_APART - 1)]
        return added

    def _neighbours(self, x_MBUH: Tensor, valid_BU: Tensor) -> Tensor:
        """Sum shifted copies, weighted per modality, distance and channel; padding counts as zeros."""
        reach = len(self.kernel)
        before = reach - 1 if self.causal else (reach - 1) // 2
        real = torch.where(valid_BU[None, ..., None], x_MBUH, 0.0)
        padded = functional.pad(real, (0, 0, before, reach - 1 - before))
        length = x_MBUH.shape[2]
        total = self.bias
        for step in range(reach):
            total = total + self.kernel[step] * padded[:, :, step : step + length]
        return total


def sines(length: int, width: int, device: torch.device) -> Tensor:
    """Return [U, H] sines and cosines of the position, in geometrically growing waves."""
    angle = torch.arange(length, device=device)[:, None] * _frequencies((width + 1) // 2, device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :width]


def rotate(x: Tensor) -> Tensor:
    """Rotate pairs of channels of [..., U, W] by an angle that grows with the position (W even)."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], device=x.device)[:, None] * _frequencies(half, x.device)
    cos, sin = angle.cos(), angle.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _frequencies(count: int, device: torch.device) -> Tensor:
    return torch.exp(torch.arange(count, device=device) * (-math.log(LONGEST_WAVE) / max(count, 1)))
