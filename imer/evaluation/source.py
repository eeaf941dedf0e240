"""What is evaluated on what: a run, the feature store that fits it, and the rows that each fold is asked about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imer.batches.corpus import Corpus
from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.files import followed
from imer.core.types import SPLITS
from imer.evaluation.pooled import FoldRows
from imer.evaluation.subject import Subject
from imer.metrics.leading import off_the_sentiment_scale, range_of, widest
from imer.store.reader import FeatureStore
from imer.training.selection import is_optimistic, mean_value

FEW_DIALOGUES = 10  # fewer than this make percentile intervals that are much too narrow

if TYPE_CHECKING:
    from imer.training.trained_fold import TrainedFold


@dataclass(frozen=True)
class Source:
    """A run and its data, checked against each other.

    rows       the distinct corpus rows that any fold is asked about, sorted
    run        facts about the run for the results: name, path, digest, folds, settings
    features   path, content digest and quality of the store
    log        the records of the training's log
    label_range   smallest and largest label, of those learnt from and those judged; None for classes
    """

    corpus: Corpus
    folds: list[FoldRows]
    rows: np.ndarray
    label: str
    run: dict[str, Any]
    features: dict[str, Any]
    log: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    label_range: list[float] | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.corpus.modalities)


def open_source(subject: Subject, features: Path | None, *, split: str) -> Source:
    """Open the store to evaluate a subject on.

    Raises
    ------
    UsageError
        `split` is none of train, val, test.
    InvalidInput
        The store is missing, damaged, or does not fit the subject.
    """
    if split not in SPLITS:
        raise UsageError(f"--split is one of {listed(SPLITS)}, but {split!r} was given.")
    path = _recorded_store(subject) if features is None else Path(features)
    with FeatureStore.open(path) as store:
        if features is None:
            _check_unchanged(subject, store)
        corpus = _fitting_corpus(subject.folds[0], store)
        facts = _store_facts(store, corpus)
    folds = [
        FoldRows(fold, rows)
        for fold, rows in zip(subject.folds, _rows(subject.folds, corpus, split, path), strict=True)
    ]
    rows = np.unique(np.concatenate([one.rows for one in folds]))
    warnings = []
    knows_its_own = any(fold.train_ids for fold in subject.folds)
    if not knows_its_own and corpus.content_sha256 == subject.trained_on:
        raise InvalidInput(
            f"{subject.path} was trained on {path}, and does not know which of its utterances it learnt from; evaluate the run "
            "that it was exported from, or name a store of others."
        )
    if corpus.content_sha256 != subject.trained_on:
        imported = [name for name, spec in corpus.specs.items() if spec.is_array]
        trained = subject.folds[0].specs
        are_named = all(corpus.specs[name].dim_names and trained[name].dim_names for name in imported)
        made = (
            f"of its {listed(imported)} features only the {'columns are' if are_named else 'width is'} known"
            if imported
            else "its features were made in the same way"
        )
        warnings.append(f"{path} is not the store of the training, but {made}.")
        warnings += _of_new_data(folds, rows, corpus, split)
        if not knows_its_own:
            warnings.append(
                "A bundle does not know which utterances it learnt from: see to it that none is among these."
            )
    warnings += too_little_to_measure(corpus, rows)
    label_range = None
    if corpus.task == "regression":
        label_range = widest([*(fold.spec.target_range for fold in subject.folds), range_of(corpus.target_N[rows])])
        warnings += off_the_sentiment_scale(corpus.label, label_range)
    if sum(len(one.rows) for one in folds) > len(rows):
        each = all(len(one.rows) == len(rows) for one in folds)
        warnings.append(
            f"{'each' if each else 'several'} of the {len(folds)} folds answer{'s all' if each else ' the same of the'} "
            f"{len(rows)} utterances, so that n counts each {f'{len(folds)} times' if each else 'as often'}; `imer predict` "
            "answers with one model."
        )
    optimistic = True
    if any(is_optimistic(fold.selected) for fold in subject.folds):
        warnings.append("The epoch was not chosen on validation data, so these results are optimistic.")
    elif split == "train" and _are_its_own(folds, corpus, "train_ids"):
        warnings.append("The model learnt from these very utterances, so these results are optimistic.")
    elif split == "val" and _are_its_own(folds, corpus, "val_ids"):
        warnings.append("The epoch was chosen on these very utterances, so these results are optimistic.")
    else:
        optimistic = False
    if within := subject.folds[0].within_speaker:
        warnings.append(
            f"The {listed(within)} features are taken relative to their speaker, over all the utterances asked about: the "
            "results hold where speakers are known and have as many utterances."
        )
    return Source(
        corpus=corpus,
        folds=folds,
        rows=rows,
        label=subject.folds[0].label,
        run=_run_facts(subject, optimistic=optimistic),
        features={"path": str(path), **facts, "evaluated_sha256": _digest_of_ids(corpus, rows)},
        log=subject.log,
        warnings=warnings,
        label_range=label_range,
    )


def _of_new_data(folds: Sequence[FoldRows], rows: np.ndarray, corpus: Corpus, split: str) -> list[str]:
    """Say which utterances of another store are asked about (`rows`, by any fold), where a user may expect others."""
    if sum(len(one.rows) for one in folds) > len(rows):
        return []
    if split != "test":
        named = (corpus.splits != "").any()
        return [] if named else [f"it names no splits: all of its {len(rows)} utterances are taken for {split}."]
    by_split = len(folds) == 1 and (corpus.splits != "").any()
    if len(rows) != (int((corpus.splits == split).sum()) if by_split else corpus.n):
        return [
            f"{len(rows)} of its {corpus.n} utterances are evaluated, those with the ids of the run's {split} part; give new "
            "utterances ids of their own, so that all of them are."
        ]
    return []


def _are_its_own(folds: Sequence[FoldRows], corpus: Corpus, part: str) -> bool:
    """Whether a fold is asked about utterances of its own part `part` (train_ids or val_ids)."""
    return any(not set(getattr(one.fold, part)).isdisjoint(corpus.utterance_ids[one.rows].tolist()) for one in folds)


def too_little_to_measure(corpus: Corpus, rows: np.ndarray) -> list[str]:
    """Say what figures over these utterances cannot tell: dialogues may be too few to resample, and classes lack."""
    said = []
    labelled = rows[corpus.labelled_N[rows]]
    n_dialogues = len(set(corpus.dialogue_ids[labelled]))
    if n_dialogues == 1:
        said.append(
            "All labelled utterances are of one dialogue, so that there are no intervals: they resample dialogues."
        )
    elif 1 < n_dialogues < FEW_DIALOGUES:
        said.append(
            f"The intervals resample no more than {n_dialogues} dialogues: from so few they come out too narrow; do not rely "
            "on them."
        )
    if corpus.task == "classification":
        there = set(corpus.target_N[labelled].tolist())
        absent = [name for c, name in enumerate(corpus.class_names) if c not in there]
        if absent and len(labelled):
            said.append(
                f"{len(absent)} of {len(corpus.class_names)} classes have no labelled utterance here ({listed(absent, 3)}): "
                "nothing is said of them, and UA is the mean over the others."
            )
    return said


def _recorded_store(subject: Subject) -> Path:
    """Return the store that a subject was trained on."""
    for path in subject.stores:
        if path.is_file():
            return path
    was, *beside = subject.stores
    raise InvalidInput(
        f"The run {subject.path} was trained on {was}, which is not there any more (nor {listed(beside)}); name the store: "
        f"imer eval {subject.path} FEATURES.h5."
    )


def _check_unchanged(subject: Subject, store: FeatureStore) -> None:
    expected = subject.trained_on
    if store.content_sha256 != expected:
        raise InvalidInput(
            f"{store.path} has changed since the run {subject.path} was trained on it (content {store.content_sha256[:12]}, "
            f"then {expected[:12]}); restore it, or name it on the command line if the change is meant."
        )


def _fitting_corpus(fold: TrainedFold, store: FeatureStore) -> Corpus:
    """Read exactly the features that the model was trained on."""
    lacking = [name for name in fold.modalities if name not in store.specs]
    if lacking:
        raise InvalidInput(
            f"The model reads {listed(fold.modalities)}, but {store.path} has {listed(store.modalities)}: {listed(lacking)} is "
            "missing; extract it too, or evaluate a model of these modalities (`imer predict` answers without them)."
        )
    if fold.label not in store.labels:
        raise InvalidInput(
            f"The model predicts {fold.label!r}, but {store.path} has no such label column (it has "
            f"{listed(sorted(store.labels)) or 'none'}), so there is nothing to measure; use `imer predict`."
        )
    names = {modality: _same_feature(fold, store, modality) for modality in fold.modalities}
    return Corpus.from_store(
        store,
        list(fold.modalities),
        fold.label,
        names,
        task=fold.task,
        class_names=fold.class_names or None,
    )


def _same_feature(fold: TrainedFold, store: FeatureStore, modality: str) -> str:
    """Return the name of the feature set that was made as the trained one was."""
    trained = fold.specs[modality]
    for name, spec in store.specs[modality].items():
        if spec.fingerprint == fold.fingerprints[modality] and not trained.differences(spec):
            return name
    found = next(iter(store.specs[modality].values()))
    raise InvalidInput(
        f"The {modality} features of {store.path} ({listed(store.specs[modality])}) were not made as those that the model was "
        f"trained on, {fold.feature_names[modality]} ({listed(trained.differences(found), 3)}); make them with the same "
        f"{'columns in the same order' if trained.is_array else 'extractor and settings'}."
    )


def _rows(folds: Sequence[TrainedFold], corpus: Corpus, split: str, path: Path) -> list[np.ndarray]:
    """Return the rows of each fold's part of the split.

    A store that shares no utterance with the run is new data: every fold answers all of its utterances of that split
    (all of them, where it names no splits).
    """
    parts = [{"train": fold.train_ids, "val": fold.val_ids, "test": fold.test_ids} for fold in folds]
    rows = [corpus.rows_of(part[split]) for part in parts]
    expected, found = sum(len(part[split]) for part in parts), sum(map(len, rows))
    untaught = [fold.name for fold, part in zip(folds, parts, strict=True) if part["train"] and not part["val"]]
    if split == "val" and untaught:
        where = f" in fold {listed(untaught)}" if len(folds) > 1 else ""
        raise InvalidInput(
            f"{path} has no utterance that all members of the run kept for validation{where}: each taught one of them; choose "
            "--split test, or train with --members 1."
        )
    if found == expected > 0:
        return rows
    known = {name for part in parts for ids in part.values() for name in ids}
    if not known.isdisjoint(corpus.utterance_ids.tolist()):
        if not expected:
            raise InvalidInput(
                f"The run was trained without a {split} part, and {path} has utterances of its training: name a store "
                "of others (imer eval RUN OTHER.h5), or choose another part with --split."
            )
        raise InvalidInput(
            f"{path} has only {found} of the {expected} utterances in the {split} split of the run, and other utterances of "
            "it; evaluate on the store of the training, or on entirely new data."
        )
    chosen = np.flatnonzero(corpus.splits == split)
    if not (corpus.splits != "").any():
        chosen = np.arange(corpus.n)
    if not len(chosen):
        raise InvalidInput(f"{path} has no utterance in the split {split}; choose another with --split.")
    return [chosen] * len(folds)


def _run_facts(subject: Subject, *, optimistic: bool) -> dict[str, Any]:
    selected = [fold.selected for fold in subject.folds]
    epochs = ", ".join(str(epoch) for one in selected for epoch in one.get("epochs", [one["epoch"]]))
    return {
        "name": followed(subject.path).name,
        "path": str(subject.path),
        "sha256": subject.sha256,
        "seed": subject.settings.get("train.seed"),
        "trained_on": subject.trained_on,
        "folds": [fold.name for fold in subject.folds],
        "selection": f"best {selected[0]['metric']} on {selected[0]['on']} (epoch {epochs})",
        "selected": {
            "metric": selected[0]["metric"],
            "on": selected[0]["on"],
            "value": mean_value(selected),
        },
        "optimistic": optimistic,
        "within_speaker": list(subject.folds[0].within_speaker),
        "settings": subject.settings,
    }


def _digest_of_ids(corpus: Corpus, rows: np.ndarray) -> str:
    """Return a digest of the utterances asked about: equal where two evaluations can be compared pairwise."""
    return hashlib.sha256("\n".join(sorted(corpus.utterance_ids[rows].tolist())).encode()).hexdigest()


def _store_facts(store: FeatureStore, corpus: Corpus) -> dict[str, Any]:
    verdicts = store.verdict_counts()
    modalities = {
        name: {
            "feature": corpus.feature_names[name],
            "dim": width,
            "present": int(corpus.present_NM[:, column].sum()),
            "verdicts": verdicts.get(name, {}),
        }
        for column, (name, width) in enumerate(corpus.modalities.items())
    }
    return {"content_sha256": store.content_sha256, "utterances": store.n, "modalities": modalities}
