"""Encoders: raw features of each modality → branches of one width, and back (ComP eq. 2; Z^u = Enc^u(X^u)).

Where a modality is not observed its branch starts from a learned vector that carries no data, the *missing token*.

Of descriptors of faces and voices, which are few, the *magnitude* is read as well: how far each lies from its mean, on
whichever side. What is unusual tells emotions apart, and a small network that sees the sides alone is slow to find it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedMLP
from imer.models.dropout import Dropout
from imer.models.inputs import visible
from imer.models.products import Linear

MAGNITUDE_LIMIT = 3.0  # standard deviations from the mean: what lies further is as unusual
USUAL_MAGNITUDE = math.sqrt(2.0 / math.pi)  # the mean of |z| where z is normal


def magnitude(standardised: Tensor) -> Tensor:
    """Return how far each feature lies from its mean, less what is usual, in thirds: small beside the features themselves.

    >>> magnitude(torch.tensor([-9.0, 0.0, 3.0]))
    tensor([ 0.7340, -0.2660,  0.7340])
    """
    return (standardised.abs().clamp(max=MAGNITUDE_LIMIT) - USUAL_MAGNITUDE) / MAGNITUDE_LIMIT


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
        self.magnitudes = nn.ModuleDict()
        for name, d in modalities.items():
            if d <= settings.magnitudes_up_to:
                # They have nothing to say at first, and no part in the random numbers of the other layers.
                self.magnitudes[name] = layer = skip_init(Linear, d, width, bias=False)
                nn.init.zeros_(layer.weight)
        self.update = StackedMLP(n, width, width, width, settings.dropout)
        self.input_dropout = Dropout(settings.input_dropout)
        self.dropout = Dropout(settings.dropout)
        self.missing = nn.Parameter(torch.zeros(n, 1, 1, width))

    def forward(
        self, features: dict[str, Tensor], observed_MBU: Tensor, *, settled: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the branches with missing tokens in place, and what was encoded before (for the decoder).

        `settled` says that what the magnitudes tell has been learnt: no gradient reaches their weights.
        """
        entered = [
            self._entered(name, visible(features[name], here_BU, self.clip_z), settled=settled)
            for name, here_BU in zip(self.enter, observed_MBU, strict=True)
        ]
        h_MBUH = torch.stack(entered)
        encoded_MBUH = h_MBUH + self.update(h_MBUH)
        # Both are finite, so that a sum may select: on a CPU `where` costs several times as much.
        here_MBU1 = observed_MBU.unsqueeze(-1).to(encoded_MBUH.dtype)
        branches = self.dropout(encoded_MBUH) * here_MBU1 + self.missing * (1.0 - here_MBU1)
        return branches, encoded_MBUH

    def _entered(self, name: str, seen_BUD: Tensor, *, settled: bool) -> Tensor:
        """Return [B, U, H]: what the first layers make of the features, and of their magnitudes."""
        if name not in self.magnitudes:
            h_BUH: Tensor = self.enter[name](self.input_dropout(seen_BUD))
            return h_BUH
        # A feature is dropped with all that is read of it.
        own_BUD, unusual_BUD = self.input_dropout.together(seen_BUD, magnitude(seen_BUD))
        told_BUH: Tensor = self.magnitudes[name](unusual_BUD)
        return self.enter[name](own_BUD) + (told_BUH.detach() if settled else told_BUH)


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
