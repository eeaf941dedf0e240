"""The bootstrap over dialogues: coverage, clustering, pairing, degenerate cases."""

import numpy as np
import pytest

from imer.evaluation.bootstrap import (
    REPLICATES,
    Differences,
    intervals,
    mean_difference,
    paired_replicates,
    percentile_interval,
    replicate_weights,
)
from imer.metrics.tally import tally


def dialogues(rng: np.random.Generator, n_dialogues: int, spread: float, mean: float = 0.7):
    """Simulate 0/1 answers: each dialogue has its own accuracy around the mean."""
    sizes = rng.integers(5, 15, n_dialogues)
    group = np.repeat(np.arange(n_dialogues), sizes)
    accuracy = np.clip(rng.normal(mean, spread, n_dialogues), 0, 1)
    target = rng.integers(0, 2, len(group))
    right = rng.random(len(group)) < accuracy[group]
    return target, np.where(right, target, 1 - target), group


def accuracy_interval(rng: np.random.Generator, spread: float, clustered: bool = True, n: int = 40):
    target, predicted, group = dialogues(rng, n, spread)
    if not clustered:
        group = np.arange(len(target))
    return intervals([tally(target, predicted, group, group.max() + 1, 2)], n_replicates=400)["wa"]


def test_the_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    found = [accuracy_interval(rng, spread=0.12) for _ in range(200)]
    covered = np.mean([low <= 0.7 <= high for low, high in found])
    assert 0.89 <= covered <= 0.99


def test_ignoring_dialogues_would_be_too_sure():
    rng = np.random.default_rng(1)
    clustered, naive = [], []
    for _ in range(40):
        state = rng.integers(1 << 30)
        for widths, flag in ((clustered, True), (naive, False)):
            low, high = accuracy_interval(np.random.default_rng(state), spread=0.25, clustered=flag)
            widths.append(high - low)
    assert np.mean(clustered) > 1.4 * np.mean(naive)


def test_the_same_answers_give_the_same_interval_and_chunks_do_not_matter(monkeypatch):
    target, predicted, group = dialogues(np.random.default_rng(2), 20, 0.1)
    tallies = [tally(target, predicted, group, 20, 2)]
    first = intervals(tallies)
    monkeypatch.setattr("imer.evaluation.bootstrap._CHUNK_BYTES", 8 * 20 * 7)
    assert intervals(tallies) == first


def test_weights_draw_as_many_groups_as_there_are():
    chunks = list(replicate_weights(13, 50))
    assert sum(len(chunk) for chunk in chunks) == 50
    assert (np.concatenate(chunks).sum(axis=1) == 13).all()
    assert REPLICATES >= 1000


def test_a_paired_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(4)
    target, first, group = dialogues(rng, 40, 0.25)
    second = np.where(rng.random(len(target)) < 0.05, 1 - target, first)  # the same answers, a few spoilt
    tallies = [[tally(target, p, group, 40, 2)] for p in (first, second)]
    value, interval = paired_replicates(*({0: one} for one in tallies)).with_intervals()["wa"]
    assert value == pytest.approx(np.mean(first == target) - np.mean(second == target))
    assert interval[0] > 0
    one = intervals(tallies[0])["wa"]
    assert interval[1] - interval[0] < 0.5 * (one[1] - one[0])


def test_a_run_does_not_differ_from_itself():
    target, predicted, group = dialogues(np.random.default_rng(5), 10, 0.1)
    same = [tally(target, predicted, group, 10, 2)]
    assert set(paired_replicates({0: same}, {0: same}).with_intervals().values()) == {(0.0, (0.0, 0.0))}


def _of_seeds(rng: np.random.Generator, n_seeds: int, n_dialogues: int, luck: float):
    """Simulate several trainings of one method: each is better or worse throughout by its own luck."""
    target, group = rng.integers(0, 2, 10 * n_dialogues), np.repeat(np.arange(n_dialogues), 10)
    return [
        [tally(target, np.where(rng.random(len(target)) < share, target, 1 - target), group, n_dialogues, 2)]
        for share in 0.7 + luck * rng.standard_normal(n_seeds)
    ]


def test_the_luck_of_training_is_in_the_interval():
    """Two methods that are the same but for luck: with dialogues alone every other difference would have a star."""
    rng = np.random.default_rng(11)
    starred = {"seeds": 0, "one by one": 0}
    for _ in range(60):
        runs = _of_seeds(rng, 10, 60, 0.05)
        sides = [dict(enumerate(runs[:5])), {10 + n: run for n, run in enumerate(runs[5:])}]
        low, high = paired_replicates(*sides).with_intervals()["wa"][1]
        starred["seeds"] += not low <= 0 <= high
        pooled = [{0: [one for run in side.values() for one in run]} for side in sides]
        low, high = paired_replicates(*pooled).with_intervals()["wa"][1]
        starred["one by one"] += not low <= 0 <= high
    assert starred["seeds"] <= 9
    assert starred["one by one"] >= 18


def test_the_same_seeds_are_drawn_for_both_sides():
    rng = np.random.default_rng(12)
    runs = dict(enumerate(_of_seeds(rng, 5, 40, 0.05)))
    turned = dict(reversed(runs.items()))
    for value, (low, high) in paired_replicates(runs, turned).with_intervals().values():
        assert (value, low, high) == pytest.approx((0, 0, 0), abs=1e-12)
    other = {seed + 9: run for seed, run in runs.items()}
    value, (low, high) = paired_replicates(runs, other).with_intervals()["wa"]
    assert value == pytest.approx(0, abs=1e-12)
    assert low < -0.005
    assert high > 0.005


def test_a_seed_whose_metric_is_undefined_spoils_only_where_it_is_drawn():
    rng, group = np.random.default_rng(13), np.repeat(np.arange(10), 5)
    target = rng.normal(size=50)
    good, constant = ([tally(target, said, group, 10)] for said in (target + rng.normal(size=50), np.ones(50)))
    found = paired_replicates({0: good, 1: constant}, {2: good})
    assert np.isnan(found.estimate["corr"])
    defined = np.isfinite(found.values["corr"])
    assert 0.2 < defined.mean() < 0.3  # of two draws from two seeds a quarter has the good one twice
    assert not found.values["corr"][defined].any()  # which leaves the same answers on both sides


def test_different_dialogues_cannot_be_paired():
    target, predicted, group = dialogues(np.random.default_rng(6), 10, 0.1)
    with pytest.raises(ValueError, match="same dialogues"):
        paired_replicates({0: [tally(target, predicted, group, 10, 2)]}, {0: [tally(target, predicted, group, 11, 2)]})


def test_dialogues_without_labels_are_not_drawn():
    target, predicted, group = dialogues(np.random.default_rng(7), 12, 0.1)
    with_context = tally(target, predicted, 2 * group, 24, 2)  # every other dialogue has no label at all
    assert intervals([with_context]) == intervals([tally(target, predicted, group, 12, 2)])


def test_one_dialogue_or_an_undefined_metric_has_no_interval():
    values = np.array([1.0, -2.0, 0.5])
    assert set(intervals([tally(values, values, np.zeros(3, int), 1)]).values()) == {None}
    assert intervals([tally(values, values + 1, np.array([0, 0, 1]), 2)])["mae"] == pytest.approx((1, 1))
    found = intervals([tally(values, np.full(3, 0.1), np.arange(3), 3)])
    assert found["corr"] is None
    assert found["mae"] is not None


def test_percentiles():
    assert percentile_interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
    assert percentile_interval(np.array([np.nan, np.nan, 1.0])) is None


def test_the_mean_over_masks_is_narrower_than_one_mask():
    rng = np.random.default_rng(8)
    target, _, group = dialogues(rng, 30, 0.0)
    tallies = []
    for _ in range(5):
        predicted = np.where(rng.random(len(target)) < 0.7, target, 1 - target)
        tallies.append(tally(target, predicted, group, 30, 2))
    one, five = intervals(tallies[:1])["wa"], intervals(tallies)["wa"]
    assert five[1] - five[0] < 0.7 * (one[1] - one[0])


def test_the_mean_over_conditions_is_of_the_same_draws():
    rng = np.random.default_rng(9)
    target, _, group = dialogues(rng, 30, 0.0)

    def some(share):
        return [tally(target, np.where(rng.random(len(target)) < share, target, 1 - target), group, 30, 2)]

    first, second = (paired_replicates({0: some(a)}, {0: some(b)}) for a, b in ((0.8, 0.7), (0.6, 0.65)))
    both = mean_difference([first, second])
    assert both.estimate["wa"] == pytest.approx((first.estimate["wa"] + second.estimate["wa"]) / 2)
    assert np.allclose(both.values["wa"], (first.values["wa"] + second.values["wa"]) / 2)
    opposite = mean_difference([first, Differences({k: -v for k, v in first.estimate.items()},
                                                   {k: -v for k, v in first.values.items()})])  # fmt: skip
    assert opposite.with_intervals()["wa"] == (0.0, (0.0, 0.0))
