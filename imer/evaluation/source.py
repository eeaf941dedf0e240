"""What is evaluated on what: a run, the feature store that fits it, and the rows that each fold is asked about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imer.batches.corpus import Corpus
from imer.batches.doubts import off_the_sentiment_scale
from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.folders import output_entry
from imer.core.json_lines import read_json_lines
from imer.core.types import SPLITS
from imer.evaluation.pooled import FoldRows
from imer.store.reader import FeatureStore
from imer.training.origin import Origin
from imer.training.selection import is_optimistic

if TYPE_CHECKING:
    from imer.training.run_folder import RunFolder
    from imer.training.trained_fold import TrainedFold


@dataclass(frozen=True)
class Source:
    """A run and its data, checked against each other.

    rows       the distinct corpus rows that any fold is asked about, sorted
    run        facts about the run for the results: name, path, digest, folds, settings
    features   path, content digest and quality of the store
    log        the records of the training's log
    """

    corpus: Corpus
    folds: list[FoldRows]
    rows: np.ndarray
    label: str
    run: dict[str, Any]
    features: dict[str, Any]
    log: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.corpus.modalities)


def open_source(run_dir: Path, features: Path | None, *, split: str, device: str = "auto") -> Source:
    """Open a run and the store to evaluate it on.

    Raises
    ------
    UsageError
        `split` is none of train, val, test.
    InvalidInput
        The run or the store is missing, damaged, or does not fit the other.
    """
    if split not in SPLITS:
        raise UsageError(f"--split is one of {listed(SPLITS)}, but {split!r} was given.")
    if not run_dir.is_dir():  # before PyTorch takes its seconds
        raise InvalidInput(f"{run_dir} is not a run folder of `imer train`: there is no such folder.")

    from imer.training.run_folder import RunFolder

    run = RunFolder.open(run_dir, device=device)
    path = _recorded_store(run) if features is None else Path(features)
    with FeatureStore.open(path) as store:
        if features is None:
            _check_unchanged(run, store)
        corpus = _fitting_corpus(run.folds[0], store)
        facts = _store_facts(store, corpus)
    folds = [FoldRows(fold, rows) for fold, rows in zip(run.folds, _rows(run.folds, corpus, split, path), strict=True)]
    rows = np.unique(np.concatenate([one.rows for one in folds]))
    warnings = []
    if corpus.content_sha256 != _trained_on(run):
        imported = [name for name, spec in corpus.specs.items() if spec.is_array]
        made = (
            f"of its {listed(imported)} features only the width is known"
            if imported
            else "its features were made in the same way"
        )
        warnings.append(f"{path} is not the store of the training, but {made}.")
        warnings += _of_new_data(folds, rows, corpus, split)
    if corpus.task == "regression":
        warnings += off_the_sentiment_scale(corpus.label, corpus.target_N[rows])
    optimistic = any(is_optimistic(fold.selected) for fold in run.folds)
    if optimistic:
        warnings.append("The epoch was not chosen on validation data, so these results are optimistic.")
    if within := run.folds[0].within_speaker:
        warnings.append(
            f"The {listed(within)} features are taken relative to their speaker, over all the utterances asked about: the "
            "results hold where speakers are known and have as many utterances."
        )
    return Source(
        corpus=corpus,
        folds=folds,
        rows=rows,
        label=run.folds[0].label,
        run=_run_facts(run, optimistic=optimistic),
        features={"path": str(path), **facts, "evaluated_sha256": _digest_of_ids(corpus, rows)},
        log=read_json_lines(log) if (log := run.path / "log.jsonl").is_file() else [],
        warnings=warnings,
    )


def _of_new_data(folds: Sequence[FoldRows], rows: np.ndarray, corpus: Corpus, split: str) -> list[str]:
    """Say which utterances of another store are asked about (`rows`, by any fold), where a user may expect others."""
    if sum(len(one.rows) for one in folds) > len(rows):
        return [
            f"each of the {len(folds)} folds answers all {len(rows)} utterances, so that n counts each {len(folds)} times; "
            "`imer predict` answers with one model."
        ]
    if split != "test":
        return []
    by_split = len(folds) == 1 and (corpus.splits != "").any()
    if len(rows) != (int((corpus.splits == split).sum()) if by_split else corpus.n):
        return [
            f"{len(rows)} of its {corpus.n} utterances are evaluated, those with the ids of the run's {split} part; give new "
            "utterances ids of their own, so that all of them are."
        ]
    return []


def _recorded_store(run: RunFolder) -> Path:
    """Return the store that the run was trained on: where it was then, or beside the run folder."""
    recorded = Path(run.settings["data"]["features"])
    if not recorded.is_absolute():  # it was meant from where the training was started; older runs do not say where
        recorded = Path(Origin.read(run.path).features or recorded)
    beside = run.path.parent / recorded.name
    for path in (recorded, beside):
        if path.is_file():
            return path
    raise InvalidInput(
        f"The run {run.path} was trained on {recorded}, which is not there any more (nor {beside}); name the store: imer "
        f"eval {run.path} FEATURES.h5."
    )


def _trained_on(run: RunFolder) -> str:
    return Origin.read(run.path).content_sha256


def _check_unchanged(run: RunFolder, store: FeatureStore) -> None:
    expected = _trained_on(run)
    if store.content_sha256 != expected:
        raise InvalidInput(
            f"{store.path} has changed since the run {run.path} was trained on it (content {store.content_sha256[:12]}, then "
            f"{expected[:12]}); restore it, or name it on the command line if the change is meant."
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
    wanted = fold.fingerprints[modality]
    for name, spec in store.specs[modality].items():
        if spec.fingerprint == wanted:
            return name
    trained, found = fold.specs[modality], next(iter(store.specs[modality].values()))
    raise InvalidInput(
        f"The {modality} features of {store.path} ({listed(store.specs[modality])}) were not made as those that the model was "
        f"trained on, {fold.feature_names[modality]} ({listed(trained.differences(found), 3)}); make them with the same "
        "extractor and settings."
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


def _run_facts(run: RunFolder, *, optimistic: bool) -> dict[str, Any]:
    settings = {f"{section}.{key}": value for section, values in run.settings.items() for key, value in values.items()}
    selected = [fold.selected for fold in run.folds]
    epochs = ", ".join(str(epoch) for one in selected for epoch in one.get("epochs", [one["epoch"]]))
    values = [one["value"] for one in selected if one["value"] is not None]
    return {
        "name": run.path.resolve().name,
        "path": str(run.path),
        "sha256": output_entry(run.path / "checkpoint")["sha256"],
        "seed": settings.get("train.seed"),
        "folds": [fold.name for fold in run.folds],
        "selection": f"best {selected[0]['metric']} on {selected[0]['on']} (epoch {epochs})",
        "selected": {
            "metric": selected[0]["metric"],
            "on": selected[0]["on"],
            "value": float(np.mean(values)) if values else None,
        },
        "optimistic": optimistic,
        "within_speaker": list(run.folds[0].within_speaker),
        "settings": settings,
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
