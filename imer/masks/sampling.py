"""Which modalities of which utterances stay observed: one function per protocol.

Every sampler takes `present_NM` (what the data really have) and a source of uniform numbers with a method
`random(shape)`, and returns `observed_NM`, a subset of what is present. Every utterance that has any modality keeps
at least one (but see `pattern`). The **missing rate** is 1 − observed cells / (N·M): what is absent by nature counts
as missing, so the rate of the data as they are need not be 0.

With M modalities and at least one kept, no rate above (M−1)/M can be reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imer.core.errors import UsageError

Mask = NDArray[np.bool_]

GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # the missing rates of the literature's tables
RATE_TOLERANCE = 1e-9
CPM_TOLERANCE = 0.005  # the official rule accepts a draw within this distance of the rate
CPM_MIN_ROWS = 32
CPM_MAX_DRAWS = 1000  # where the official rule would loop for ever, this one says so


class Uniform(Protocol):
    """A source of independent numbers in [0, 1): a NumPy generator, or `KeyedUniform`."""

    def random(self, size: tuple[int, int]) -> NDArray[np.float64]: ...


def missing_rate(observed_NM: Mask) -> float:
    """Return 1 − observed cells / (N·M); 0 for an empty table."""
    return 1.0 - float(observed_NM.mean()) if observed_NM.size else 0.0


def reachable_rate(present_NM: Mask) -> float:
    """Return the highest missing rate at which every utterance with any modality keeps one."""
    if not present_NM.size:
        return 0.0
    return 1.0 - float(present_NM.any(axis=1).sum()) / present_NM.size


def is_reachable(present_NM: Mask, rate: float) -> bool:
    """Say whether a missing rate can be reached; 0.7 with three modalities names 2/3, as in the literature."""
    names_two_thirds = present_NM.shape[1] == 3 and abs(rate - GRID[-1]) < RATE_TOLERANCE
    return names_two_thirds or rate <= reachable_rate(present_NM) + RATE_TOLERANCE


def reachable_grid(present_NM: Mask, grid: Sequence[float] = GRID) -> tuple[float, ...]:
    """Return the rates of a grid that can be reached."""
    return tuple(rate for rate in grid if is_reachable(present_NM, rate))


def check_rate(present_NM: Mask, rate: float) -> None:
    """Refuse a rate that cannot be reached, naming the one that can.

    The grid value 0.7 with three modalities is accepted and means 2/3, as in the literature.

    Raises
    ------
    UsageError
        It lies outside of 0 … 1, or above what can be reached.
    """
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"A missing rate lies between 0 and 1, but {rate:g} was given.")
    if not is_reachable(present_NM, rate):
        raise UsageError(
            f"A missing rate of {rate:g} cannot be reached: every utterance keeps at least one of its "
            f"{present_NM.shape[1]} modalities, so the highest reachable rate here is {reachable_rate(present_NM):.4f}."
        )


def _preserved(present_NM: Mask, uniform: Uniform) -> Mask:
    """Choose one present modality per utterance, uniformly."""
    draw_NM = np.where(present_NM, uniform.random(present_NM.shape), -1.0)
    chosen_NM = np.zeros_like(present_NM)
    chosen_NM[np.arange(len(draw_NM)), draw_NM.argmax(axis=1)] = True
    return chosen_NM & present_NM


def _with_one_kept(observed_NM: Mask, present_NM: Mask, uniform: Uniform) -> Mask:
    """Give every utterance that lost everything one of its present modalities back."""
    empty = np.flatnonzero(present_NM.any(axis=1) & ~observed_NM.any(axis=1))
    kept_NM = observed_NM.copy()
    kept_NM[empty] = _preserved(present_NM, uniform)[empty]
    return kept_NM


def exact(present_NM: Mask, rate: float, uniform: Uniform) -> Mask:
    """Keep exactly round(N·M·(1−rate)) cells: one preserved cell per utterance, the others without replacement.

    The numbers drawn do not depend on the rate, so the masks of one generator state are nested over rates.
    """
    check_rate(present_NM, rate)
    preserved_NM = _preserved(present_NM, uniform)
    rank_NM = np.where(present_NM & ~preserved_NM, uniform.random(present_NM.shape), np.inf)
    spare = int(np.isfinite(rank_NM).sum())
    wanted = round(present_NM.size * (1.0 - rate)) - int(preserved_NM.sum())
    kept = min(max(wanted, 0), spare)
    observed_NM = preserved_NM.copy()
    observed_NM.flat[np.argsort(rank_NM, axis=None, kind="stable")[:kept]] = True
    return observed_NM


nested = exact  # `imer.masks.make` gives it one generator state for all rates; that alone makes masks nested


def bernoulli(present_NM: Mask, rate: float, uniform: Uniform) -> Mask:
    """Keep one cell per utterance and each other cell independently, so that the rate is met on average.

    For complete data the keep probability is q = (M(1−rate) − 1)/(M − 1), the law of the official sampler.
    """
    check_rate(present_NM, rate)
    preserved_NM = _preserved(present_NM, uniform)
    spare_NM = present_NM & ~preserved_NM
    wanted = present_NM.size * (1.0 - rate) - preserved_NM.sum()
    probability = min(max(wanted / max(int(spare_NM.sum()), 1), 0.0), 1.0)
    return preserved_NM | (spare_NM & (uniform.random(present_NM.shape) < probability))


def pattern(present_NM: Mask, wanted: Sequence[int]) -> Mask:
    """Observe only the wanted modalities. An utterance that has none of them is left with nothing."""
    column_M = np.zeros(present_NM.shape[1], dtype=bool)
    column_M[list(wanted)] = True
    return present_NM & column_M


def mixed(present_NM: Mask, uniform: Uniform) -> Mask:
    """Draw, for each utterance, one of the non-empty subsets of what is present, uniformly."""
    observed_NM = present_NM & (uniform.random(present_NM.shape) < 0.5)
    for _ in range(64):  # an utterance stays empty with probability ≤ 2⁻⁶⁴
        empty_N = present_NM.any(axis=1) & ~observed_NM.any(axis=1)
        if not empty_N.any():
            break
        again_NM = present_NM & (uniform.random(present_NM.shape) < 0.5)
        observed_NM[empty_N] = again_NM[empty_N]
    return observed_NM


def instance(present_NM: Mask, probability: float, uniform: Uniform) -> Mask:
    """With this probability make an utterance incomplete, its pattern uniform among the incomplete ones.

    For three complete modalities the missing rate is probability / 2 on average.

    Raises
    ------
    UsageError
        The probability lies outside of 0 … 1.
    """
    if not 0.0 <= probability <= 1.0:
        raise UsageError(
            f"The probability of an incomplete utterance lies between 0 and 1, but {probability:g} was given."
        )
    n_modalities = present_NM.shape[1]
    n_incomplete = 2**n_modalities - 2
    draw_N2 = uniform.random((len(present_NM), 2))
    pattern_N = 1 + np.minimum((draw_N2[:, 1] * n_incomplete).astype(int), max(n_incomplete - 1, 0))
    drawn_NM = (pattern_N[:, None] >> np.arange(n_modalities)) & 1 == 1
    incomplete_N = draw_N2[:, 0] < probability
    observed_NM = np.where(incomplete_N[:, None], present_NM & drawn_NM, present_NM)
    return _with_one_kept(observed_NM, present_NM, uniform)


def imbalanced(present_NM: Mask, rates_M: Sequence[float], uniform: Uniform) -> Mask:
    """Hide each modality at its own rate, exactly, without leaving any utterance with nothing.

    Hidden cells are drawn per modality; an utterance that lost everything then gets one modality back in exchange
    for the same modality of an utterance that has another one to spare, so every modality's count stays.

    Raises
    ------
    UsageError
        There is not one rate for each modality, or they cannot be met together.
    """
    n, n_modalities = present_NM.shape
    if len(rates_M) != n_modalities:
        raise UsageError(f"imbalanced needs one missing rate for each of the {n_modalities} modalities.")
    if any(not 0.0 <= rate <= 1.0 for rate in rates_M) or sum(rates_M) > n_modalities - 1 + RATE_TOLERANCE:
        raise UsageError(
            f"The rates {', '.join(f'{r:g}' for r in rates_M)} cannot be met together: each lies between 0 and 1, and "
            f"with at least one modality kept their sum is at most {n_modalities - 1}."
        )
    rank_NM = np.where(present_NM, uniform.random(present_NM.shape), np.inf)
    observed_NM = np.zeros_like(present_NM)
    for m, rate in enumerate(rates_M):
        kept = min(round(n * (1.0 - rate)), int(present_NM[:, m].sum()))
        observed_NM[np.argsort(rank_NM[:, m], kind="stable")[:kept], m] = True
    _give_back(observed_NM, present_NM, rank_NM)
    return observed_NM


def _give_back(observed_NM: Mask, present_NM: Mask, rank_NM: NDArray[np.float64]) -> None:
    """Exchange cells within a modality until no utterance with any modality is empty. Works in place.

    The donor of a modality is the one of highest rank among those that have another. Who cannot give any more never can
    again, so each modality's donors are gone through once.
    """
    count_N = observed_NM.sum(axis=1)
    donors = [iter(_by_rank(np.flatnonzero(observed_NM[:, m]), rank_NM[:, m])) for m in range(observed_NM.shape[1])]
    for row in np.flatnonzero(present_NM.any(axis=1) & (count_N == 0)):
        order = [m for m in np.argsort(rank_NM[row], kind="stable").tolist() if present_NM[row, m]]
        for given in order:
            donor = next((d for d in donors[given] if count_N[d] > 1), None)
            if donor is not None:
                observed_NM[donor, given] = False
                count_N[donor] -= 1
                break
        else:  # nobody can spare one (natural absence): the utterance keeps its own, a rule above an exact count
            given = order[-1] if present_NM[row].all() else int(present_NM[row].argmax())
        observed_NM[row, given] = True
        count_N[row] = 1


def _by_rank(rows: NDArray[np.intp], rank_N: NDArray[np.float64]) -> list[int]:
    """Return rows by falling rank; of equal ones the first in the order of the rows."""
    ordered: list[int] = rows[np.argsort(-rank_N[rows], kind="stable")].tolist()
    return ordered


def cpm(present_NM: Mask, rate: float, uniform: Uniform) -> Mask:
    """The sampler of the public ComP code (from CPM-Net through GCNet), for comparison with published numbers.

    It rounds probabilities down to whole percents and redraws until the rate is within 0.005, so some rates (0.66
    with three modalities, say) and many rows with others are never met; this one gives up with an error.

    Raises
    ------
    UsageError
        The rate cannot be reached, or not by that rule.
    """
    check_rate(present_NM, rate)
    n, n_modalities = present_NM.shape
    keep = 1.0 - rate
    shape = (max(n, CPM_MIN_ROWS), n_modalities)
    everywhere = np.ones(shape, dtype=bool)
    if keep >= 1.0:
        return present_NM.copy()
    for _ in range(CPM_MAX_DRAWS):
        kept_NM = _preserved(everywhere, uniform)
        if keep > 1.0 / n_modalities:
            extra = keep - 1.0 / n_modalities
            trial_NM = uniform.random(shape) < np.floor(100 * extra) / 100
            overlap = int((trial_NM & kept_NM).sum())
            inflated = extra / max(1.0 - overlap / (kept_NM.size * extra), RATE_TOLERANCE)
            kept_NM |= uniform.random(shape) < np.floor(100 * inflated) / 100
            if abs(kept_NM.mean() - keep) >= CPM_TOLERANCE:
                continue
        observed_NM = present_NM & kept_NM[:n]
        return _with_one_kept(observed_NM, present_NM, uniform)
    raise UsageError(
        f"The cpm protocol did not reach a missing rate of {rate:g} for {n} utterances in {CPM_MAX_DRAWS} draws (a known "
        "fault of that rule); use the protocol exact or bernoulli."
    )
