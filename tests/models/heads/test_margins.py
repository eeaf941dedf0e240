import pytest
import torch

from imer.models.heads.margins import margin_cosine, margin_logits, mixed_margin_entropy


@pytest.mark.parametrize("margin", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_target_logit_falls_with_the_angle_across_the_branch_change(margin: float) -> None:  # E.12
    angle = torch.linspace(0, torch.pi, 20_001, dtype=torch.float64)
    phi = margin_cosine(torch.cos(angle), torch.tensor(margin, dtype=torch.float64))
    assert (phi.diff() <= 1e-12).all()
    # Within 1e-3 of |z| = 1 the root is held back, so compare away from there.
    middle = (angle > 0.01) & (angle + margin < torch.pi - 0.01)
    assert torch.allclose(phi[middle], torch.cos(angle[middle] + margin), atol=1e-9)


def test_no_margin_is_the_plain_scaled_cosine_and_a_margin_lowers_only_the_target() -> None:  # E.12
    cosine = torch.rand(50, 4) * 1.9 - 0.95
    target, scale = torch.randint(4, (50,)), torch.full((50,), 16.0)
    plain = margin_logits(cosine, target, scale, torch.zeros(50))
    assert torch.allclose(plain, 16 * cosine, atol=1e-5)
    lowered = plain - margin_logits(cosine, target, scale, torch.full((50,), 0.2))
    is_target = torch.nn.functional.one_hot(target, 4).bool()
    assert (lowered[is_target] > 0).all()
    assert (lowered[~is_target].abs() < 1e-5).all()


def test_cosines_of_exactly_one_give_finite_loss_and_gradient() -> None:  # E.13
    cosine = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]], requires_grad=True)
    target = torch.tensor([0, 0, 1])
    logits = margin_logits(cosine, target, torch.full((3,), 32.0), torch.full((3,), 0.2))
    loss = torch.nn.functional.cross_entropy(logits, target)
    loss.backward()
    assert loss.isfinite()
    assert cosine.grad is not None
    assert cosine.grad.isfinite().all()


def test_mixed_margins_are_those_of_the_classes_that_share_a_value() -> None:  # B.10
    cosine, scale = torch.rand(40, 7) * 1.9 - 0.95, torch.full((40,), 16.0)
    share = torch.nn.functional.one_hot(torch.arange(40) % 6, 7) * 0.3
    share = share + torch.nn.functional.one_hot(torch.arange(40) % 6 + 1, 7) * 0.7
    none, some = torch.zeros(40), torch.full((40,), 0.2)
    plain = -(share * (16 * cosine).log_softmax(-1)).sum(-1)
    assert torch.allclose(mixed_margin_entropy(cosine, share, scale, none), plain, atol=1e-4)
    each = torch.stack([
        torch.nn.functional.cross_entropy(
            margin_logits(cosine, torch.full((40,), k), scale, some), torch.full((40,), k), reduction="none"
        )
        for k in range(7)
    ], -1)  # fmt: skip
    assert torch.allclose(mixed_margin_entropy(cosine, share, scale, some), (share * each).sum(-1), atol=1e-4)
    assert (mixed_margin_entropy(cosine, share, scale, some) > plain).all()
