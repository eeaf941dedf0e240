"""Ridge and logistic regression on the zero-imputed concatenation of all modalities and their mask bits.

Both are solved, not descended: ridge in closed form, multinomial logistic regression by L-BFGS to convergence. The
training utterances are seen under several draws of the training masks at once; the penalty is chosen on validation.

Shape suffixes: B dialogues, U padded utterances, R rows of features, K examples, P inputs, D those of a modality, Q inputs,
target and constant, S those of a set of modalities, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.batches.batch import Batch
from imer.core.errors import UsageError
from imer.core.ranges import Count, Positive, check_ranges
from imer.models.base import JOINT, ModelOutput, ModelSpec
from imer.models.baselines.examples import Examples
from imer.models.inputs import visible

_EXAMPLES_AT_ONCE = 16_384  # bounds what ridge regression takes of memory


@dataclass(frozen=True)
class LinearModelSettings:
    """Settings of ridge and logistic regression.

    l2          penalties tried, strongest first: the mean loss (cross-entropy, or half the squared error) plus l2 / 2 times
                the squared weights is minimised (the intercept is free)
    mask_draws  draws of the training masks that are fitted together
    clip_z      standardised features are cut to ± this
    iterations  most iterations of L-BFGS
    """

    l2: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    mask_draws: Count = 8
    clip_z: Positive = 10.0
    iterations: Count = 500

    def __post_init__(self) -> None:
        check_ranges(self, "model")
        if not self.l2 or min(self.l2) <= 0:
            raise UsageError(f"model.l2 holds numbers above 0, but {list(self.l2)} was given.")


class LinearModel(nn.Module):
    """One linear map from [features of all modalities, mask bits] to the answer; looks at one utterance at a time."""

    Settings: ClassVar[type] = LinearModelSettings
    takes_head: ClassVar[bool] = False
    stages: ClassVar[tuple[str, ...]] = (JOINT,)
    branch_stages: ClassVar[tuple[str, ...]] = ()
    candidates: int = 1  # solutions to choose from, one for each penalty

    def __init__(self, spec: ModelSpec, settings: LinearModelSettings) -> None:
        super().__init__()
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.candidates, self.mask_draws = len(settings.l2), settings.mask_draws
        self.answer = nn.Linear(sum(self.modalities.values()) + len(self.modalities), spec.n_outputs)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        return ModelOutput(joint_BUC=self.answer(self._inputs(features, observed_BUM)))

    def _inputs(self, features: dict[str, Tensor], observed_BUM: Tensor) -> Tensor:
        seen = [visible(features[m], observed_BUM[..., u], self.settings.clip_z) for u, m in enumerate(self.modalities)]
        return torch.cat([*seen, observed_BUM.to(seen[0].dtype)], dim=-1)

    def collect(self, batches: Iterable[Batch]) -> Examples | Tensor:
        """Return what is fitted: the labelled utterances of the batches, or all that ridge regression needs of them."""
        examples = Examples.of(batches, list(self.modalities), self.settings.clip_z, self.spec.class_weights)
        return moments(examples) if self.spec.task == "regression" else examples

    @torch.no_grad()
    def fit(self, collected: Examples | Tensor, candidate: int) -> dict[str, float]:
        """Solve for the candidate's penalty; return the fit's figures."""
        l2 = self.settings.l2[candidate]
        if isinstance(collected, Tensor):
            weight_CP, bias_C, figures = ridge(collected, l2)
        else:
            start = (self.answer.weight.double(), self.answer.bias.double())
            weight_CP, bias_C, figures = logistic(collected, l2, start, self.settings.iterations)
        self.answer.weight.copy_(weight_CP)
        self.answer.bias.copy_(bias_C)
        return {"l2": l2, **figures}


def moments(examples: Examples) -> Tensor:
    """Return the second moments of the inputs, the target and the constant 1, float64 [P + 2, P + 2].

    They are summed from some examples at a time, so that memory does not grow with their number; what a set of modalities
    does not show is 0 and left out.
    """
    widths = torch.tensor([values.shape[1] for values in examples.features_RD], device=examples.row_K.device)
    n_inputs = int(widths.sum()) + len(widths)
    total_QQ = examples.share_K.new_zeros(n_inputs + 2, n_inputs + 2)
    for shown_M in examples.observed_KM.bool().unique(dim=0):
        of_set_K = (examples.observed_KM.bool() == shown_M).all(dim=1)
        always = torch.ones_like(shown_M[:1])
        column_S = torch.cat([shown_M.repeat_interleave(widths), shown_M, always, always]).nonzero().flatten()
        sum_SS = total_QQ.new_zeros(len(column_S), len(column_S))
        for part in of_set_K.nonzero().flatten().split(_EXAMPLES_AT_ONCE):
            row, share = examples.row_K[part], examples.share_K[part, None]
            seen = [values[row] for values, here in zip(examples.features_RD, shown_M, strict=True) if here]
            ones = torch.ones_like(share)
            z_KS = torch.cat([*seen, ones.expand(-1, len(seen)), examples.target_K[part, None], ones], dim=1)
            sum_SS += (z_KS * share).T @ z_KS
        total_QQ[column_S[:, None], column_S] += sum_SS
    return total_QQ


def ridge(moment_QQ: Tensor, l2: float) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return weights [1, P], intercept [1] and the mean squared error of ridge regression in closed form."""
    inputs, y, one = slice(0, -2), -2, -1
    centred_QQ = moment_QQ - torch.outer(moment_QQ[one], moment_QQ[one])
    gram_PP, with_y_P = centred_QQ[inputs, inputs], centred_QQ[inputs, y]
    weight_P = torch.linalg.solve(gram_PP + l2 * torch.eye(len(gram_PP)).to(gram_PP), with_y_P)
    intercept = moment_QQ[y, one] - (weight_P * moment_QQ[inputs, one]).sum()
    left_1Q = torch.cat([-weight_P, weight_P.new_ones(1)])[None]  # of the target, when the inputs' share is taken away
    error = left_1Q @ centred_QQ[:one, :one] @ left_1Q.T
    return weight_P[None], intercept.view(1), {"squared_error": float(error)}


def logistic(
    examples: Examples, l2: float, start: tuple[Tensor, Tensor], iterations: int
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return weights [C, P], intercepts [C] and figures of multinomial logistic regression by L-BFGS.

    What a modality adds to an answer is worked out once for each row, for all examples that show it.
    """
    weight_CP, bias_C = (tensor.clone().requires_grad_() for tensor in start)
    x_RD = [values.double() for values in examples.features_RD]  # hundreds of steps go through them
    widths = [values.shape[1] for values in x_RD]
    solver = torch.optim.LBFGS(
        [weight_CP, bias_C], max_iter=iterations, tolerance_grad=1e-6, tolerance_change=1e-10, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def objective() -> Tensor:
        solver.zero_grad()
        *own, of_bits = weight_CP.split([*widths, len(widths)], dim=1)
        answer_KC = functional.linear(examples.observed_KM, of_bits, bias_C)
        for u, weight_CD in enumerate(own):
            added_KC = (x_RD[u] @ weight_CD.T).index_select(0, examples.row_K)
            answer_KC = answer_KC + added_KC * examples.observed_KM[:, u, None]
        each_K = functional.cross_entropy(answer_KC, examples.target_K, reduction="none")
        value = each_K @ examples.share_K + 0.5 * l2 * weight_CP.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(objective)
        value = objective().detach()
    steepest = max(float(t.grad.abs().max()) for t in (weight_CP, bias_C) if t.grad is not None)
    figures = {"objective": float(value), "steepest_gradient": steepest}
    return weight_CP.detach(), bias_C.detach(), figures
