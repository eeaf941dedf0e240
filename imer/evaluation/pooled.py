"""Predictions of all folds under many masks, computed together.

The dialogues of a fold are predicted under every mask in one pass: the copies of a dialogue, each under another mask,
are simply more dialogues, by speakers of their own. A prediction depends on its own dialogue and its speakers alone, so this
changes no number, and it turns a sweep of hundreds of small passes into a few large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from imer.core.errors import InvalidInput, listed

if TYPE_CHECKING:
    from imer.batches.corpus import Corpus
    from imer.training.trained_fold import TrainedFold

_TILE_BYTES = 64 << 20  # features of the copies held at once

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FoldRows:
    """A trained fold and the corpus rows it is asked about (context included)."""

    fold: TrainedFold
    rows: np.ndarray


@dataclass(frozen=True)
class Pooled:
    """Predictions for P = Σ fold rows under S masks.

    rows_P        corpus row of each prediction; fold_P its fold's index
    output_SPC    class probabilities, or values [S, P, 1] in the label's units
    observed_SPM  what the model was shown
    weights_SPM   coordinator weights (1 for each observed modality where the model has no coordinator)
    branches      modality → [S, P, C]
    """

    rows_P: np.ndarray
    fold_P: np.ndarray
    output_SPC: np.ndarray
    observed_SPM: np.ndarray
    weights_SPM: np.ndarray
    branches: dict[str, np.ndarray]


def pooled_predictions(
    corpus: Corpus, folds: Sequence[FoldRows], masks_SNM: np.ndarray, progress: Progress | None = None
) -> Pooled:
    """Predict the rows of every fold under every mask.

    Parameters
    ----------
    masks_SNM
        bool [S, N, M] over all rows of the corpus; only what is present counts.

    Raises
    ------
    InvalidInput
        A prediction is not finite: the model diverged in training, or its files are damaged.
    """
    observed_SNM = masks_SNM & corpus.present_NM
    total, done = len(folds) * len(masks_SNM), 0
    per_fold: list[list[tuple[np.ndarray, np.ndarray]]] = []
    branch_parts: dict[str, list[list[np.ndarray]]] = {}
    for one in folds:
        parts = []
        for start in range(0, len(masks_SNM), step := _copies_at_once(corpus, one)):
            chunk = observed_SNM[start : start + step][:, one.rows]
            output, weights, branches = _predict_copies(one.fold, corpus, one.rows, chunk)
            parts.append((output, weights))
            for modality, values in branches.items():
                branch_parts.setdefault(modality, [[] for _ in folds])[len(per_fold)].append(values)
            done += len(chunk)
            if progress is not None:
                progress("predictions", done, total)
        per_fold.append(parts)
    rows_P = np.concatenate([one.rows for one in folds])
    pooled = Pooled(
        rows_P=rows_P,
        fold_P=np.repeat(np.arange(len(folds)), [len(one.rows) for one in folds]),
        output_SPC=_join([[output for output, _ in parts] for parts in per_fold]),
        observed_SPM=observed_SNM[:, rows_P],
        weights_SPM=_join([[weights for _, weights in parts] for parts in per_fold]),
        branches={modality: _join(parts) for modality, parts in branch_parts.items()},
    )
    broken_P = ~np.isfinite(pooled.output_SPC).all(axis=(0, 2))
    if broken_P.any():
        names = corpus.utterance_ids[rows_P[broken_P]]
        raise InvalidInput(
            f"The model's predictions are not finite for {len(names)} utterances ({listed(names, 3)}); train it again."
        )
    return pooled


def _join(parts: list[list[np.ndarray]]) -> np.ndarray:
    return np.concatenate([np.concatenate(part, axis=0) for part in parts], axis=1)


def _copies_at_once(corpus: Corpus, one: FoldRows) -> int:
    """Return how many masks go into one pass: a single one where copies of a dialogue would influence each other."""
    if one.fold.batch_dependent:
        return 1
    width = sum(corpus.modalities.values())
    return max(1, _TILE_BYTES // max(1, 4 * width * len(one.rows)))


def _predict_copies(
    fold: TrainedFold, corpus: Corpus, rows: np.ndarray, observed_SRM: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Predict `rows` under S masks at once; arrays [S, R, …]."""
    n_copies = len(observed_SRM)
    tiled = tiled_corpus(corpus, rows, n_copies)
    flat_NM = observed_SRM.reshape(n_copies * len(rows), -1)
    found = fold.predict(tiled, np.arange(tiled.n), flat_NM)

    def shaped(values: np.ndarray) -> np.ndarray:
        return values.reshape(n_copies, len(rows), -1)

    branches = {modality: shaped(values) for modality, values in found.branches.items()}
    return shaped(found.probabilities_NC), shaped(found.weights_NM), branches


def tiled_corpus(corpus: Corpus, rows: np.ndarray, n_copies: int) -> Corpus:
    """Return a corpus of `n_copies` copies of these rows; each copy's dialogues and speakers are its own."""

    def tiled(values: np.ndarray) -> np.ndarray:
        return np.tile(values[rows], (n_copies, *(1 for _ in values.shape[1:])))

    copy_N = np.repeat(np.arange(n_copies), len(rows))

    def own(names_N: np.ndarray) -> np.ndarray:
        named = zip(copy_N, tiled(names_N), strict=True)
        return np.array([f"{copy}\x1f{name}" if name else name for copy, name in named], dtype=object)

    return replace(
        corpus,
        n=n_copies * len(rows),
        features={m: tiled(values) for m, values in corpus.features.items()},
        present_NM=tiled(corpus.present_NM),
        dialogue_ids=own(corpus.dialogue_ids),
        positions=tiled(corpus.positions),
        speakers=own(corpus.speakers),
        splits=tiled(corpus.splits),
        utterance_ids=tiled(corpus.utterance_ids),
        target_N=tiled(corpus.target_N),
    )
