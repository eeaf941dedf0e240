import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.core.errors import UsageError
from imer.models.heads.ordinal import OrdinalBins


def test_two_hot_reads_back_exactly_on_a_grid() -> None:  # E.20
    bins, value = OrdinalBins(-3.0, 3.0, 7), torch.linspace(-3, 3, 601)
    target = bins.two_hot(value)
    assert (target >= 0).all()
    assert torch.allclose(target.sum(-1), torch.ones(601), atol=1e-6)
    assert ((target > 0).sum(-1) <= 2).all()
    assert torch.allclose(bins.expectation(target), value, atol=1e-6)


@settings(max_examples=30)
@given(
    low=st.floats(-5, 4), span=st.floats(0.1, 10), count=st.integers(2, 15), place=st.floats(-0.5, 1.5),
)  # fmt: skip
def test_any_grid_reads_back_what_lies_inside_and_holds_the_rest(
    low: float, span: float, count: int, place: float
) -> None:
    bins = OrdinalBins(low, low + span, count)
    read = bins.expectation(bins.two_hot(torch.tensor(low + place * span)))
    inside = low + min(max(place, 0.0), 1.0) * span
    assert read.item() == pytest.approx(inside, abs=1e-4)


def test_answer_never_leaves_the_range() -> None:  # E.20
    probability = torch.softmax(torch.randn(500, 7) * 10, -1)
    value = OrdinalBins(-3.0, 3.0, 7).expectation(probability)
    assert value.abs().max() <= 3 + 1e-6


@pytest.mark.parametrize(("low", "high", "count"), [(0.0, 0.0, 7), (1.0, -1.0, 7), (0.0, 1.0, 1)])
def test_impossible_bins_are_refused(low: float, high: float, count: int) -> None:
    with pytest.raises(UsageError, match="at least 2 bins"):
        OrdinalBins(low, high, count)
