"""What a run learns from: the corpus that its settings name, and the division into training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imer.batches.corpus import Corpus, default_label, odd_classes
from imer.batches.splits import Split, fold_splits, official_split
from imer.core.errors import UsageError
from imer.store.reader import FeatureStore
from imer.training.settings import DataSettings, Settings


def read_corpus(data: DataSettings, warn: Callable[[str], None]) -> Corpus:
    """Read the corpus from its feature store.

    Raises
    ------
    UsageError
        A modality, feature set or label that the store does not have.
    InvalidInput
        The store is missing or damaged.
    """
    sets = {}
    for text in data.feature_sets:
        modality, equals, name = text.partition("=")
        if not equals:
            raise UsageError(f"data.feature_sets holds modality=name, but {text!r} was given.")
        sets[modality.strip()] = name.strip()
    with FeatureStore.open(Path(data.features)) as store:
        label = data.label or default_label(store)
        corpus = Corpus.from_store(store, data.modalities or None, label, sets, task=data.task)
    for sentence in odd_classes(corpus.class_names):
        warn(f"{corpus.label}: {sentence}")
    for name, count in corpus.non_finite.items():
        warn(f"{count} {name} features hold NaN or infinities; they count as not present.")
    return corpus


def divide(corpus: Corpus, settings: Settings, warn: Callable[[str], None], member: int = 0) -> list[Split]:
    """Return the folds of a run, or the one official split, as a member of an ensemble sees them.

    Raises
    ------
    UsageError, InvalidInput
        See `imer.batches.splits`.
    """
    data, seed = settings.data, settings.train.seed
    options: dict[str, Any] = {"seed": seed, "share": data.validation_share, "by": data.validation_by, "member": member}
    splits = fold_splits(corpus, data.folds, **options) if data.folds else [official_split(corpus, **options)]
    for split in splits:
        for warning in split.warnings:
            warn(warning)
    return splits
