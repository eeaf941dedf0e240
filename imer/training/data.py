"""What a run learns from: the corpus that its settings name, and the division into training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imer.batches.corpus import Corpus, default_label
from imer.batches.doubts import doubts, scarce_modalities
from imer.batches.speakers import speaker_doubts, speaker_relative_modalities
from imer.batches.splits import WITHOUT_TEST, Split, fold_splits, official_split, whole_split
from imer.core.errors import UsageError, did_you_mean, listed
from imer.store.reader import FeatureStore
from imer.training.settings import DataSettings, Settings


def read_corpus(data: DataSettings, warn: Callable[[str], None] | None = None) -> Corpus:
    """Read the corpus from its feature store; what is doubtful in it is looked for where somebody is to be told.

    Raises
    ------
    UsageError
        A modality, feature set, label or speakers that the store does not have.
    InvalidInput
        The store is missing or damaged.
    """
    with FeatureStore.open(Path(data.features)) as store:
        label = data.label or default_label(store)
        present_NM = store.present_NM()
        empty = [name for column, name in enumerate(store.modalities) if not present_NM[:, column].any()]
        modalities = data.modalities or tuple(name for name in store.modalities if name not in empty)
        corpus = Corpus.from_store(store, modalities or None, label, _features(data, store), task=data.task)
    within = speaker_relative_modalities(corpus, data.within_speaker)
    if warn is not None:
        if empty and not data.modalities:
            warn(f"no utterance has {listed(empty)}: {'they are' if len(empty) > 1 else 'it is'} left out.")
        for sentence in (*doubts(corpus), *(speaker_doubts(corpus) if within else ())):
            warn(sentence)
    return corpus


def _features(data: DataSettings, store: FeatureStore) -> dict[str, str]:
    """Return modality → the feature of it that is learnt from, where the settings name one or it has several."""
    chosen = {}
    for text in data.feature_sets:
        modality, equals, name = (part.strip() for part in text.partition("="))
        if not equals:
            raise UsageError(f"data.feature_sets holds modality=name, but {text!r} was given.")
        if modality not in (data.modalities or store.modalities):
            raise UsageError(f"data.feature_sets names {modality!r}, which is no modality that is learnt from.")
        if name not in store.specs.get(modality, ()):
            raise UsageError(
                f"{store.path} has no {modality} feature {name!r}; {did_you_mean(name, store.specs.get(modality, ()))}"
            )
        chosen[modality] = name
    for modality in data.modalities or store.modalities:
        names = list(store.specs.get(modality, ()))
        if len(names) > 1 and modality not in chosen:
            raise UsageError(
                f"{store.path} has several {modality} features ({listed(names)}); choose one, such as "
                f"--set data.feature_sets={modality}={names[0]}."
            )
    return chosen


def divide(corpus: Corpus, settings: Settings, warn: Callable[[str], None], member: int = 0) -> list[Split]:
    """Return the folds of a run, or its one split, as a member of an ensemble sees them.

    Raises
    ------
    UsageError, InvalidInput
        See `imer.batches.splits`.
    """
    data, seed = settings.data, settings.train.seed
    options: dict[str, Any] = {"seed": seed, "share": data.validation_share, "by": data.validation_by, "member": member}
    if data.folds == WITHOUT_TEST:
        splits = [whole_split(corpus, **options)]
    else:
        splits = fold_splits(corpus, data.folds, **options) if data.folds else [official_split(corpus, **options)]
    for sentence in (*(warning for split in splits for warning in split.warnings), *scarce_modalities(corpus, splits)):
        warn(sentence)
    usual = DataSettings()
    cut = [name for name in ("validation_share", "validation_by") if getattr(data, name) != getattr(usual, name)]
    if cut and not data.folds and (corpus.splits == "val").any():
        warn(f"the utterances have a val part of their own, so {listed([f'data.{name}' for name in cut])} did nothing.")
    return splits
