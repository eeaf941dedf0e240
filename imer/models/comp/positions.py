"""What tells a branch the order of its utterances.

conv        add a depth-wise convolution over neighbouring utterances: local order, any length (default)
sinusoidal  add fixed sines of the position
rotary      rotate queries and keys by the position, inside attention
none        nothing: the utterances of a dialogue are a set
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.batches.layout import Layout
from imer.models.comp.settings import CompSettings

LONGEST_WAVE = 1000.0  # utterances
SPEAKERS_TOLD_APART = 8  # in one dialogue; further ones share the last vector


class Positions(nn.Module):
    """Branches [M, R, H] on the rows of any layout → the same, with what the position (and the speaker) adds."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        self.kind, self.causal, width = settings.positions, settings.causal, settings.hidden
        if self.kind == "conv":
            # Zero at first: the model starts from what the utterances say themselves.
            self.kernel = nn.Parameter(torch.zeros(settings.position_width, n_modalities, 1, 1, width))
            self.bias = nn.Parameter(torch.zeros(n_modalities, 1, 1, width))
        if settings.speaker_embedding:
            self.speaker = nn.Parameter(torch.zeros(n_modalities, SPEAKERS_TOLD_APART, width))
        else:
            self.register_parameter("speaker", None)

    def forward(self, x_MRH: Tensor, layout: Layout, speaker_R: Tensor | None) -> Tensor:
        added = x_MRH
        if self.kind == "conv":
            added = added + self._neighbours(x_MRH, layout)
        elif self.kind == "sinusoidal":
            along = layout.to_dialogues(x_MRH)
            added = layout.to_rows(along + sines(along.shape[2], along.shape[3], along.device))
        if self.speaker is not None and speaker_R is not None:
            added = added + self.speaker[:, speaker_R.clamp(max=SPEAKERS_TOLD_APART - 1)]
        return added

    def _neighbours(self, x_MRH: Tensor, layout: Layout) -> Tensor:
        """Sum the neighbours, weighted per modality, distance and channel; padding counts as zeros."""
        reach = len(self.kernel)
        before = reach - 1 if self.causal else (reach - 1) // 2
        real = layout.to_dialogues(x_MRH) * layout.valid_BU[None, ..., None].to(x_MRH.dtype)
        if torch.is_grad_enabled():
            return layout.to_rows(_Neighbours.apply(real, self.kernel, self.bias, before))
        return layout.to_rows(sum_neighbours(real, self.kernel, before) + self.bias)


def sum_neighbours(x_MBUH: Tensor, kernel: Tensor, before: int) -> Tensor:
    """Return Σ_s kernel[s] · x at the utterance s − before places further, with zeros outside; kernel [S, M, 1, 1, H]."""
    padded, length = _widened(x_MBUH, before, len(kernel)), x_MBUH.shape[2]
    total = kernel[0] * padded[:, :, :length]
    for step in range(1, len(kernel)):
        total.addcmul_(kernel[step], padded[:, :, step : step + length])
    return total


def _widened(x_MBUH: Tensor, before: int, reach: int) -> Tensor:
    return functional.pad(x_MBUH, (0, 0, before, reach - 1 - before))


class _Neighbours(torch.autograd.Function):
    """`sum_neighbours` plus a bias [M, 1, 1, H]: in place, since the passes over memory are what it costs."""

    @staticmethod
    def forward(ctx: Any, x_MBUH: Tensor, kernel: Tensor, bias: Tensor, before: int) -> Tensor:
        ctx.save_for_backward(x_MBUH, kernel)
        ctx.before = before
        return sum_neighbours(x_MBUH, kernel, before).add_(bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x_MBUH, kernel = ctx.saved_tensors
        reach, length = len(kernel), x_MBUH.shape[2]
        padded = _widened(x_MBUH, ctx.before, reach)
        to_kernel = [
            (gradient * padded[:, :, step : step + length]).sum(dim=(1, 2), keepdim=True) for step in range(reach)
        ]
        to_x = sum_neighbours(gradient, kernel.flip(0), reach - 1 - ctx.before)
        return to_x, torch.stack(to_kernel), gradient.sum(dim=(1, 2), keepdim=True), None


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
