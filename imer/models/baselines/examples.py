"""Labelled utterances under many draws of the masks, as a fitted model takes them: what an utterance looks like is kept once.

Draws repeat each other: an utterance has the same features in all of them, and with two modalities one of three masks. So
an example is a row of features, the set of modalities that it shows of them, and its share of the whole.

Shape suffixes: R rows of features, K examples, N utterances of a batch, M modalities, D feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imer.batches.batch import Batch


@dataclass(frozen=True)
class Examples:
    """Examples of all draws; equal ones are one.

    features_RD   of each modality: float32, finite, and cut to ± clip_z
    row_K         which of the R rows an example shows; in order
    observed_KM   float64, 1 where it shows the modality and else 0
    target_K      float64 values, or int64 class indices
    share_K       float64, its part of all weight: they sum to 1
    """

    features_RD: list[Tensor]
    row_K: Tensor
    observed_KM: Tensor
    target_K: Tensor
    share_K: Tensor

    @classmethod
    def of(
        cls,
        batches: Iterable[Batch],
        modalities: Sequence[str],
        clip_z: float,
        class_weight_C: Sequence[float] | None = None,
    ) -> Examples:
        """Collect the labelled utterances of the batches. A class's weight counts for each of its examples."""
        rows = _Rows()
        row, observed, target = [], [], []
        for batch in batches:
            counted = batch.labelled_BU
            features = [torch.nan_to_num(batch.features[m][counted]).clamp(-clip_z, clip_z) for m in modalities]
            row.append(rows.of(batch.row_BU[counted], features))
            observed.append(batch.observed_BUM[counted])
            target.append(batch.target_BU[counted])
        row_N, observed_NM, target_N = torch.cat(row), torch.cat(observed), torch.cat(target)
        weight_N = torch.ones(len(row_N), dtype=torch.float64, device=row_N.device)
        if class_weight_C is not None:
            weight_N = torch.tensor(class_weight_C, dtype=torch.float64, device=row_N.device)[target_N]
        bit_M = 2 ** torch.arange(len(modalities), device=row_N.device)
        kind_N = row_N * 2 ** len(modalities) + (observed_NM.long() * bit_M).sum(dim=1)
        kind_K, kind_of_N = kind_N.unique(return_inverse=True)
        one_K = torch.empty_like(kind_K).scatter_(0, kind_of_N, torch.arange(len(row_N), device=row_N.device))
        target_K = target_N[one_K]
        return cls(
            rows.features(),
            row_N[one_K],
            observed_NM[one_K].double(),
            target_K.double() if target_K.is_floating_point() else target_K,
            weight_N.new_zeros(len(kind_K)).index_add_(0, kind_of_N, weight_N / weight_N.sum()),
        )


class _Rows:
    """Collects rows of features: one for each row of the corpus, unless it looks otherwise in another draw.

    Relative to their speaker, features of one utterance differ from draw to draw.
    """

    def __init__(self) -> None:
        self._parts: list[list[Tensor]] = []
        self._n = 0
        self._place = torch.empty(0, dtype=torch.int64)  # of a row of the corpus, −1 before it has come

    def of(self, corpus_row_N: Tensor, features_ND: list[Tensor]) -> Tensor:
        """Return the rows [N] of these features, which are added where they are new."""
        last = int(corpus_row_N.max()) if len(corpus_row_N) else -1
        if last >= len(self._place):
            grown = corpus_row_N.new_full((2 * last + 1,), -1)
            grown[: len(self._place)] = self._place
            self._place = grown
        row_N = self._place[corpus_row_N]
        known_N = row_N >= 0
        if known_N.any():
            same = [
                (mine[row_N[known_N]] == theirs[known_N]).all(dim=1)
                for mine, theirs in zip(self.features(), features_ND, strict=True)
            ]
            known_N[known_N.clone()] = torch.stack(same).all(dim=0)
        new_N = ~known_N
        row_N[new_N] = torch.arange(self._n, self._n + int(new_N.sum()), device=row_N.device)
        self._place[corpus_row_N[new_N]] = row_N[new_N]
        self._n += int(new_N.sum())
        if new_N.any():
            self._parts.append([values[new_N] for values in features_ND])
        return row_N

    def features(self) -> list[Tensor]:
        """Return all rows of each modality."""
        if len(self._parts) > 1:
            self._parts = [[torch.cat(parts) for parts in zip(*self._parts, strict=True)]]
        return self._parts[0]
