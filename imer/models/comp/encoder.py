"""Encoders: raw features of each modality → branches of one width, and back (ComP eq. 2; Z^u = Enc^u(X^u)).

Where a modality is not observed its branch starts from a learned vector that carries no data, the *missing token*.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedMLP
from imer.models.dropout import Dropout
from imer.models.inputs import visible
from imer.models.products import Linear


class Encoder(nn.Module):
    """features of each modality [B, U, D_u] → [M, B, U, H]."""

    def __init__(self, modalities: dict[str, int], settings: CompSettings) -> None:
        super().__init__()
        n, width = len(modalities), settings.hidden
        self.clip_z = settings.clip_z
        self.enter = nn.ModuleDict({name: Linear(d, width) for name, d in modalities.items()})
        for layer in self.enter.values():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.update = StackedMLP(n, width, width, width, settings.dropout)
        self.input_dropout = Dropout(settings.input_dropout)
        self.dropout = Dropout(settings.dropout)
        self.missing = nn.Parameter(torch.zeros(n, 1, 1, width))

    def forward(self, features: dict[str, Tensor], observed_MBU: Tensor) -> tuple[Tensor, Tensor]:
        """Return the branches with missing tokens in place, and what was encoded before (for the decoder)."""
        entered = [
            layer(self.input_dropout(visible(features[name], here_BU, self.clip_z)))
            for (name, layer), here_BU in zip(self.enter.items(), observed_MBU, strict=True)
        ]
        h_MBUH = torch.stack(entered)
        encoded_MBUH = h_MBUH + self.update(h_MBUH)
        # Both are finite, so that a sum may select: on a CPU `where` costs several times as much.
        here_MBU1 = observed_MBU.unsqueeze(-1).to(encoded_MBUH.dtype)
        branches = self.dropout(encoded_MBUH) * here_MBU1 + self.missing * (1.0 - here_MBU1)
        return branches, encoded_MBUH


class Decoder(nn.Module):
    """What was encoded → the standardised features again, for the reconstruction loss of stage 1."""

    def __init__(self, modalities: dict[str, int], settings: CompSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.inner = nn.ModuleDict({name: nn.Linear(width, width) for name in modalities})
        self.leave = nn.ModuleDict({name: nn.Linear(width, d) for name, d in modalities.items()})
        for layer in (*self.inner.values(), *self.leave.values()):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, encoded_MBUH: Tensor) -> dict[str, Tensor]:
        return {
            name: self.leave[name](nn.functional.gelu(self.inner[name](h_BUH)))
            for name, h_BUH in zip(self.leave, encoded_MBUH, strict=True)
        }
