"""Standardisation: each feature of each modality to mean 0 and standard deviation 1 over the training utterances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imer.batches.corpus import Corpus

# A feature that never varies in training says nothing, and a model cannot have learnt what to do with it when it
# does vary later: dividing by this makes it 0 always.
IGNORED_SPREAD = np.float32(1e30)
LEAST_RELATIVE_SPREAD = 1e-6  # below this share of the mean's size, float32 holds nothing but rounding


@dataclass(frozen=True)
class Scaler:
    """Per modality the centre [D] and the spread [D] (float32): standardised = (value − centre) / spread."""

    centre: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]

    @classmethod
    def fit(cls, corpus: Corpus, rows: np.ndarray, observed_NM: np.ndarray | None = None) -> Scaler:
        """Measure the rows of the corpus where each modality is present, and observed where that is said.

        One that never is gets centre 0 and spread 1.
        """
        there_NM = corpus.present_NM if observed_NM is None else corpus.present_NM & observed_NM
        centre, spread = {}, {}
        for column, (name, width) in enumerate(corpus.modalities.items()):
            present = rows[there_NM[rows, column]]
            values = corpus.features[name][present].astype(np.float64)
            mean_D = values.mean(axis=0) if len(values) else np.zeros(width)
            sd_D = values.std(axis=0) if len(values) else np.ones(width)
            constant_D = sd_D <= LEAST_RELATIVE_SPREAD * np.maximum(np.abs(mean_D), 1e-12)
            centre[name] = mean_D.astype(np.float32)
            spread[name] = np.where(constant_D, IGNORED_SPREAD, sd_D).astype(np.float32)
        return cls(centre, spread)

    def transform(self, corpus: Corpus) -> dict[str, np.ndarray]:
        """Return modality → standardised float32 [N, D], 0 where not present."""
        return {
            name: np.where(
                corpus.present_NM[:, column, None],
                (corpus.features[name] - self.centre[name]) / self.spread[name],
                np.float32(0),
            )
            for column, name in enumerate(corpus.modalities)
        }
