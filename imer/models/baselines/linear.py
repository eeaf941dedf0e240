"""Ridge and logistic regression on the zero-imputed concatenation of all modalities and their mask bits.

Both are solved, not descended: ridge in closed form, multinomial logistic regression by L-BFGS to convergence. The
training utterances are seen under several draws of the training masks at once; the penalty is chosen on validation.

Shape suffixes: B dialogues, U padded utterances, N utterances of all draws, P inputs, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.batches.batch import Batch
from imer.core.errors import UsageError
from imer.core.ranges import Count, Positive, check_ranges
from imer.models.base import JOINT, ModelOutput, ModelSpec
from imer.models.inputs import visible

_COMPARED_ROWS = 65_536  # at a time, which bounds what a comparison takes of memory


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

    @torch.no_grad()
    def fit(self, batches: Sequence[Batch], candidate: int) -> dict[str, float]:
        """Solve for the candidate's penalty on all labelled utterances of the batches; return the fit's figures."""
        x_NP = torch.cat([self._inputs(b.features, b.observed_BUM)[b.labelled_BU] for b in batches])
        target_N = torch.cat([b.target_BU[b.labelled_BU] for b in batches])
        l2 = self.settings.l2[candidate]
        if self.spec.task == "regression":
            weight_CP, bias_C, figures = ridge(x_NP.double(), target_N.double(), l2)
        else:
            start = (self.answer.weight.double(), self.answer.bias.double())
            class_weights = self.spec.class_weights or (1.0,) * self.spec.n_outputs
            share_N = torch.tensor(class_weights, dtype=torch.float64, device=x_NP.device)[target_N]
            row_N = torch.cat([b.row_BU[b.labelled_BU] for b in batches])
            one_K, share_K = merged(row_N, x_NP, len(self.modalities), share_N / share_N.sum())
            x_KP = x_NP[one_K].double()  # hundreds of steps go through them
            del x_NP
            weight_CP, bias_C, figures = logistic(x_KP, target_N[one_K], share_K, l2, start, self.settings.iterations)
        self.answer.weight.copy_(weight_CP)
        self.answer.bias.copy_(bias_C)
        return {"l2": l2, **figures}


def merged(row_N: Tensor, x_NP: Tensor, n_modalities: int, share_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index [K] of one example of each utterance and set of observed modalities, and their joint shares [K].

    Draws of the masks repeat each other (two modalities: three sets at most): the objective is the same, in less time.
    Features relative to their speaker depend on the whole draw: where any differ, every example stays.
    """
    observed_NM = x_NP[:, -n_modalities:]
    bit_M = 2 ** torch.arange(observed_NM.shape[1], device=row_N.device)
    kind_N = row_N * 2 ** len(bit_M) + (observed_NM.long() * bit_M).sum(dim=1)
    kind_K, inverse_N = kind_N.unique(return_inverse=True)
    one_K = torch.empty_like(kind_K).scatter_(0, inverse_N, torch.arange(len(row_N), device=row_N.device))
    parts = torch.arange(len(x_NP), device=x_NP.device).split(_COMPARED_ROWS)
    if not all(torch.equal(x_NP[one_K[inverse_N[part]]], x_NP[part]) for part in parts):
        return torch.arange(len(row_N), device=row_N.device), share_N
    return one_K, share_N.new_zeros(len(kind_K)).index_add_(0, inverse_N, share_N)


def ridge(x_NP: Tensor, y_N: Tensor, l2: float) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return weights [1, P], intercept [1] and the mean squared error of ridge regression in closed form."""
    mean_P, mean = x_NP.mean(0), y_N.mean()
    centred_NP = x_NP - mean_P
    gram_PP = centred_NP.T @ centred_NP / len(x_NP)
    gram_PP.diagonal().add_(l2)
    weight_P = torch.linalg.solve(
        gram_PP,
        centred_NP.T @ (y_N - mean) / len(x_NP),
    )
    error = (centred_NP @ weight_P - (y_N - mean)).square().mean()
    return weight_P[None], (mean - mean_P @ weight_P).view(1), {"squared_error": float(error)}


def logistic(
    x_NP: Tensor, target_N: Tensor, share_N: Tensor, l2: float, start: tuple[Tensor, Tensor], iterations: int
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Return weights [C, P], intercepts [C] and figures of multinomial logistic regression by L-BFGS.

    share_N is each utterance's share of the loss; they sum to 1.
    """
    weight_CP, bias_C = (tensor.clone().requires_grad_() for tensor in start)
    solver = torch.optim.LBFGS(
        [weight_CP, bias_C], max_iter=iterations, tolerance_grad=1e-6, tolerance_change=1e-10, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def objective() -> Tensor:
        solver.zero_grad()
        each_N = functional.cross_entropy(functional.linear(x_NP, weight_CP, bias_C), target_N, reduction="none")
        value = (each_N * share_N).sum() + 0.5 * l2 * weight_CP.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(objective)
        value = objective().detach()
    steepest = max(float(t.grad.abs().max()) for t in (weight_CP, bias_C) if t.grad is not None)
    figures = {"objective": float(value), "steepest_gradient": steepest}
    return weight_CP.detach(), bias_C.detach(), figures
