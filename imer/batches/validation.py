"""The part of the training part that epochs are chosen on: whole speakers where possible, else whole dialogues."""

from __future__ import annotations

import numpy as np

from imer.batches.corpus import Corpus
from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.seeding import generator, member_part

BY = ("auto", "speaker", "dialogue")
LARGEST_SHARE = 0.3  # with `auto`, a validation part by speakers may take this much of the training part
DRAWS = 64  # candidate validation parts, of which the most representative is taken
LESS_ALIKE = 1.0  # so much less representative may a part be that no other member of an ensemble has: see `_mismatch`


def cut_validation(
    corpus: Corpus, rows: np.ndarray, *, seed: int, share: float, by: str, fold: str, member: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Take about `share` of the rows for validation, in whole groups: of speakers where that is possible.

    Returns the rows that are left for training, those of validation, and what a user should know of them. Each `member` of
    an ensemble has a part of its own.

    Raises
    ------
    UsageError
        `by` is no way of choosing a validation part.
    InvalidInput
        The rows are a single group.
    """
    if by not in BY:
        raise UsageError(f"The validation part is chosen by one of {listed(BY)}, not by {by!r}.")
    group = _speaker_groups(corpus, rows) if by != "dialogue" else None
    if group is not None and group.max() == 0:  # everybody talks with everybody
        group = None
    if group is not None and by == "auto" and _smallest_part(group, share) > LARGEST_SHARE:
        group = None
    notes = []
    if group is None:
        if by == "speaker":
            notes.append(
                "the validation part shares speakers with the training part: speakers cannot be kept apart here."
            )
        group = np.unique(corpus.dialogue_ids[rows].astype(str), return_inverse=True)[1]
    sizes = np.bincount(group)
    if len(sizes) < 2:
        raise InvalidInput(
            f"The training part{f' of fold {fold}' if fold else ''} is a single dialogue, so no validation part can be cut "
            "from it; add a val split to the manifest."
        )
    chosen: list[np.ndarray] = []  # by member: where there are few groups, one draw would be the best for all of them
    for one in range(member + 1):
        rng = generator(seed, "validation", fold, *member_part(one))
        draws = [_draw(group, sizes, share, rng) for _ in range(DRAWS)]
        unlike = [_mismatch(corpus, rows, draw, share) for draw in draws]
        own = [i for i, draw in enumerate(draws) if not any((draw == other).all() for other in chosen)]
        own = [i for i in own if unlike[i] <= min(unlike) + LESS_ALIKE]
        chosen.append(draws[min(own or range(DRAWS), key=lambda i: unlike[i])])
    return rows[~chosen[member]], rows[chosen[member]], notes


def _smallest_part(group: np.ndarray, share: float) -> float:
    """Return the smallest share of the rows that whole groups can make up, not less than `share` / 2."""
    sizes = np.sort(np.bincount(group)) / len(group)
    if len(sizes) < 3:
        return 1.0
    cumulative = np.cumsum(sizes)
    return float(cumulative[np.argmax(cumulative >= share / 2)])


def _draw(group: np.ndarray, sizes: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Take groups in random order while that brings the part nearer to `share`; at least one, never all."""
    order, wanted = rng.permutation(len(sizes)), share * len(group)
    size_K = sizes[order]
    is_taken = np.zeros(len(sizes), dtype=bool)
    at, total = 0, 0
    while at < len(order):
        sums = total + np.cumsum(size_K[at:])  # if all of the rest were taken
        nearer = np.abs(sums - wanted) < np.abs(np.concatenate([[total], sums[:-1]]) - wanted)
        nearer[0] |= total == 0
        n_next = len(nearer) if nearer.all() else int(nearer.argmin())
        is_taken[order[at : at + n_next]] = True
        at, total = at + n_next, int(sums[n_next - 1]) if n_next else total
        small_enough = np.abs(total + size_K[at:] - wanted) < abs(total - wanted)
        if not small_enough.any():
            break
        at += int(small_enough.argmax())
    if is_taken.all():
        is_taken[order[-1]] = False
    return is_taken[group]


def _mismatch(corpus: Corpus, rows: np.ndarray, chosen: np.ndarray, share: float) -> float:
    """Measure how unlike the rest a validation part is: its size, and its labels."""
    labelled = corpus.labelled_N[rows]
    target = corpus.target_N[rows]
    inside, outside = target[chosen & labelled], target[~chosen & labelled]
    if not len(inside) or not len(outside):
        return np.inf
    size = abs(chosen.mean() - share) / share
    if corpus.task == "classification":
        n = len(corpus.class_names)
        a, b = (np.bincount(part, minlength=n) / len(part) for part in (inside, outside))
        return float(size + np.abs(a - b).sum() + ((a == 0) & (b > 0)).sum())
    spread = max(float(np.std(target[labelled])), 1e-12)
    return float(size + (abs(inside.mean() - outside.mean()) + abs(inside.std() - outside.std())) / spread)


def _speaker_groups(corpus: Corpus, rows: np.ndarray) -> np.ndarray | None:
    """Join dialogues that share a speaker, and speakers that share a dialogue; None where speakers are unknown."""
    speakers = corpus.speakers[rows].astype(str)
    if (speakers == "").any():
        return None
    _, dialogue = np.unique(corpus.dialogue_ids[rows].astype(str), return_inverse=True)
    _, speaker = np.unique(speakers, return_inverse=True)
    component = np.arange(int(dialogue.max()) + 1)
    while True:  # pass the smallest number on through shared speakers until nothing changes
        of_speaker = np.full(int(speaker.max()) + 1, len(component))
        np.minimum.at(of_speaker, speaker, component[dialogue])
        smaller = component.copy()
        np.minimum.at(smaller, dialogue, of_speaker[speaker])
        if (smaller == component).all():
            return np.unique(component[dialogue], return_inverse=True)[1]
        component = smaller
