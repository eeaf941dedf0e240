"""Batches of whole dialogues, padded to the longest of the batch, without a loop over utterances.

A corpus lies on the device as one matrix per modality; a batch is a table of rows `row_BU` that gathers from it.
Dialogues of like length go together, so that little is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from imer.batches.batch import Batch, PackedBatch
from imer.batches.corpus import Corpus
from imer.batches.layout import Packed
from imer.batches.speakers import numbers_by_appearance, speaker_numbers, within_speakers

LENGTH_JITTER = 0.15  # how far the sorting key strays from a dialogue's length: like lengths, but not always the same
LONGEST_READ = 1024  # utterances that are read together: attention costs their number squared, in memory too


@dataclass(frozen=True)
class Dialogues:
    """The dialogues among some rows of a corpus: `rows` in order of dialogue and position, `starts` [n + 1] in it."""

    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus, rows: np.ndarray) -> Dialogues:
        """Group rows by dialogue, in order of position (then of the store)."""
        rows = np.asarray(rows, dtype=np.int64)
        _, dialogue = np.unique(corpus.dialogue_ids[rows].astype(str), return_inverse=True)
        order = np.lexsort((rows, corpus.positions[rows], dialogue))
        counts = np.bincount(dialogue) if len(rows) else np.zeros(0, dtype=np.int64)
        return cls(rows[order], np.concatenate([[0], np.cumsum(counts)]))

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def as_read(self, pad_to: int = 0) -> Dialogues:
        """Return what is read together: those of more than `LONGEST_READ` utterances (and more than `pad_to`) in parts.

        The parts do not see each other: a day's recording costs what its length costs, not its square.
        """
        return self.in_parts(max(LONGEST_READ, pad_to))

    def in_parts(self, longest: int) -> Dialogues:
        """Cut every dialogue of more than `longest` utterances into as few parts as that allows, of like length."""
        n_parts = -(-self.lengths // longest)
        part = np.arange(n_parts.sum()) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)  # of its dialogue, from 0
        start, length, parts = (np.repeat(of, n_parts) for of in (self.starts[:-1], self.lengths, n_parts))
        return Dialogues(self.rows, np.concatenate([[0], start + length * (part + 1) // parts]).astype(np.int64))

    def table(self, which: np.ndarray, pad_to: int = 0) -> np.ndarray:
        """Return `row_BU` of these dialogues: int64 rows of the corpus, −1 at padding."""
        lengths = self.lengths[which]
        place_U = np.arange(max(int(lengths.max()), pad_to))
        index_BU = self.starts[which][:, None] + np.minimum(place_U, lengths[:, None] - 1)
        return np.where(place_U < lengths[:, None], self.rows[index_BU], -1)

    def batches(
        self,
        utterances: int,
        rng: np.random.Generator | None = None,
        *,
        least: int = 1,
        dialogues: int = 0,
        pad_to: int = 0,
    ) -> list[np.ndarray]:
        """Cut the dialogues into batches and return their row tables.

        Very long dialogues are read in parts: see `as_read`.

        Parameters
        ----------
        utterances
            Most padded utterances of a batch, unless it has no more than `least` dialogues.
        rng
            Shuffles; None keeps the batches in order of length, always the same.
        dialogues
            Where given, the number of dialogues of a batch; `utterances` is then not looked at.
        pad_to
            Pad every batch at least to this length.
        """
        read = self.as_read(pad_to)
        lengths = read.lengths
        if rng is None:
            order = np.argsort(lengths, kind="stable")
        else:
            jitter = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(lengths))
            order = np.lexsort((rng.random(len(lengths)), np.round(lengths * jitter)))
        groups: list[list[int]] = [[]]
        longest = 0
        for dialogue in order.tolist():
            longest = max(longest, int(lengths[dialogue]))
            size = len(groups[-1])
            full = size >= dialogues if dialogues else size >= least and (size + 1) * longest > utterances
            if groups[-1] and full:
                groups.append([])
                longest = int(lengths[dialogue])
            groups[-1].append(dialogue)
        tables = [read.table(np.array(group), pad_to) for group in groups if group]
        return tables if rng is None else [tables[i] for i in rng.permutation(len(tables))]


@dataclass(frozen=True)
class Resident:
    """A standardised corpus on a device, from which batches are gathered.

    features    modality → float32 [N, D]
    target_N    int64 class index (−1), or float32 standardised value (NaN)
    person_N    int64, the number of the speaker in the corpus, −1 where nobody is named
    within      modalities whose features a batch is to have relative to their speaker: see `as_seen`
    """

    features: dict[str, Tensor]
    target_N: Tensor
    person_N: np.ndarray
    within: tuple[str, ...] = ()

    @classmethod
    def place(
        cls,
        corpus: Corpus,
        features: dict[str, np.ndarray],
        target_N: np.ndarray,
        device: torch.device,
        within: tuple[str, ...] = (),
    ) -> Resident:
        target = torch.from_numpy(target_N.astype(np.float32 if target_N.dtype.kind == "f" else np.int64))
        return cls(
            {name: torch.from_numpy(values).to(device) for name, values in features.items()},
            target.to(device),
            speaker_numbers(corpus),
            within,
        )

    def as_seen(self, tables: Sequence[np.ndarray], observed_NM: Tensor) -> Resident:
        """Return the corpus as a model sees it that is shown these batches under this mask, and nothing else.

        Features relative to their speaker depend on it: only what is shown of somebody tells how he or she usually is.
        """
        if not self.within:
            return self
        rows = np.concatenate([row_BU[row_BU >= 0] for row_BU in tables])
        shown_N = torch.zeros(len(observed_NM), dtype=torch.bool, device=observed_NM.device)
        shown_N[torch.from_numpy(rows).to(observed_NM.device)] = True
        person_N = torch.from_numpy(self.person_N).to(observed_NM.device)
        features = dict(self.features)
        for column, (name, values_ND) in enumerate(self.features.items()):
            if name in self.within:
                features[name] = within_speakers(values_ND, observed_NM[:, column] & shown_N, person_N)
        return replace(self, features=features)

    def packed_batch(self, row_BU: np.ndarray, observed_NM: Tensor) -> PackedBatch:
        """Gather the real utterances of a batch. Nothing waits for the device: the indices come from the table."""
        device, valid_BU = self.target_N.device, row_BU >= 0
        row_N = torch.from_numpy(row_BU[valid_BU]).to(device)

        def gathered(values: Tensor) -> Tensor:
            return values.index_select(0, row_N).unsqueeze(0)

        return PackedBatch(
            features={name: gathered(values) for name, values in self.features.items()},
            observed_BUM=gathered(observed_NM),
            valid_BU=torch.ones(1, len(row_N), dtype=torch.bool, device=device),
            target_BU=gathered(self.target_N),
            row_BU=row_N.unsqueeze(0),
            speaker_BU=self._speakers(row_BU)[torch.from_numpy(valid_BU)].unsqueeze(0).to(device),
            layout=Packed(valid_BU, device),
        )

    def batch(self, table_BU: np.ndarray, observed_NM: Tensor) -> Batch:
        """Gather a padded batch; padding takes row 0's numbers, which nobody reads."""
        device = self.target_N.device
        row_BU = torch.from_numpy(table_BU).to(device)
        valid_BU = row_BU >= 0
        index_BU = row_BU.clamp(min=0)
        return Batch(
            features={name: values[index_BU] for name, values in self.features.items()},
            observed_BUM=observed_NM[index_BU] & valid_BU[..., None],
            valid_BU=valid_BU,
            target_BU=self.target_N[index_BU],
            row_BU=row_BU,
            speaker_BU=self._speakers(table_BU).to(device),
        )

    def _speakers(self, row_BU: np.ndarray) -> Tensor:
        """Return int64 [B, U]: who of those that are read together speaks, by first appearance; 0 at padding."""
        person_BU = self.person_N[np.maximum(row_BU, 0)]  # padding stands behind, and adds no one before
        return torch.from_numpy(np.where(row_BU >= 0, numbers_by_appearance(person_BU), 0))
