"""Cosines to decoupled prototypes: those that know which modalities were observed (DPL, section on the logits).

An utterance with the observed set O is compared, modality by modality, with the prototypes that belong to exactly
this set, and the cosines are averaged over the modalities V ⊇ O that vote (as published V = O; see `may_vote`):

    z_k = Σ_{u∈V} a_u · cos(h^u, w_k^{O,u}),      a_u = weight_u / Σ_{v∈V} weight_v   (weight ≡ 1: 1/|V|)

Every block is normalised by itself, so z is the true cosine between the two concatenations and the angular margin of
ArcFace is well defined in every case. A modality without a vote contributes exactly 0 to values and gradients.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imer.core.errors import InvalidInput, UsageError
from imer.models.cases import CaseTable
from imer.models.heads.dpl_settings import DPLSettings, needs_equal_widths
from imer.models.heads.prototypes import Prototypes, unit
from imer.models.heads.unseen import rare_cases, substitutes

logger = logging.getLogger(__name__)

FUSED = "fused"  # the name of the only block where the head reads one fused vector
ZERO_LENGTH = 1e-8  # a feature vector shorter than this has no direction


@dataclass
class Comparison:
    """cosine_K float32 [..., K]: z; block_cosine_BK [..., B, K]: each block's own; case int64 [...]; votes_B bool [..., B]."""

    cosine_K: Tensor
    block_cosine_BK: Tensor
    case: Tensor
    votes_B: Tensor


def may_vote(observed: Tensor, weight: Tensor | None, absent: str) -> Tensor:
    """Return which modalities vote, bool [..., M]: see `absent` in the settings. Where nothing is observed nobody does."""
    anything = observed.any(-1, keepdim=True)
    if absent == "trainable":
        return anything.expand_as(observed)
    if absent == "heard" and weight is not None:
        return observed | ((weight > 0) & anything)
    return observed


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Switch autocast off where it is on: cosines and softmax need float32."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


class DecoupledPrototypes(nn.Module):
    """Prototypes per class, case and modality, and the cosines of features to them.

    modalities  all modality names, in order
    widths      modality → feature width d_u, or {FUSED: D} for one fused vector
    n_classes   K: classes, bins, or 1 for an axis
    """

    voted_CB: Tensor | None  # with `heard`: which blocks have voted in each case, in training
    count_C: Tensor  # the most training utterances of each case in an epoch
    this_epoch_C: Tensor
    modality_names: Tensor

    def __init__(
        self, modalities: tuple[str, ...], widths: dict[str, int], n_classes: int, settings: DPLSettings
    ) -> None:
        super().__init__()
        if tuple(widths) not in (modalities, (FUSED,)):
            raise UsageError(
                f"The prototype head needs one feature block per modality ({', '.join(modalities)}) or the single "
                f"block {FUSED!r}, but got {', '.join(widths)}."
            )
        if needs_equal_widths(settings, widths.values()):
            raise UsageError(
                "head.contrast_scope = 'all' compares prototypes across modalities and needs equal feature widths, "
                f"but they are {', '.join(f'{m} {d}' for m, d in widths.items())}; use 'intra_modality'."
            )
        self.settings, self.cases = settings, CaseTable(modalities)
        self.blocks = tuple(widths)
        self.reads_fused = self.blocks == (FUSED,)
        holds_CB = self.cases.members_CM.clone()
        if self.reads_fused or settings.absent != "zero":
            holds_CB = torch.ones(self.cases.n_cases, len(widths), dtype=torch.bool)
            holds_CB[0] = False
        self.prototypes = Prototypes(self.cases, widths, holds_CB, n_classes, settings.sharing, settings.initial)
        self.register_buffer("count_C", torch.zeros(self.cases.n_cases))
        self.register_buffer("this_epoch_C", torch.zeros(self.cases.n_cases), persistent=False)
        # Where absent modalities may vote and need not, a case that training met does not tell which of them did.
        self.register_buffer("voted_CB", torch.zeros_like(holds_CB) if settings.absent == "heard" else None)
        names = torch.tensor(list(",".join(modalities).encode()), dtype=torch.uint8)
        self.register_buffer("modality_names", names)
        for block in self.blocks:
            rows = len(self.prototypes.case_codes(block))
            self.register_buffer(f"stand_in_{block}", torch.eye(rows, rows + 1), persistent=False)
        self._warned = False

    # --- which prototypes a case uses ---------------------------------------------------------------------------

    @torch.no_grad()
    def count(self, compared: Comparison, used: Tensor) -> None:
        """Add the `used` utterances of this epoch, bool [...], to their cases. At its end `count_C` takes them up."""
        met_NC = nn.functional.one_hot(compared.case.flatten(), self.cases.n_cases) * used.flatten().unsqueeze(1)
        self.this_epoch_C += met_NC.sum(0).to(self.count_C.dtype)
        if self.voted_CB is not None:
            self.voted_CB |= met_NC.T.float() @ compared.votes_B.flatten(0, -2).float() > 0

    @property
    def met_C(self) -> Tensor:
        """The most training utterances of each case in an epoch, the one that is going on included."""
        return torch.maximum(self.count_C, self.this_epoch_C)

    @torch.no_grad()
    def refresh_stand_ins(self) -> None:
        """Decide which prototypes each case reads: its own in training, a trained substitute otherwise."""
        for block in self.blocks:
            table = self.get_buffer(f"stand_in_{block}")
            rows = torch.eye(len(table), len(table) + 1, device=table.device)
            if not self.training and self.settings.unseen == "shared_fallback":
                has_base = self.prototypes.base(block) is not None
                codes_R = self.prototypes.case_codes(block)
                rows = substitutes(self.count_C, codes_R, self.settings.unseen_minimum, has_base=has_base)
            table.copy_(rows)

    def met(self, block: str) -> Tensor:
        """Return which of the block's rows training has used, bool [R]."""
        codes_R = self.prototypes.case_codes(block)
        met_R = (self.met_C > 0)[codes_R]
        return met_R if self.voted_CB is None else met_R & self.voted_CB[codes_R, self.blocks.index(block)]

    def train(self, mode: bool = True) -> DecoupledPrototypes:
        super().train(mode)
        if not mode:  # an epoch ends where validation begins
            self.count_C.copy_(self.met_C)
            self.this_epoch_C.zero_()
        self.refresh_stand_ins()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        stored = state_dict.get(f"{prefix}modality_names")
        if stored is not None and bytes(stored.tolist()) != bytes(self.modality_names.tolist()):
            raise InvalidInput(
                f"The saved prototypes belong to the modalities {bytes(stored.tolist()).decode()} in this order, "
                f"but the model was built for {','.join(self.cases.modalities)}."
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.refresh_stand_ins()

    def rare_cases(self) -> list[str]:
        """Return the names of the cases with too few training utterances to trust their own prototypes."""
        return rare_cases(self.cases, self.count_C, self.settings.unseen_minimum)

    def check_cases(self, observed: Tensor) -> None:
        """Say once, or refuse, when utterances fall into cases that training hardly met: bool [..., M].

        Raises UsageError with `unseen = "error"`.
        """
        met = torch.bincount(self.cases.codes(observed).flatten(), minlength=self.cases.n_cases)
        rare = [name for name in self.rare_cases() if met[self.cases.code_of(name)] > 0]
        if not rare or self.settings.unseen == "own":
            return
        said = (
            f"training met fewer than {self.settings.unseen_minimum} utterances with the observed modalities "
            f"{', '.join(rare)}"
        )
        if self.settings.unseen == "error":
            raise UsageError(f"The prototype head cannot answer here: {said}; train with mixed missing rates.")
        if not self._warned:
            logger.warning(
                "The prototype head falls back on the nearest trained case, or on what all cases share: %s.", said
            )
            self._warned = True

    def _in_use(self, block: str) -> Tensor:
        """Return the prototypes that each row of the block reads: float32 [R, K, d_u], unit unless `joint`."""
        joint = self.settings.normalise == "joint"
        rows_RKD = self.prototypes.vectors(block) if joint else unit(self.prototypes.vectors(block))
        if self.training or self.settings.unseen != "shared_fallback":
            return rows_RKD
        base_KD = self.prototypes.base(block)
        base_KD = torch.zeros_like(rows_RKD[0]) if base_KD is None else base_KD
        candidates = torch.cat((rows_RKD, base_KD.unsqueeze(0)))
        mixed_RKD = torch.einsum("rs,skd->rkd", self.get_buffer(f"stand_in_{block}"), candidates)
        return mixed_RKD if joint else unit(mixed_RKD)

    # --- cosines ------------------------------------------------------------------------------------------------

    def forward(self, features: dict[str, Tensor], observed: Tensor, weight: Tensor | None = None) -> Comparison:
        """Compare features with the prototypes of their case.

        features  block → [..., d_u]; whatever stands where a modality has no vote is not read
        observed  bool [..., M]
        weight    [..., M] not negative, or None for equal votes; only its ratio among those that vote counts

        Utterances with nothing observed get cosines of 0.
        """
        with full_precision(observed.device):
            return self._compare(features, observed, weight)

    def _compare(self, features: dict[str, Tensor], observed: Tensor, weight: Tensor | None) -> Comparison:
        # A select, not a product: NaN or infinity in missing content must not leak.
        votes = self._votes(observed, weight)
        kept = [
            torch.where(s.unsqueeze(-1), features[b].float(), 0.0)
            for b, s in zip(self.blocks, votes.unbind(-1), strict=True)
        ]
        has_length = [x.detach().square().sum(-1) > ZERO_LENGTH**2 for x in kept]
        if self.settings.zero_as_missing and not self.reads_fused:
            there = torch.stack(has_length, -1)
            observed, weight = observed & there, None if weight is None else torch.where(there, weight, 0.0)
            votes = self._votes(observed, weight)
        case = self.cases.codes(observed)

        dots, feature_squares, prototype_squares = [], [], []
        for block, x, s, long_enough in zip(self.blocks, kept, votes.unbind(-1), has_length, strict=True):
            # A vector without length has no direction: normalising it would give gradients of 1/eps.
            live = (s & long_enough).unsqueeze(-1)
            x = torch.where(live, x, 0.0)
            prototypes_RKD = self._in_use(block)
            row = self.prototypes.row_CB[case, self.blocks.index(block)].clamp(min=0)
            if self.settings.normalise == "joint":
                feature_squares.append(x.square().sum(-1, keepdim=True))
                squares_RK = prototypes_RKD.square().sum(-1)
                prototype_squares.append(squares_RK[row] * s.unsqueeze(-1))
            else:
                x = torch.where(live, x, 1.0)
                x = torch.where(live, x / x.norm(dim=-1, keepdim=True), 0.0)
            # All rows at once and a choice afterwards: one matrix product instead of a gather of whole prototypes.
            all_RK = torch.einsum("...d,rkd->...rk", x, prototypes_RKD)
            index = row[..., None, None].expand(*row.shape, 1, all_RK.shape[-1])
            dots.append(all_RK.gather(-2, index).squeeze(-2))
        dot_BK = torch.stack(dots, -2)
        if self.settings.normalise == "joint":
            squares = sum(feature_squares) * sum(prototype_squares)
            cosine_BK = dot_BK / squares.clamp(min=1e-24).sqrt().unsqueeze(-2)
            return Comparison(cosine_BK.sum(-2), cosine_BK, case, votes)
        share_B = self._shares(votes, observed, weight)
        return Comparison((share_B.unsqueeze(-1) * dot_BK).sum(-2), dot_BK, case, votes)

    def _votes(self, observed: Tensor, weight: Tensor | None) -> Tensor:
        """Return which blocks vote, bool [..., B]."""
        if self.reads_fused:
            return observed.any(-1, keepdim=True)
        return may_vote(observed, weight, self.settings.absent)

    def _shares(self, votes: Tensor, observed: Tensor, weight: Tensor | None) -> Tensor:
        """Return a_u: how much each block's cosine counts, float32 [..., B], summing to 1 (or 0 without votes)."""
        share = votes.float()
        if weight is not None and not self.reads_fused and self.settings.coordinator == "logit_weight":
            weight = weight.float()
            if self.settings.absent == "trainable":  # a missing modality counts like an average observed one
                heard = torch.where(observed, weight, 0.0)
                mean = heard.sum(-1, keepdim=True) / observed.sum(-1, keepdim=True).clamp(min=1)
                weight = torch.where(observed, heard, mean)
            share = torch.where(votes, weight, 0.0)
        return share / share.sum(-1, keepdim=True).clamp(min=1e-12)
