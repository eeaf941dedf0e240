"""The DPL head: decoupled prototypes behind the protocol of heads.

It reads the branches unscaled: normalisation would erase a coordinator that scales features, so its weights mix the
cosines instead. Modalities are not mixed before the cosines either; each branch may pass a residual layer of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imer.core.errors import UsageError
from imer.models.base import ModelSpec
from imer.models.dropout import Dropout
from imer.models.heads.base import HeadInput, HeadOutput
from imer.models.heads.contrast import prototype_contrast
from imer.models.heads.decoupled import FUSED, Comparison, DecoupledPrototypes, may_vote
from imer.models.heads.dpl_settings import DPLSettings
from imer.models.heads.prototypes import unit
from imer.models.heads.readout import Readout


class BranchRefiner(nn.Module):
    """h + Dropout(ReLU(Linear h)) for one branch: [..., H] → [..., H]."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.dropout = Dropout(dropout)

    def forward(self, branch: Tensor) -> Tensor:
        refined: Tensor = branch + self.dropout(torch.relu(self.layer(branch)))
        return refined


class DPLHead(nn.Module):
    """Decoupled prototypes as an output head (DPL).

    Total loss: the margin loss (or the value and bin losses of regression) + λ · the contrast among prototypes
    + μ · the mean squared length of the offsets.
    """

    Settings = DPLSettings

    def __init__(self, spec: ModelSpec, width: int, settings: DPLSettings) -> None:
        super().__init__()
        self.spec, self.settings = spec, settings
        widths = {
            "branches": dict.fromkeys(spec.modalities, width),
            "concatenated": {FUSED: width * len(spec.modalities)},
            "fused": {FUSED: width},
        }[settings.attach]
        low, high = ((value - spec.target_centre) / spec.target_spread for value in self._value_range())
        prototypes_of = settings.bins if settings.decoder == "bins" else 1
        n_classes = spec.n_outputs if spec.task == "classification" else prototypes_of
        self.prototypes = DecoupledPrototypes(tuple(spec.modalities), widths, n_classes, settings)
        self.readout = Readout(self.prototypes.cases, spec.task, n_classes, settings, (low, high), spec.class_weights)
        refined = widths if settings.refine else {}
        self.refiners = nn.ModuleDict({b: BranchRefiner(d, settings.dropout) for b, d in refined.items()})
        self.learning_rate_factor = settings.learning_rate_factor
        self.is_calibrated = spec.task == "regression" and settings.decoder == "bins" and settings.bin_margins
        plain = [n for n, _ in self.readout.named_parameters(prefix="readout")]
        if not settings.decay:
            plain += [n for n, _ in self.prototypes.named_parameters(prefix="prototypes")]
        self.undecayed = frozenset(plain)

    def _value_range(self) -> tuple[float, float]:
        """The lowest and highest bin in the label's own units: the settings', or the training labels'."""
        low, high = self.spec.target_range
        low = low if self.settings.bin_low is None else self.settings.bin_low
        high = high if self.settings.bin_high is None else self.settings.bin_high
        return low, high

    def _blocks(self, branches: Tensor, observed: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        """Return the features of every block: branches [M, ..., H] (or [1, ..., H] with `fused`).

        Slots that have no vote are set to zero first, so that nothing in them, even NaN, passes a refiner.
        """
        if self.settings.attach == "fused":
            if len(branches) != 1:
                raise UsageError(
                    f"head.attach = fused is for a model that gives one vector per utterance; this one gives {len(branches)}: "
                    "use branches or concatenated."
                )
            kept = [branches[0]]
        else:
            read = may_vote(observed, weight, self.settings.absent)
            kept = [torch.where(o.unsqueeze(-1), x, 0.0) for o, x in zip(read.unbind(-1), branches, strict=True)]
        if self.settings.attach == "concatenated":
            kept = [torch.cat(kept, -1)]
        blocks = dict(zip(self.prototypes.blocks, kept, strict=True))
        for block, refiner in self.refiners.items():
            raw = blocks[block]
            blocks[block] = torch.where((raw != 0).any(-1, keepdim=True), refiner(raw), 0.0)  # no vector stays none
        return blocks

    def forward(self, given: HeadInput) -> HeadOutput:
        """Answer with logits s·z, or with the standardised value; where nothing is observed, the same for all."""
        blocks = self._blocks(given.branches_MBUH, given.observed_BUM, given.weight_BUM)
        compared = self.prototypes(blocks, given.observed_BUM, given.weight_BUM)
        late_BUC = self._late(given)
        extra = {
            "cosine_BUK": compared.cosine_K,
            "block_cosine_BUMK": compared.block_cosine_BK,
            "case_BU": compared.case,
            "votes_BUM": compared.votes_B,
        }
        if late_BUC is not None:
            extra["late_BUC"] = late_BUC
        fused_BUH = torch.cat(list(blocks.values()), -1)
        branch_MBUC = None
        if self.settings.branch_answers == "prototypes":
            branch_MBUC = self.readout.block_answers(compared).movedim(-2, 0)
        return HeadOutput(self.readout.answer(compared, late_BUC), fused_BUH, branch_MBUC, extra)

    def _late(self, given: HeadInput) -> Tensor | None:
        """Return the weighted mean of the branches' own answers, where the settings ask for it."""
        if not self.settings.late_fusion:
            return None
        share_BUM = given.weight_BUM / given.weight_BUM.sum(-1, keepdim=True).clamp(min=1e-6)
        share_MBU1 = share_BUM.permute(2, 0, 1).unsqueeze(-1)
        return torch.where(share_MBU1 > 0, given.branch_answers_MBUC * share_MBU1, 0.0).sum(0)

    def losses(self, output: HeadOutput, target_BU: Tensor, counted_BU: Tensor) -> dict[str, Tensor]:
        """Return the loss terms: `joint`, with bins `bins`, and where switched on `contrast` and `offsets`."""
        extra = output.extra
        compared = Comparison(extra["cosine_BUK"], extra["block_cosine_BUMK"], extra["case_BU"], extra["votes_BUM"])
        counted_BU = counted_BU & (compared.case > 0)
        if self.training:
            self.prototypes.count(compared, counted_BU)
        terms = self.readout.losses(compared, output.answer_BUC, target_BU, counted_BU, extra.get("late_BUC"))
        if self._contrasts():
            terms["contrast"] = self.settings.contrast_weight * self.contrast()
        if self.settings.delta_penalty > 0 and self.prototypes.prototypes.offset:
            terms["offsets"] = self.settings.delta_penalty * self.prototypes.prototypes.offset_size()
        return terms

    def _contrasts(self) -> bool:
        wanted = self.settings.contrast_weight > 0 and self.settings.contrast_scope != "none"
        return wanted and self.readout.n_classes > 1

    def contrast(self) -> Tensor:
        """Return the contrastive loss among the prototypes of the cases that training has met, unweighted.

        `all`: cases and modalities together; `intra_modality`: the mean over modalities of each one's own.
        """
        table = self.prototypes.prototypes
        components, active = [], []
        for block in self.prototypes.blocks:
            unit_VKD, of_row_R = table.components(block)
            met_R = self.prototypes.met(block).float()
            components.append(unit_VKD)
            met_V = torch.zeros(len(unit_VKD), device=met_R.device).index_add(0, of_row_R, met_R)
            active.append(met_V > 0)
        repel_KK = self.readout.bins.distance_KK() if self.readout.bins is not None else None
        heat = self.settings.contrast_temperature
        if self.settings.contrast_scope == "all":
            return prototype_contrast(torch.cat(components), torch.cat(active), heat, repel_KK)
        each = [prototype_contrast(c, a, heat, repel_KK) for c, a in zip(components, active, strict=True)]
        return torch.stack(each).mean()

    @torch.no_grad()
    def start(self, branches_MNH: Tensor, observed_NM: Tensor, target_N: Tensor) -> None:
        """Start the prototypes from class means (`initial = "class_mean"`).

        Regression counts every utterance in its two bins; an axis has no classes and keeps its start.
        """
        if self.settings.initial != "class_mean" or self.readout.axis:
            return
        was_training = self.training
        self.eval()
        if self.readout.bins is not None:
            share_NK = self.readout.bins.two_hot(target_N)
        else:
            share_NK = nn.functional.one_hot(target_N.long(), self.readout.n_classes).float()
        case_N = self.prototypes.cases.codes(observed_NM)
        table = self.prototypes.prototypes
        for block, x_NH in self._blocks(branches_MNH, observed_NM).items():
            row_N = table.row_CB[case_N, self.prototypes.blocks.index(block)]
            codes_R = table.case_codes(block)
            in_row_NR = (row_N.unsqueeze(1) == torch.arange(len(codes_R), device=row_N.device)).float()
            x_NH = unit(torch.where((row_N >= 0).unsqueeze(1), x_NH, 0.0))
            sum_RKD = torch.einsum("nr,nk,nd->rkd", in_row_NR, share_NK, x_NH)
            count_RK = torch.einsum("nr,nk->rk", in_row_NR, share_NK)
            table.set_means(block, sum_RKD, count_RK, self.settings.class_mean_pull)
        self.train(was_training)

    def calibrate(self, said: Sequence[tuple[HeadOutput, Tensor, Tensor]]) -> None:
        """Be shown what it answers for the validation part, with targets and which of them count, at the very end."""
        parts = [
            (one.extra["cosine_BUK"][counted], one.extra["case_BU"][counted], target[counted])
            for one, target, counted in said
        ]
        cosine_NK, case_N, target_N = (torch.cat(column) for column in zip(*parts, strict=True))
        self.readout.fit_temperatures(cosine_NK, case_N, target_N)

    def check_cases(self, observed: Tensor) -> None:
        """Say once, or refuse, where utterances fall into cases that training hardly met: bool [..., M]."""
        self.prototypes.check_cases(observed)
