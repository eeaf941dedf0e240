"""The linear head: weights reach the answer, silent branches do not."""

from __future__ import annotations

import pytest
import torch

from imer.core.errors import UsageError
from imer.models.base import ModelSpec
from imer.models.heads.base import HeadInput
from imer.models.heads.linear import LinearHead, LinearSettings


def _head(task: str = "classification", **settings: object) -> LinearHead:
    torch.manual_seed(0)
    outputs = 3 if task == "classification" else 1
    return LinearHead(ModelSpec({"audio": 7, "text": 5}, task, outputs), 4, LinearSettings(**settings)).eval()


def _given(outputs: int = 3, seed: int = 0) -> HeadInput:
    generator = torch.Generator().manual_seed(seed)
    observed = torch.tensor([[[True, False], [True, True], [False, False]]])
    return HeadInput(
        torch.randn(2, 1, 3, 4, generator=generator),
        observed,
        observed.float(),
        torch.randn(2, 1, 3, outputs, generator=generator),
    )


@pytest.mark.parametrize("mixing", [True, False])
def test_a_branch_of_weight_0_has_no_say(mixing: bool) -> None:
    head, given = _head(mixing=mixing), _given()
    silent = given.weight_BUM.permute(2, 0, 1).unsqueeze(-1) == 0
    changed = HeadInput(
        torch.where(silent, given.branches_MBUH + 100, given.branches_MBUH),
        given.observed_BUM,
        given.weight_BUM,
        torch.where(silent, given.branch_answers_MBUC + 100, given.branch_answers_MBUC),
    )
    assert torch.equal(head(changed).answer_BUC, head(given).answer_BUC)
    assert head(given).fused_BUH.shape == (1, 3, 8)


def test_late_fusion_adds_the_weighted_mean_of_the_branches_answers() -> None:
    given = _given()
    without = _head(late_fusion=0.0)(given).answer_BUC
    added = _head(late_fusion=1.0)(given).answer_BUC - without
    assert torch.allclose(added[0, 0], given.branch_answers_MBUC[0, 0, 0], atol=1e-6)
    assert torch.allclose(added[0, 1], given.branch_answers_MBUC[:, 0, 1].mean(0), atol=1e-6)
    assert torch.equal(added[0, 2], torch.zeros(3))


def test_the_loss_names_an_unknown_kind() -> None:
    with pytest.raises(UsageError, match="did you mean 'huber'"):
        _head("regression", regression_loss="hubert")
    head, given = _head("regression", regression_loss="l1"), _given(outputs=1)
    output = head(given)
    target = torch.tensor([[1.0, torch.nan, -1.0]])
    loss = head.losses(output, target, torch.isfinite(target))["joint"]
    assert loss.item() == pytest.approx(((output.answer_BUC[0, [0, 2], 0] - target[0, [0, 2]]).abs().mean()).item())
