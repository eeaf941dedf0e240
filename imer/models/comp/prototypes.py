"""Prototypes: a small bank of learned vectors per modality that prompts are mixed from (ComP eq. 6–7).

The papers' prototypes are compressed from the instances of the batch, so that a prediction depends on its
batch-mates. The bank takes their place: it is global over the training set and does not see the batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.core.errors import UsageError
from imer.models.comp.regulator import InstanceWeights, regulated_product
from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedMLP

COSINE_EPS = 1e-6
SHARPNESS_START, SHARPNESS_LIMITS = 10.0, (1.0, 50.0)  # of the softmax over cosine similarities
BANK_SD = 0.5
KMEANS_ITERATIONS = 20


class Prototypes(nn.Module):
    """K^u: [M, c, H]; with `prototypes = dialogue` plus what the dialogue's own available rows say."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        self.bank = nn.Parameter(torch.randn(n_modalities, settings.n_prototypes, settings.hidden) * BANK_SD)
        self.pooled = settings.prototypes == "dialogue"
        if self.pooled:
            self.pool_query = nn.Parameter(torch.randn_like(self.bank) * BANK_SD)
            self.pool_gain = nn.Parameter(torch.zeros(n_modalities, 1, 1, 1))

    def forward(self, branches_MBUH: Tensor, observed_MBU: Tensor) -> Tensor:
        """Return the prototypes: [M, 1 or B, c, H]."""
        bank = self.bank.unsqueeze(1)
        if not self.pooled:
            return bank
        score_MBcU = self.pool_query.unsqueeze(1) @ branches_MBUH.transpose(-1, -2) / math.sqrt(self.bank.shape[-1])
        here = observed_MBU.unsqueeze(2)
        share = score_MBcU.masked_fill(~here, torch.finfo(score_MBcU.dtype).min).softmax(dim=-1)
        pooled = torch.where(here.any(dim=-1, keepdim=True), share @ branches_MBUH, 0.0)
        return bank + self.pool_gain * pooled

    @torch.no_grad()
    def start_at_means(self, branches_MNH: Tensor, observed_NM: Tensor) -> None:
        """Set the bank to the k-means of the training set's branches; one with fewer rows than prototypes stays."""
        for u, rows_NH in enumerate(branches_MNH):
            here = rows_NH[observed_NM[:, u]]
            if len(here) >= len(self.bank[u]):
                self.bank[u] = k_means(here, len(self.bank[u]))


class BatchPrototypes(nn.Module):
    """The published prototypes (ComP eq. 6): an MLP along the instance axis compresses a dialogue's positions, padding
    and missing rows among them, to c prototypes, and every row is compared with those of the whole batch.

    Positions behind the longest dialogue of the batch count as zeros; the public code pads every batch to the fixed length,
    so that they hold what its layers make of zeros (`train.pad_to` does the same).
    """

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        self.length, c = settings.longest_dialogue, settings.n_prototypes
        self.compress = StackedMLP(n_modalities, self.length, c, c, settings.dropout)

    def forward(self, branches_MBUH: Tensor, observed_MBU: Tensor) -> Tensor:
        """Return the prototypes: [M, 1, B·c, H].

        Raises
        ------
        UsageError
            A dialogue is longer than the fixed length.
        """
        spare = self.length - branches_MBUH.shape[2]
        if spare < 0:
            raise UsageError(
                f"Batch prototypes need a fixed length: a dialogue has {branches_MBUH.shape[2]} utterances, more than "
                f"model.longest_dialogue = {self.length}; raise it, or use model.prototypes = bank."
            )
        along_positions = functional.pad(branches_MBUH, (0, 0, 0, spare)).transpose(-1, -2)
        return self.compress(along_positions).transpose(-1, -2).flatten(1, 2).unsqueeze(1)


def k_means(rows_NH: Tensor, k: int) -> Tensor:
    """Return k centres [k, H]: Lloyd's iterations from rows spread evenly along the first principal direction."""
    centred = rows_NH - rows_NH.mean(dim=0)
    direction = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    order = (centred @ direction).argsort()
    centres = rows_NH[order[torch.linspace(0, len(order) - 1, k).long()]].clone()
    for _ in range(KMEANS_ITERATIONS):
        nearest_N = torch.cdist(rows_NH, centres).argmin(dim=1)
        for c in range(k):
            if bool((members := nearest_N == c).any()):
                centres[c] = rows_NH[members].mean(dim=0)
    return centres


class Assignment(nn.Module):
    """S = softmax(sharpness · cos(Z, K)) and the mixture S K, with a sharpness learned per modality."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        start = torch.full((n_modalities, 1, 1, 1), math.log(SHARPNESS_START))
        # The published softmax has no temperature.
        self.log_sharpness = None if settings.prototypes == "batch" else nn.Parameter(start)

    def forward(self, branches_MBUH: Tensor, prototypes: Tensor, weights: InstanceWeights) -> Tensor:
        """Return S K, [M, B, U, H]. The gradient that reaches the prototypes is weighted per instance."""
        rows = branches_MBUH.float()
        unit_prototypes = functional.normalize(prototypes.float(), dim=-1, eps=COSINE_EPS)
        # Divided by the rows' lengths afterwards, when they are a few numbers wide and no longer H.
        length_MBU1 = rows.norm(dim=-1, keepdim=True).clamp(min=COSINE_EPS)
        cosine = regulated_product(rows, unit_prototypes.transpose(-1, -2), weights) / length_MBU1
        if self.log_sharpness is not None:
            cosine = cosine * self.log_sharpness.exp().clamp(*SHARPNESS_LIMITS)
        share = cosine.softmax(dim=-1)
        return regulated_product(share, prototypes.float(), weights)
