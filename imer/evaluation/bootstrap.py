"""95 % intervals by resampling dialogues.

Utterances of one dialogue share a speaker, a topic and their context, so they are not independent: whole dialogues are
drawn with replacement. The statistic is the mean over mask seeds, so an interval speaks about the test set as drawn,
averaged over masks. Two methods are compared on the same dialogues and the same masks (a paired difference); how far
another training would go is in it where a method was trained with several seeds, which are then drawn as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imer.core.seeding import generator
from imer.metrics.tally import Tally

LEVEL = 0.95
REPLICATES = 2000
MIN_DEFINED = 0.9  # share of replicates in which a metric must be defined for its interval to be given
_CHUNK_BYTES = 32 << 20

Interval = tuple[float, float] | None
Seed = int | str | None


def replicate_weights(n_groups: int, n_replicates: int = REPLICATES) -> Iterator[np.ndarray]:
    """Yield how often each group is drawn: float64 [r, n_groups] in chunks, n_replicates rows in all.

    Each row is multinomial (n_groups draws with replacement); the same arguments give the same rows.
    """
    rng = generator("bootstrap", 0, n_groups)
    chunk = max(1, _CHUNK_BYTES // (8 * n_groups))
    for start in range(0, n_replicates, chunk):
        rows = min(chunk, n_replicates - start)
        drawn = rng.integers(n_groups, size=(rows, n_groups)) + n_groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n_groups)
        yield counts.reshape(rows, n_groups).astype(np.float64)


def percentile_interval(values_R: np.ndarray) -> Interval:
    """Return the 95 % interval of bootstrap replicates; None where too many of them are undefined."""
    defined = values_R[np.isfinite(values_R)]
    if len(values_R) == 0 or len(defined) < MIN_DEFINED * len(values_R):
        return None
    low, high = np.percentile(defined, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def _replicates(
    statistic: Callable[[np.ndarray], dict[str, np.ndarray]], n_groups: int, n_replicates: int = REPLICATES
) -> dict[str, np.ndarray]:
    chunks = [statistic(weights_RG) for weights_RG in replicate_weights(n_groups, n_replicates)]
    return {name: np.concatenate([chunk[name] for chunk in chunks], axis=-1) for name in chunks[0]}


def _mean_over_masks(tallies: Sequence[Tally], weights_RG: np.ndarray) -> dict[str, np.ndarray]:
    found = [tally.metrics(weights_RG) for tally in tallies]
    return {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}


def labelled_groups(tallies: Sequence[Tally]) -> np.ndarray:
    """Return the groups with at least one labelled utterance; the others must not be drawn."""
    return np.flatnonzero(sum(np.abs(tally.sums_GK).sum(axis=1) for tally in tallies))


def intervals(tallies: Sequence[Tally], *, n_replicates: int = REPLICATES) -> dict[str, Interval]:
    """Return each metric's 95 % interval for the mean over masks (one tally per mask, grouped by dialogue).

    None where there are fewer than two dialogues, or the metric is undefined too often.
    """
    groups = labelled_groups(tallies)
    kept = [tally.only(groups) for tally in tallies]
    if len(groups) < 2:
        return dict.fromkeys(kept[0].metrics())
    values = _replicates(lambda weights_RG: _mean_over_masks(kept, weights_RG), len(groups), n_replicates)
    return {name: percentile_interval(values_R) for name, values_R in values.items()}


@dataclass(frozen=True)
class Differences:
    """First − second by metric: the estimate (NaN where undefined), and its value in every replicate, float64 [R].

    Replicates of several conditions over the same dialogues are of the same draws, so they can be averaged.
    """

    estimate: dict[str, float]
    values: dict[str, np.ndarray]

    def with_intervals(self) -> dict[str, tuple[float | None, Interval]]:
        """Return each metric's difference with its 95 % interval."""
        return {
            name: (None if np.isnan(value) else value, percentile_interval(self.values[name]))
            for name, value in self.estimate.items()
        }


def paired_replicates(first: Mapping[Seed, Sequence[Tally]], second: Mapping[Seed, Sequence[Tally]]) -> Differences:
    """Return first − second (mean over training seeds and masks) as they are, and as dialogues and seeds are drawn.

    Each side maps its training seeds to a tally a mask. Where a side has several seeds, these are drawn with replacement,
    too: for both sides alike, if they have the same. All tallies must list the same dialogues in the same order. With fewer
    than two dialogues there is nothing to draw.

    Raises
    ------
    ValueError
        The two have different numbers of dialogues.
    """
    runs = [*first.values(), *second.values()]
    if len({len(tally.sums_GK) for tallies in runs for tally in tallies}) != 1:
        raise ValueError("a paired difference needs the same dialogues in both runs.")
    groups = labelled_groups([tally for tallies in runs for tally in tallies])
    kept = [[tally.only(groups) for tally in tallies] for tallies in runs]

    def of_runs(weights_RG: np.ndarray) -> dict[str, np.ndarray]:
        found = [_mean_over_masks(tallies, weights_RG) for tallies in kept]
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    signs_S = np.repeat([1 / len(first), -1 / len(second)], [len(first), len(second)])
    at_hand = of_runs(np.ones((1, len(groups))))
    estimate = {name: float(signs_S @ values_S1[:, 0]) for name, values_S1 in at_hand.items()}
    if len(groups) < 2:
        return Differences(estimate, {name: np.zeros(0) for name in estimate})
    drawn_SR = np.concatenate([_drawn_seeds(first), _drawn_seeds(second)]) * signs_S[:, None]
    return Differences(
        estimate,
        {
            name: np.where(drawn_SR == 0, 0.0, values_SR * drawn_SR).sum(axis=0)
            for name, values_SR in _replicates(of_runs, len(groups)).items()
        },
    )


def _drawn_seeds(seeds: Collection[Seed]) -> np.ndarray:
    """Return how often each seed is drawn: float64 [S, R]. The same seeds give the same draws, in any order."""
    names, place_S = np.unique(list(map(str, seeds)), return_inverse=True)
    chosen_RS = generator("bootstrap-seeds", *names.tolist()).integers(len(names), size=(REPLICATES, len(names)))
    return np.stack([(chosen_RS == place).sum(axis=1) for place in place_S]).astype(np.float64)


def mean_difference(conditions: Sequence[Differences]) -> Differences:
    """Return the mean over conditions, replicate by replicate."""
    names = conditions[0].estimate
    return Differences(
        {name: float(np.mean([one.estimate[name] for one in conditions])) for name in names},
        {name: np.mean([one.values[name] for one in conditions], axis=0) for name in names},
    )
