"""Prompt generation (ComP eq. 8–9): what each modality has to say to the others, as a short vector per utterance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imer.models.comp.prototypes import Assignment
from imer.models.comp.regulator import InstanceWeights
from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedLinear, StackedMLP


class PromptGenerator(nn.Module):
    """One block's prompts, [M, B, U, p]: MLP(S K) + linear(Z), or the paper's MLP(MLP(S K) + MLP(Z))."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        width, prompt = settings.hidden, settings.prompt_width
        self.assign = Assignment(n_modalities, settings)
        self.from_prototypes: nn.Module
        self.from_branch: nn.Module
        self.join: nn.Module
        if settings.prompt_head == "paper":
            self.from_prototypes = StackedMLP(n_modalities, width, width, width, settings.dropout)
            self.from_branch = StackedMLP(n_modalities, width, width, width, settings.dropout)
            self.join = StackedMLP(n_modalities, width, width, prompt, settings.dropout)
        else:
            self.from_prototypes = StackedMLP(n_modalities, width, width, prompt, settings.dropout)
            self.from_branch = StackedLinear(n_modalities, width, prompt)
            self.join = nn.Identity()

    def forward(self, branches_MBUH: Tensor, prototypes: Tensor, weights: InstanceWeights) -> Tensor:
        mixed = self.assign(branches_MBUH, prototypes, weights).to(branches_MBUH.dtype)
        return self.join(self.from_prototypes(mixed) + self.from_branch(branches_MBUH))


class Exchange(nn.Module):
    """Hands every modality the prompts of all the others: [M, B, U, p] → [M, B, U, (M−1)·p]."""

    others: Tensor

    def __init__(self, n_modalities: int, aggregation: str) -> None:
        super().__init__()
        others = [[v for v in range(n_modalities) if v != u] for u in range(n_modalities)]
        self.register_buffer("others", torch.tensor(others), persistent=False)
        self.rescale = aggregation == "rescale"

    def forward(self, prompts_MBUP: Tensor) -> Tensor:
        return self._gathered(prompts_MBUP).flatten(3)

    def silence_missing(self, received: Tensor, observed_MBU: Tensor) -> Tensor:
        """Remove what comes from modalities that are not observed: a missing modality sends no prompt.

        With `rescale` the rest is scaled up to the number of sources there could be.
        """
        source = self._gathered(observed_MBU.unsqueeze(-1))  # [M, B, U, M−1, 1]
        factor = source.to(received.dtype)
        if self.rescale:
            factor = factor * (source.shape[3] / source.sum(dim=3, keepdim=True).clamp(min=1))
        return (received.unflatten(3, (source.shape[3], -1)) * factor).flatten(3)

    def _gathered(self, x: Tensor) -> Tensor:
        return x[self.others].permute(0, 2, 3, 1, 4)  # [M, M−1, B, U, ·] → [M, B, U, M−1, ·]
