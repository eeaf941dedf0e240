"""The prototypes of every class, case and modality, and the five ways in which cases may share them.

    full         w^{O,u} independent for every case O and modality u ∈ O (the published form)
    shared       w^u: one per modality; a plain cosine late fusion, the control that any other mode must beat
    delta        ŵ^u + Δ^{O,u}: equals `shared` while Δ = 0, so that rare and unseen cases fall back to it
    additive     ŵ^u + Σ_{v∉O} δ^{v→u}: what each missing modality changes, so that M² vectors serve 2^M − 1 cases
    cardinality  one set per number of observed modalities

A **block** is a slice of the features with prototypes of its own: one per modality, or a single block of the fused
features that every case holds. The cases that hold block u are its rows, in ascending order of their codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.models.cases import CaseTable

SMALLEST_COUNT = 1e-12  # utterances: without any, and without a pull, a case's own mean counts nothing


def unit(vectors: Tensor) -> Tensor:
    """Return the directions of vectors along the last axis, in float32; a zero vector stays zero."""
    return functional.normalize(vectors.float(), dim=-1, eps=1e-12)


class Prototypes(nn.Module):
    """K prototypes per case and block.

    blocks    name → width d_u
    holds_CB  bool [2^M, B]: whether the case has a prototype in the block
    sharing   one of the five ways above
    initial   `xavier`: independent directions; `tied` and `class_mean`: all cases of a block and class start equal
              (the latter then awaits `set_means`)
    """

    row_CB: Tensor

    def __init__(
        self, cases: CaseTable, blocks: dict[str, int], holds_CB: Tensor, n_classes: int, sharing: str, initial: str
    ) -> None:
        super().__init__()
        self.cases, self.blocks, self.n_classes, self.sharing = cases, dict(blocks), n_classes, sharing
        row_CB = torch.where(holds_CB, holds_CB.long().cumsum(0) - 1, -1)
        self.register_buffer("row_CB", row_CB, persistent=False)

        self.common, self.own, self.offset = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        for b, (block, width) in enumerate(blocks.items()):
            start_KD = nn.init.xavier_normal_(torch.empty(n_classes, width))
            codes_R = holds_CB[:, b].nonzero().squeeze(1)
            n_rows = len(codes_R)
            self.register_buffer(f"codes_{block}", codes_R, persistent=False)
            self.register_buffer(f"members_{block}", cases.members_CM[codes_R], persistent=False)
            if sharing in ("full", "cardinality"):
                n_own = n_rows if sharing == "full" else len(cases.modalities)
                own = start_KD.expand(n_own, -1, -1).clone()
                if initial == "xavier":
                    own = torch.stack([nn.init.xavier_normal_(torch.empty(n_classes, width)) for _ in range(n_own)])
                self.own[block] = nn.Parameter(own)
                continue
            self.common[block] = nn.Parameter(start_KD)
            n_offsets = {"shared": 0, "delta": n_rows, "additive": len(self._causes(block))}[sharing]
            if n_offsets:
                self.offset[block] = nn.Parameter(torch.zeros(n_offsets, n_classes, width))

    def _causes(self, block: str) -> list[int]:
        """The modalities whose absence can change the block (`additive`): all but the block's own."""
        return [v for v, name in enumerate(self.cases.modalities) if name != block]

    def case_codes(self, block: str) -> Tensor:
        """int64 [R]: the code of the case behind each row of the block."""
        return self.get_buffer(f"codes_{block}")

    def vectors(self, block: str) -> Tensor:
        """Return the block's prototypes before normalisation, float32 [R, K, d_u], one row per case that holds it."""
        members_RM = self.get_buffer(f"members_{block}")
        if self.sharing == "full":
            return self.own[block].float()
        if self.sharing == "cardinality":
            return self.own[block].float()[members_RM.sum(1) - 1]
        common = unit(self.common[block]).unsqueeze(0).expand(len(members_RM), -1, -1)
        if block not in self.offset:
            return common
        offset = self.offset[block].float()
        if self.sharing == "delta":
            return common + offset
        missing_RV = (~members_RM[:, self._causes(block)]).float()
        return common + torch.einsum("rv,vkd->rkd", missing_RV, offset)

    def base(self, block: str) -> Tensor | None:
        """Return the direction that all cases share, float32 [K, d_u]; None in the modes without one."""
        return unit(self.common[block]) if block in self.common else None

    def components(self, block: str) -> tuple[Tensor, Tensor]:
        """Return the block's distinct prototypes as unit vectors [V, K, d_u], and for each row its component [R].

        `shared` has one component however many cases there are, `cardinality` one per number of observed modalities.
        """
        members_RM = self.get_buffer(f"members_{block}")
        rows = torch.arange(len(members_RM), device=members_RM.device)
        if self.sharing == "shared":
            return unit(self.common[block]).unsqueeze(0), torch.zeros_like(rows)
        if self.sharing == "cardinality":
            return unit(self.own[block]), members_RM.sum(1) - 1
        return unit(self.vectors(block)), rows

    def offset_size(self) -> Tensor:
        """Return mean ‖Δ‖² over all offsets, a scalar: what keeps cases near their shared direction."""
        squares = [offset.float().square().sum(-1).flatten() for offset in self.offset.values()]
        return torch.cat(squares).mean() if squares else torch.zeros((), device=self.row_CB.device)

    @torch.no_grad()
    def set_means(self, block: str, sum_RKD: Tensor, count_RK: Tensor, pull: float) -> None:
        """Start the block from class means of its normalised features.

        sum_RKD   per row and class, the sum of the unit features of the training utterances
        count_RK  how many there were
        pull      n0: a case's mean counts n / (n + n0) against the mean over all cases

        A class without any utterance keeps its direction.
        """
        everywhere_KD = unit(sum_RKD.sum(0))
        met_K = count_RK.sum(0) > 0
        if self.sharing in ("shared", "delta", "additive"):
            self.common[block].copy_(torch.where(met_K[:, None], everywhere_KD, unit(self.common[block])))
        if self.sharing in ("shared", "additive"):
            return
        groups = self.components(block)[1]
        n_groups = int(groups.max()) + 1
        sums = torch.zeros(n_groups, *sum_RKD.shape[1:], device=sum_RKD.device).index_add_(0, groups, sum_RKD)
        counts = torch.zeros(n_groups, count_RK.shape[1], device=sum_RKD.device).index_add_(0, groups, count_RK)
        trust = (counts / (counts + pull).clamp(min=SMALLEST_COUNT)).unsqueeze(-1)
        mean = unit(trust * unit(sums) + (1 - trust) * everywhere_KD)
        if self.sharing == "delta":
            self.offset[block].copy_(torch.where(met_K[:, None], mean - everywhere_KD, torch.zeros_like(mean)))
        else:
            self.own[block][:n_groups] = torch.where(met_K[:, None], mean, self.own[block][:n_groups])
