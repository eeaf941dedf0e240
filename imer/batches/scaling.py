"""Standardisation: each feature of each modality to mean 0 and standard deviation 1 over the training utterances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imer.batches.corpus import Corpus

# A feature that never varies in training says nothing, and a model cannot have learnt what to do with it when it
# does vary later: dividing by this makes it 0 always.
IGNORED_SPREAD = np.float32(1e30)
LEAST_RELATIVE_SPREAD = 1e-6  # below this share of the mean's size, float32 holds nothing but rounding
# A row is broken where half of its features lie further than this from their medians, in interquartile ranges. Single
# features of sound rows reach 20,000 (a jitter, a pixel count), but the median feature of a sound row stays below 2.
BROKEN_DISTANCE = 100.0
MOST_BROKEN = 0.1  # of the rows: where more lie so far out, that is how they are (a face in every fourth clip, say)
ROWS_AT_ONCE = 10_000  # the quartiles are those of as many
COLUMNS_AT_ONCE = (
    64  # of features that are measured together: whole, in float64, they would need twice the memory and more
)


@dataclass(frozen=True)
class Scaler:
    """Per modality the centre [D] and the spread [D] (float32): standardised = (value − centre) / spread."""

    centre: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]

    @classmethod
    def fit(cls, corpus: Corpus, rows: np.ndarray, observed_NM: np.ndarray | None = None) -> Scaler:
        """Measure the rows of the corpus where each modality is present, and observed where that is said.

        Broken rows are left out: one of them, a hundred thousand times too large, would make all others the same number.
        A modality that is never there gets centre 0 and spread 1.
        """
        there_NM = corpus.present_NM if observed_NM is None else corpus.present_NM & observed_NM
        centre, spread = {}, {}
        for column, (name, width) in enumerate(corpus.modalities.items()):
            present = rows[there_NM[rows, column]]
            values = corpus.features[name][present]
            sound = ~broken_rows(values)
            mean_D, sd_D = _moments(values, sound) if sound.any() else (np.zeros(width), np.ones(width))
            constant_D = sd_D <= LEAST_RELATIVE_SPREAD * np.maximum(np.abs(mean_D), 1e-12)
            centre[name] = mean_D.astype(np.float32)
            spread[name] = np.where(constant_D, IGNORED_SPREAD, sd_D).astype(np.float32)
        return cls(centre, spread)

    def transform(self, corpus: Corpus, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return modality → standardised float32 [N, D], 0 where not present, and outside `rows` where these are given."""
        standardised = {}
        for column, (name, width) in enumerate(corpus.modalities.items()):
            present_N = corpus.present_NM[:, column]
            there = np.flatnonzero(present_N) if rows is None else rows[present_N[rows]]
            standardised[name] = np.zeros((corpus.n, width), np.float32)
            for first in range(0, len(there), ROWS_AT_ONCE):
                some = there[first : first + ROWS_AT_ONCE]
                standardised[name][some] = (corpus.features[name][some] - self.centre[name]) / self.spread[name]
        return standardised


def _moments(values_ND: np.ndarray, taken_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [D] of the rows that are taken, in float64, some columns at a time."""
    width = values_ND.shape[1]
    means, deviations = [], []
    for columns in np.array_split(np.arange(width), max(-(-width // COLUMNS_AT_ONCE), 1)):
        values = values_ND[:, columns[0] : columns[-1] + 1][taken_N].astype(np.float64)
        means.append(values.mean(axis=0))
        deviations.append(values.std(axis=0))
    return np.concatenate(means), np.concatenate(deviations)


def broken_rows(values_ND: np.ndarray) -> np.ndarray:
    """Return bool [N]: whose typical feature lies absurdly far from everybody else's, as after a failed extraction.

    Features whose quartiles are equal (mostly zeros) have no say.
    """
    if not len(values_ND):
        return np.zeros(0, dtype=bool)
    sample = values_ND[:: max(1, len(values_ND) // ROWS_AT_ONCE)].astype(np.float64)
    low_D, middle_D, high_D = np.percentile(sample, [25, 50, 75], axis=0)
    asked = high_D > low_D
    if not asked.any():
        return np.zeros(len(values_ND), dtype=bool)
    with np.errstate(over="ignore"):  # infinitely far is far
        far_D = np.where(asked, BROKEN_DISTANCE * (high_D - low_D), np.inf).astype(np.float32)
        middle_D = middle_D.astype(np.float32)
        far_N = [
            (np.abs(values_ND[first : first + ROWS_AT_ONCE] - middle_D) > far_D).sum(axis=1)
            for first in range(0, len(values_ND), ROWS_AT_ONCE)
        ]
    broken = 2 * np.concatenate(far_N) >= asked.sum()
    return broken if broken.mean() <= MOST_BROKEN else np.zeros_like(broken)
