"""A corpus as the models of one fold see it: standardised on what they learn from, placed on a device, in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from imer.batches.corpus import Corpus
from imer.batches.dialogues import Dialogues, Resident
from imer.batches.scaling import Scaler
from imer.batches.speakers import speaker_relative_modalities
from imer.batches.splits import Split
from imer.masks.sampling import Mask
from imer.models.base import ModelSpec
from imer.training.build import model_spec
from imer.training.masks import FixedMask, Masks
from imer.training.selection import TEST_BEST
from imer.training.settings import Settings

VALIDATION_BATCH = 1024  # padded utterances


@dataclass(frozen=True)
class SharedData:
    """What all models of a fold have in common, made once."""

    spec: ModelSpec
    scaler: Scaler
    resident: Resident
    once_NM: Mask | None  # what is ever seen of the rows that are learnt from, where the protocol fixes it

    @classmethod
    def of(
        cls, corpus: Corpus, learnt_R: np.ndarray, fold: str, masks: Masks, settings: Settings, device: torch.device
    ) -> SharedData:
        """Standardise by what any of the fold's models learns from, and place the corpus on the device."""
        spec = model_spec(corpus, learnt_R, settings.train.class_weights, fold)
        once_NM = masks.once(learnt_R, fold)
        scaler = Scaler.fit(corpus, learnt_R, once_NM)
        within = speaker_relative_modalities(corpus, settings.data.within_speaker)
        return cls(spec, scaler, place(corpus, scaler, spec, device, within), once_NM)


@dataclass(frozen=True)
class FoldData:
    """One model's data. Validation is measured on its labelled utterances, in the label's own units."""

    corpus: Corpus
    split: Split
    scaler: Scaler
    resident: Resident
    train: Dialogues
    val_tables: list[np.ndarray]
    val_conditions: list[FixedMask]

    @classmethod
    def of(cls, corpus: Corpus, split: Split, shared: SharedData, masks: Masks, settings: Settings) -> FoldData:
        """Cut what the model is judged on into batches."""
        judged = split.test if settings.train.select == TEST_BEST else split.val
        tables = Dialogues.of(corpus, judged).batches(
            VALIDATION_BATCH, pad_to=settings.train.pad_to, dialogues=settings.train.batch_dialogues
        )
        train = Dialogues.of(corpus, split.train)
        return cls(corpus, split, shared.scaler, shared.resident, train, tables, masks.validation(split.val))


def place(
    corpus: Corpus,
    scaler: Scaler,
    spec: ModelSpec,
    device: torch.device,
    within: tuple[str, ...] = (),
    rows: np.ndarray | None = None,
) -> Resident:
    """Put a corpus on a device, standardised; values to learn become (label − centre) / spread.

    within  modalities whose features are also taken relative to their speaker
    rows    those that anybody will ask for; None: all
    """
    target_N = corpus.target_N
    if spec.task == "regression":
        target_N = (target_N - spec.target_centre) / spec.target_spread
    return Resident.place(corpus, scaler.transform(corpus, rows), target_N, device, within)
