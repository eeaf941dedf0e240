"""From cosines to answers and losses: the scale and margin of each case, ordered bins or an axis for regression.

classes   logits s_c·z;  the margin loss in training (case-adaptive ArcFace)
bins      p = softmax(s_c·z), ŷ = Σ_k p_k b_k;  loss on ŷ + α·CE(two-hot(y), p), no margin: a margin makes p
          over-confident and turns the expectation into rounding
axis      ŷ = r·z + b_c with one prototype per case and modality (ablation)
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.models.heads.cases import CaseTable
from imer.models.heads.decoupled import Comparison
from imer.models.heads.dpl_settings import DPLSettings, by_case
from imer.models.heads.margins import margin_logits
from imer.models.heads.ordinal import OrdinalBins


def mean_over(value: Tensor, used: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean over the used entries, each counted by its weight; 0 where there are none."""
    count = used.to(value.dtype) if weight is None else torch.where(used, weight.to(value.dtype), 0.0)
    return (torch.where(used, value, 0.0) * count).sum() / count.sum().clamp(min=1e-12)


class Readout(nn.Module):
    """What the cosines mean.

    task         `classification` or `regression`
    n_classes    classes, bins, or 1 for an axis
    value_range  lowest and highest bin in the units of the targets (regression)
    """

    margin_C: Tensor

    def __init__(
        self,
        cases: CaseTable,
        task: str,
        n_classes: int,
        settings: DPLSettings,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
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
        margins = by_case("dpl.margins", settings.margins)
        margin_C = cases.per_case(settings.margin_complete, settings.margin_single, margins)
        self.register_buffer("margin_C", margin_C, persistent=False)
        scale_C = cases.per_case(settings.scale, settings.scale, by_case("dpl.scales", settings.scales))
        place = (scale_C / settings.scale_low).log()
        place = (place / log(settings.scale_high / settings.scale_low)).clamp(1e-3, 1 - 1e-3)
        learn = settings.learn_scale in ("always", task)
        self.scale_place_C = nn.Parameter(torch.logit(place), requires_grad=learn)

    def scale_C(self) -> Tensor:
        """Return s per case code, float32 [2^M], always within scale_low … scale_high."""
        low, high = self.settings.scale_low, self.settings.scale_high
        return low * torch.exp(torch.sigmoid(self.scale_place_C.float()) * log(high / low))

    def answer(self, cosine_K: Tensor, case: Tensor) -> Tensor:
        """Return logits [..., C], or the value [..., 1] in the units of the targets."""
        if self.axis:
            return self.reach * cosine_K + self.bias_C[case].unsqueeze(-1)
        logits = self.scale_C()[case].unsqueeze(-1) * cosine_K
        return logits if self.bins is None else self.bins.expectation(logits.softmax(-1)).unsqueeze(-1)

    def losses(
        self,
        output: Comparison,
        target: Tensor,
        used: Tensor,
        class_weight: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, Tensor]:
        """Return the terms of the fused prediction's loss.

        target  int64 class or float value [...]; read only where `used`, bool [...]
        """
        used = used & (output.case > 0)
        target = torch.where(used, target, 0)
        if self.task == "classification":
            return {"joint": self._class_loss(output, target, used, class_weight, label_smoothing)}
        value = self.answer(output.cosine_K, output.case).squeeze(-1)
        distance = functional.mse_loss if self.settings.value_loss == "mse" else functional.l1_loss
        terms = {"joint": mean_over(distance(value, target.float(), reduction="none"), used)}
        if self.bins is not None and self.settings.bin_loss_weight > 0:
            log_p = (self.scale_C()[output.case].unsqueeze(-1) * output.cosine_K).log_softmax(-1)
            entropy = -(self.bins.two_hot(target) * log_p).sum(-1)
            terms["bins"] = self.settings.bin_loss_weight * mean_over(entropy, used)
        return terms

    def _class_loss(
        self, output: Comparison, target: Tensor, used: Tensor, class_weight: Tensor | None, label_smoothing: float
    ) -> Tensor:
        scale, margin = self.scale_C()[output.case], self.margin_C[output.case]
        log_p = margin_logits(output.cosine_K, target, scale, margin).log_softmax(-1)
        entropy = -log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1)
        entropy = (1 - label_smoothing) * entropy - label_smoothing * log_p.mean(-1)
        return mean_over(entropy, used, None if class_weight is None else class_weight[target])
