"""Every protocol keeps what it promises, on any pattern of natural absence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.core.errors import UsageError
from imer.masks import sampling

RATES = (0, 0.1, 0.33, 0.5, 0.6, 0.655, 0.657, 0.66, 0.6616, 0.662, 0.665, 2 / 3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def presence(draw: st.DrawFn) -> np.ndarray:
    """A table of present modalities in which rows may lack some or all of them."""
    n, m, seed = draw(st.integers(1, 60)), draw(st.integers(2, 6)), draw(st.integers(0, 2**32 - 1))
    return rng(seed).random((n, m)) < draw(st.sampled_from([0.3, 0.8, 1.0]))


@pytest.mark.parametrize("n_modalities", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("n", [1, 2, 31, 32, 100_000])
def test_exact_meets_every_reachable_rate(n: int, n_modalities: int) -> None:
    present = np.ones((n, n_modalities), dtype=bool)
    for rate in RATES:
        if rate > (n_modalities - 1) / n_modalities:
            with pytest.raises(UsageError, match=f"{(n_modalities - 1) / n_modalities:.4f}"):
                sampling.exact(present, rate, rng())
            continue
        observed = sampling.exact(present, rate, rng())
        assert observed.any(axis=1).all()
        assert observed.sum() == max(round(n * n_modalities * (1 - rate)), n)


@settings(max_examples=150)
@given(presence(), st.floats(0, 1), st.integers(0, 1000))
def test_samplers_hide_nothing_that_is_absent_and_keep_one(present: np.ndarray, share: float, seed: int) -> None:
    rate = share * sampling.reachable_rate(present)
    m = present.shape[1]
    rates = [share * (m - 1) / m] * m
    for observed in (
        sampling.exact(present, rate, rng(seed)),
        sampling.bernoulli(present, rate, rng(seed)),
        sampling.mixed(present, rng(seed)),
        sampling.instance(present, share, rng(seed)),
        sampling.imbalanced(present, rates, rng(seed)),
    ):
        assert not (observed & ~present).any()
        assert (observed.any(axis=1) == present.any(axis=1)).all()


@settings(max_examples=100)
@given(presence(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
def test_nested_masks_of_higher_rates_lie_within_those_of_lower_ones(
    present: np.ndarray, a: float, b: float, seed: int
) -> None:
    low, high = sorted((a * sampling.reachable_rate(present), b * sampling.reachable_rate(present)))
    more, fewer = sampling.nested(present, low, rng(seed)), sampling.nested(present, high, rng(seed))
    assert not (fewer & ~more).any()


@settings(max_examples=60)
@given(presence(), st.integers(0, 1000))
def test_rate_zero_hides_nothing(present: np.ndarray, seed: int) -> None:
    for sampler in (sampling.exact, sampling.bernoulli, sampling.cpm):
        assert (sampler(present, 0.0, rng(seed)) == present).all()


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.6])
def test_bernoulli_and_exact_follow_the_official_law(rate: float) -> None:
    """With three modalities the other two are kept with q = 1 − 1.5·rate each (ComP's sampler, conditional law)."""
    present = np.ones((200_000, 3), dtype=bool)
    q = 1 - 1.5 * rate
    expected = [(1 - q) ** 2, 2 * q * (1 - q), q * q]
    for sampler in (sampling.bernoulli, sampling.exact):
        kept = sampler(present, rate, rng()).sum(axis=1)
        assert np.bincount(kept, minlength=4)[1:] / len(kept) == pytest.approx(expected, abs=0.005)


def test_cpm_matches_the_same_law_and_gives_up_where_the_rule_never_returns() -> None:
    kept = sampling.cpm(np.ones((2000, 3), dtype=bool), 0.3, rng()).sum(axis=1)
    assert np.bincount(kept, minlength=4)[1:] / len(kept) == pytest.approx([0.2025, 0.495, 0.3025], abs=0.04)
    with pytest.raises(UsageError, match="known fault"):
        sampling.cpm(np.ones((2000, 3), dtype=bool), 0.66, rng())


def test_mixed_is_uniform_over_the_subsets_of_what_is_present() -> None:
    present = np.array([[True, True, True]] * 70_000 + [[True, False, True]] * 30_000)
    code = sampling.mixed(present, rng()) @ [1, 2, 4]
    assert np.bincount(code[:70_000], minlength=8)[1:] / 70_000 == pytest.approx(np.full(7, 1 / 7), abs=0.01)
    assert set(code[70_000:]) == {1, 4, 5}


def test_instance_rate_is_half_the_probability_for_three_modalities() -> None:
    observed = sampling.instance(np.ones((100_000, 3), dtype=bool), 0.6, rng())
    assert sampling.missing_rate(observed) == pytest.approx(0.3, abs=0.01)
    assert observed.all(axis=1).mean() == pytest.approx(0.4, abs=0.01)


def test_imbalanced_meets_each_rate_exactly() -> None:
    observed = sampling.imbalanced(np.ones((1000, 3), dtype=bool), [0.9, 0.7, 0.4], rng())
    assert observed.sum(axis=0).tolist() == [100, 300, 600]
    assert observed.any(axis=1).all()
    with pytest.raises(UsageError, match="at most 2"):
        sampling.imbalanced(np.ones((10, 3), dtype=bool), [0.9, 0.9, 0.4], rng())
    for rates in ([1.1, 0.0, 0.0], [-0.1, 0.0, 0.0]):
        with pytest.raises(UsageError, match="each lies between 0 and 1"):
            sampling.imbalanced(np.ones((10, 3), dtype=bool), rates, rng())


def test_grid_value_of_the_literature() -> None:
    observed = sampling.exact(np.ones((300, 3), dtype=bool), 0.7, rng())
    assert (observed.sum(axis=1) == 1).all()
    with pytest.raises(UsageError, match=r"0\.6667"):
        sampling.exact(np.ones((300, 3), dtype=bool), 0.71, rng())
    with pytest.raises(UsageError, match=r"0\.5000"):
        sampling.exact(np.ones((300, 2), dtype=bool), 0.7, rng())


def test_natural_absence_counts_as_missing() -> None:
    present = np.ones((100, 2), dtype=bool)
    present[:40, 1] = False
    assert sampling.missing_rate(present) == pytest.approx(0.2)
    assert sampling.exact(present, 0.3, rng()).sum() == 140
    assert (sampling.exact(present, 0.1, rng()) == present).all()


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_rates_outside_the_unit_interval_are_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        sampling.exact(np.ones((3, 2), dtype=bool), rate, rng())


def test_a_table_without_cells_can_lose_nothing() -> None:
    nobody = np.ones((0, 3), dtype=bool)
    assert (sampling.reachable_rate(nobody), sampling.missing_rate(nobody)) == (0.0, 0.0)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_lies_between_0_and_1(probability: float) -> None:
    with pytest.raises(UsageError, match="lies between 0 and 1"):
        sampling.instance(np.ones((4, 3), dtype=bool), probability, rng())


def test_imbalanced_takes_one_rate_for_each_modality() -> None:
    with pytest.raises(UsageError, match="each of the 3 modalities"):
        sampling.imbalanced(np.ones((4, 3), dtype=bool), [0.1, 0.2], rng())


@pytest.mark.parametrize("rate", [0.0, 1 / 3, 2 / 3])
def test_cpm_at_the_ends_of_what_it_can_do(rate: float) -> None:
    present = np.ones((640, 3), dtype=bool)
    observed = sampling.cpm(present, rate, rng())
    assert observed.any(axis=1).all()
    assert abs((1 - observed.mean()) - rate) < 0.02
