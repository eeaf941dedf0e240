"""From cosines to answers and losses: the scale and margin of each case, ordered bins or an axis for regression.

classes   logits s_c·z;  the margin loss in training (case-adaptive ArcFace)
bins      p = softmax(s_c·z / T_n), ŷ = Σ_k p_k b_k;  loss on ŷ + α·CE(two-hot(y), p), no margin: a margin makes p
          over-confident and turns the expectation into rounding. With `bin_margins` there is one all the same, and then
          a temperature T_n for each number n of observed modalities; without, T_n = 1
axis      ŷ = r·z + b_c with one prototype per case and modality (ablation)
"""

from __future__ import annotations

from math import log, log10

import torch
from torch import Tensor, nn

from imer.models.cases import CaseTable
from imer.models.heads.decoupled import Comparison
from imer.models.heads.dpl_settings import DPLSettings, by_case
from imer.models.heads.margins import margin_logits, mixed_margin_entropy
from imer.models.heads.ordinal import OrdinalBins
from imer.models.losses import TaskLoss, masked_mean

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.125, 16.0
GRID = 127  # candidates, a ratio of 1.04 apart


class Readout(nn.Module):
    """What the cosines mean.

    task         `classification` or `regression`
    n_classes    classes, bins, or 1 for an axis
    value_range  lowest and highest bin in the units of the targets (regression)
    class_weights  of each class in the loss, or None
    """

    margin_C: Tensor
    n_observed_C: Tensor
    temperature_n: Tensor

    def __init__(
        self,
        cases: CaseTable,
        task: str,
        n_classes: int,
        settings: DPLSettings,
        value_range: tuple[float, float] = (-1.0, 1.0),
        class_weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        self.task_loss = TaskLoss(task, class_weights, settings.label_smoothing, settings.regression_loss)
        self.task, self.settings = task, settings
        self.axis = task == "regression" and settings.decoder == "axis"
        self.n_classes = n_classes
        self.bins: OrdinalBins | None = None
        low, high = value_range
        if self.axis:
            self.reach = nn.Parameter(torch.tensor(max(high - low, 1e-3) / 2))
            self.bias_C = nn.Parameter(torch.full((cases.n_cases,), (low + high) / 2))
            return
        if task == "regression":
            self.bins = OrdinalBins(low, high, n_classes)
        margins = by_case("head.margins", settings.margins)
        margin_C = cases.per_case(settings.margin_complete, settings.margin_single, margins)
        self.register_buffer("margin_C", margin_C, persistent=False)
        if self.bins is not None and settings.bin_margins:
            self.register_buffer("n_observed_C", cases.members_CM.sum(1), persistent=False)
            self.register_buffer("temperature_n", torch.ones(cases.members_CM.shape[1] + 1))
        scale_C = cases.per_case(settings.scale, settings.scale, by_case("head.scales", settings.scales))
        place = (scale_C / settings.scale_low).log()
        place = (place / log(settings.scale_high / settings.scale_low)).clamp(1e-3, 1 - 1e-3)
        learn = settings.learn_scale in ("always", task)
        self.scale_place_C = nn.Parameter(torch.logit(place), requires_grad=learn)

    def scale_C(self) -> Tensor:
        """Return s per case code, float32 [2^M], always within scale_low … scale_high."""
        low, high = self.settings.scale_low, self.settings.scale_high
        return low * torch.exp(torch.sigmoid(self.scale_place_C.float()) * log(high / low))

    def answer(self, compared: Comparison, late: Tensor | None = None) -> Tensor:
        """Return logits [..., C], or the value [..., 1] in the units of the targets.

        late  mean of the branches' own answers [..., C]: added to logits, averaged with values, in the proportion
              `late_fusion` to 1
        """
        said = self._read(compared.cosine_K, compared.case)
        if late is None:
            return said
        share = self.settings.late_fusion
        return said + share * late if self.task == "classification" else (said + share * late) / (1 + share)

    def block_answers(self, compared: Comparison) -> Tensor:
        """Return what each block says by itself, s·cos(h^u, w^{O,u}) read as an answer: [..., B, C]."""
        return self._read(compared.block_cosine_BK, compared.case.unsqueeze(-1))

    def _read(self, cosine_K: Tensor, case: Tensor) -> Tensor:
        """Return logits [..., C], or the value [..., 1], of cosines [..., K] in the cases [...]."""
        if self.task == "classification":
            return self._scaled(cosine_K, case)
        if self.bins is None:
            return self.reach * cosine_K + self.bias_C[case].unsqueeze(-1)
        logits_K = self._scaled(cosine_K, case)
        if self.settings.bin_margins and not self.training:
            logits_K = logits_K / self.temperature_n[self.n_observed_C[case]].unsqueeze(-1)
        return self.bins.expectation(logits_K.softmax(-1)).unsqueeze(-1)

    def _scaled(self, cosine_K: Tensor, case: Tensor) -> Tensor:
        return self.scale_C()[case].unsqueeze(-1) * cosine_K

    def losses(
        self,
        compared: Comparison,
        answer: Tensor,
        target: Tensor,
        counted: Tensor,
        late: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of the fused prediction's loss.

        answer   what `answer` returned
        target   int64 class or float value [...]; read only where `counted`, bool [...]
        """
        if self.task == "classification":
            target = torch.where(counted, target, 0)
            scale, margin = self.scale_C()[compared.case], self.margin_C[compared.case]
            logits = margin_logits(compared.cosine_K, target, scale, margin)
            if late is not None:
                logits = logits + self.settings.late_fusion * late
            return {"joint": self.task_loss(logits, target, counted)}
        terms = {"joint": self.task_loss(answer, target, counted)}
        if self.bins is not None and self.settings.bin_loss_weight > 0:
            two_hot = self.bins.two_hot(torch.where(counted, target, 0.0))
            if self.settings.bin_margins:
                scale, margin = self.scale_C()[compared.case], self.margin_C[compared.case]
                entropy = mixed_margin_entropy(compared.cosine_K, two_hot, scale, margin)
            else:
                entropy = -(two_hot * self._scaled(compared.cosine_K, compared.case).log_softmax(-1)).sum(-1)
            terms["bins"] = self.settings.bin_loss_weight * masked_mean(entropy, counted)
        return terms

    @torch.no_grad()
    def fit_temperatures(self, cosine_NK: Tensor, case_N: Tensor, target_N: Tensor) -> None:
        """Fit T_n to utterances that nothing was learnt from: the least cross-entropy of their two-hot targets."""
        if self.bins is None or not self.settings.bin_margins:
            return
        share_NK, scaled_NK = self.bins.two_hot(target_N), self._scaled(cosine_NK, case_N)
        n_N = self.n_observed_C[case_N]
        grid_T = torch.logspace(log10(LEAST_TEMPERATURE), log10(MOST_TEMPERATURE), GRID, device=scaled_NK.device)
        for n in range(1, len(self.temperature_n)):
            here = n_N == n
            if not bool(here.any()):
                continue
            entropies = [-(share_NK[here] * (scaled_NK[here] / t).log_softmax(-1)).sum(-1).mean() for t in grid_T]
            self.temperature_n[n] = grid_T[torch.stack(entropies).argmin()]
