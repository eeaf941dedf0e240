"""An exported model must answer as the model does: both are run on the same inputs, and what differs is not published.

The inputs are random, and cover every pattern of observed modalities (also none at all), dialogues of one utterance
and batches of one dialogue, padding behind and whole padded dialogues, and hidden slots that hold anything at all:
zeros, NaN, or numbers of absurd size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from imer.core.errors import ImerError
from imer.core.seeding import generator

TOLERANCE = 1e-5  # largest absolute difference of a probability or a weight
TOLERANCE_OF_BATCHES = 1e-4  # of published designs that compress a whole batch without norms, where rounding adds up
N_CASES = 200
SHAPES = ((1, 1), (1, 4), (3, 1), (2, 7), (4, 3), (1, 19), (6, 2))  # (dialogues, utterances)
HIDDEN_CONTENT = (0.0, np.nan, 1e30, -1e30)
_TIE = 1e-6  # two best classes closer than this may change places through rounding

Arrays = tuple[np.ndarray, ...]
Runner = Callable[[Arrays], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Parity:
    """How far two runs of the same inputs lie apart: the outcome that goes beside the published model."""

    cases: int
    answers: int
    max_abs_difference: float
    argmax_differences: int


def observed_patterns(n_modalities: int) -> list[tuple[bool, ...]]:
    """Return every pattern of observed modalities, the empty one included.

    >>> observed_patterns(2)
    [(False, False), (False, True), (True, False), (True, True)]
    """
    return list(product((False, True), repeat=n_modalities))


def random_cases(
    centres: Sequence[np.ndarray],
    spreads: Sequence[np.ndarray],
    *,
    speakers: bool = False,
) -> Iterator[Arrays]:
    """Yield at least `N_CASES` random inputs: one array [B, U, D] a modality, observed [B, U, M], valid [B, U].

    With `speakers` the index of the speaker [B, U] comes last. `centres` and `spreads` are each modality's mean and
    standard deviation [D], so that the values are of the size of real features. Case i shows pattern i of the whole
    batch; every second round shows mixed patterns instead.
    """
    all_patterns = observed_patterns(len(centres))
    for number in range(max(N_CASES, 2 * len(all_patterns))):
        rng = generator(0, "parity", number)
        n_dialogues, n_utterances = SHAPES[number % len(SHAPES)]
        shape = (n_dialogues, n_utterances)
        round_number, which = divmod(number, len(all_patterns))
        observed = np.broadcast_to(np.array(all_patterns[which]), (*shape, len(centres))).copy()
        if round_number % 2:
            observed = rng.random(observed.shape) < 0.6
        # Lengths from 0: a dialogue of padding only is allowed, and changes nothing for the others.
        lengths = rng.integers(0, n_utterances + 1, n_dialogues) if number % 3 else np.full(n_dialogues, n_utterances)
        valid = np.arange(n_utterances) < lengths[:, None]
        if number % 5 == 0:
            observed &= valid[..., None]
        features = []
        for index, (centre, spread) in enumerate(zip(centres, spreads, strict=True)):
            values = centre + spread * rng.standard_normal((*shape, len(centre)))
            hidden = ~(observed[..., index] & valid)
            if number % 2:
                values[hidden] = HIDDEN_CONTENT[(number // 2) % len(HIDDEN_CONTENT)]
            features.append(values.astype(np.float32))
        more = [rng.integers(0, 10, shape)] if speakers else []
        yield (*features, observed, valid, *more)


def measure(reference: Runner, candidate: Runner, cases: Iterable[Arrays], *, unit: float | None = None) -> Parity:
    """Run both on every case and return how far they lie apart.

    The first output of each is probabilities [B, U, C], or values [B, U, 1]. A value's difference counts relative to
    its own size or to `unit` (the standard deviation of the label), whichever is larger; others count as they are.

    Raises
    ------
    ImerError
        The outputs differ in number or shape, or one of them is not finite.
    """
    n_cases = n_answers = n_argmax = 0
    worst = 0.0
    for case in cases:
        expected, found = reference(case), candidate(case)
        if [e.shape for e in expected] != [f.shape for f in found]:
            raise ImerError(
                f"The exported model gives outputs of shapes {[f.shape for f in found]} where the model gives "
                f"{[e.shape for e in expected]}; nothing was published."
            )
        if not all(np.isfinite(values).all() for values in (*expected, *found)):
            raise ImerError("The model or its export gives numbers that are not finite; nothing was published.")
        for index, (e, f) in enumerate(zip(expected, found, strict=True)):
            size = np.maximum(np.abs(e), unit) if unit is not None and index == 0 else 1.0
            worst = max(worst, float((np.abs(e.astype(np.float64) - f) / size).max(initial=0.0)))
        n_argmax += _argmax_differences(expected[0], found[0])
        n_answers += int(np.prod(expected[0].shape[:2]))
        n_cases += 1
    return Parity(n_cases, n_answers, worst, n_argmax)


def _argmax_differences(expected: np.ndarray, found: np.ndarray) -> int:
    """Count the answers whose best class differs, ties left out."""
    if expected.shape[-1] < 2:
        return 0
    two_best = np.sort(expected, axis=-1)[..., -2:]
    clear = two_best[..., 1] - two_best[..., 0] > _TIE
    return int((clear & (expected.argmax(-1) != found.argmax(-1))).sum())


def require_parity(parity: Parity, what: str, tolerance: float = TOLERANCE) -> None:
    """Refuse an export that answers differently from the model.

    Raises
    ------
    ImerError
        The largest difference is above the tolerance, or a predicted class differs.
    """
    if parity.max_abs_difference > tolerance or parity.argmax_differences:
        raise ImerError(
            f"The {what} differs from the model by {parity.max_abs_difference:.2g} (at most {tolerance:g} is allowed) and "
            f"predicts another class for {parity.argmax_differences} of {parity.answers} random inputs; nothing was "
            "published."
        )
