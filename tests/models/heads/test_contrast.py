import math

import pytest
import torch

from imer.models.heads.contrast import prototype_contrast
from imer.models.heads.ordinal import OrdinalBins


def simplex(n_classes: int) -> torch.Tensor:
    """Unit vectors at equal angles: every cosine between two of them is −1/(K−1)."""
    centred = torch.eye(n_classes, dtype=torch.float64) - 1 / n_classes
    return torch.nn.functional.normalize(centred, dim=1).float()


def loss_of(unit_VKD: torch.Tensor, **options: float) -> float:
    every = torch.ones(len(unit_VKD), dtype=torch.bool)
    return prototype_contrast(unit_VKD, every, **options).item()


@pytest.mark.parametrize(("classes", "components", "value"), [(2, 4, 1.26451), (4, 12, 3.01991)])
def test_closed_form_of_tied_components_on_a_simplex(classes: int, components: int, value: float) -> None:  # E.14
    tied = simplex(classes).expand(components, -1, -1)
    written_out = -1 + math.log((components - 1) * math.e + components * (classes - 1) * math.exp(-1 / (classes - 1)))
    assert loss_of(tied) == pytest.approx(value, abs=1e-4)
    assert loss_of(tied) == pytest.approx(written_out, abs=1e-5)


def test_class_order_does_not_matter_single_component_is_zero_single_class_is_finite() -> None:  # E.14
    torch.manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(5, 4, 8), dim=-1)
    assert loss_of(unit[:, torch.randperm(4)]) == pytest.approx(loss_of(unit), abs=1e-6)
    assert loss_of(unit[:1]) == 0.0
    assert math.isfinite(loss_of(unit[:, :1]))


def test_against_the_formula_written_as_loops() -> None:
    torch.manual_seed(1)
    unit = torch.nn.functional.normalize(torch.randn(3, 4, 6, dtype=torch.float64), dim=-1)
    heat, total = 0.5, 0.0
    places = [(v, k) for v in range(3) for k in range(4)]
    for v, k in places:
        others = [(w, j) for w, j in places if (w, j) != (v, k)]
        denominator = math.log(sum(math.exp(float(unit[v, k] @ unit[w, j]) / heat) for w, j in others))
        for w in range(3):
            if w != v:
                total += (denominator - float(unit[v, k] @ unit[w, k]) / heat) / 2 / len(places)
    assert loss_of(unit, temperature=heat) == pytest.approx(total, abs=1e-5)


def test_components_of_unmet_cases_neither_count_nor_move() -> None:
    torch.manual_seed(2)
    raw = torch.randn(4, 3, 6, requires_grad=True)
    active = torch.tensor([True, True, False, True])
    loss = prototype_contrast(torch.nn.functional.normalize(raw, dim=-1), active)
    loss.backward()
    assert raw.grad is not None
    assert (raw.grad[2] == 0).all()
    assert (raw.grad[0] != 0).any()
    kept = torch.nn.functional.normalize(raw[active].detach(), dim=-1)
    assert loss.item() == pytest.approx(loss_of(kept), abs=1e-6)


def test_ordered_classes_repel_neighbours_least() -> None:
    raw = torch.nn.functional.normalize(torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(3)), dim=-1)
    raw = raw.requires_grad_()
    repel = OrdinalBins(-3, 3, 7).distance_KK()
    assert repel[0, 6] == 1
    assert repel[2, 3] == pytest.approx(1 / 6)
    prototype_contrast(raw, torch.ones(2, dtype=torch.bool), 1.0, repel).backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    near, far = raw.detach().clone(), raw.detach().clone()
    near[:, 1], far[:, 6] = near[:, 0], far[:, 0]
    ones = torch.ones(2, dtype=torch.bool)
    assert prototype_contrast(near, ones, 1.0, repel) < prototype_contrast(far, ones, 1.0, repel)
