"""A shipped model's answers for the utterances of a feature store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imer.batches.corpus import Corpus
from imer.core.errors import InvalidInput, listed
from imer.core.types import FAILURES, Verdict
from imer.export.bundle import is_bundle, load_bundle
from imer.export.chosen import choose_fold
from imer.masks.table import MaskTable
from imer.store.reader import FeatureStore
from imer.training.inference import Prediction
from imer.training.origin import ORIGIN_FILE
from imer.training.run_folder import RunFolder
from imer.training.trained_fold import TrainedFold


@dataclass(frozen=True)
class Answered:
    """Answers for a store.

    records     one for each answered utterance, in the order of the store: see `record`
    unanswered  utterances whose clips failed, and of which nothing else is there to answer from
    absent      modalities of the model that the store does not have at all
    ignored     modalities of the store that the model does not know
    speakerless   answers without a known speaker, from a model whose features are relative to theirs
    """

    records: tuple[dict[str, Any], ...]
    unanswered: tuple[str, ...]
    absent: tuple[str, ...]
    ignored: tuple[str, ...]
    speakerless: int = 0


def open_model(path: Path, *, fold: str | None = None, device: str = "cpu") -> tuple[TrainedFold, int]:
    """Return the model of a run folder or a bundle, and among how many folds it was chosen.

    Raises
    ------
    InvalidInput
        `path` is neither a run folder nor a bundle, or is damaged.
    UsageError
        There is no such fold.
    """
    path = Path(path)
    if not path.exists():
        raise InvalidInput(f"There is no model at {path}: expected a run folder of `imer train`, or a bundle.")
    if is_bundle(path):
        return choose_fold([load_bundle(path, device)], fold), 1
    if not (path / ORIGIN_FILE).is_file():
        raise InvalidInput(f"{path} is neither a run folder of `imer train` nor a bundle of `imer export`.")
    run = RunFolder.open(path, device)
    return choose_fold(run.folds, fold), len(run.folds)


def answer_store(
    fold: TrainedFold,
    path: Path,
    *,
    mask: Path | None = None,
    accept_versions: bool = False,
    media: Mapping[str, str] | None = None,
) -> Answered:
    """Answer every utterance of a feature store, each dialogue as a whole.

    A modality that the store lacks is treated as missing everywhere. `mask` hides further modalities.
    `accept_versions` also takes features of another version of the same extractor. `media`: the file of each utterance
    by its id, where somebody knows it (a store does not).

    Raises
    ------
    InvalidInput
        The store is damaged, has none of the model's modalities, or its features were made in another way; or the
        mask does not cover it.
    """
    with FeatureStore.open(path) as store:
        corpus, absent = _fitted_corpus(fold, store, accept_versions)
        ignored = tuple(name for name in store.modalities if name not in fold.modalities)
        quality = store.quality
        dialogue_ids = store.dialogue_ids
        times = [(_known(a), _known(b)) for a, b in zip(store.start_s.tolist(), store.end_s.tolist(), strict=True)]
    modalities = tuple(fold.modalities)
    verdicts_NM = np.stack(
        [quality[m] if m in quality else np.full(corpus.n, int(Verdict.no_stream)) for m in modalities], axis=1
    )
    observed_NM = corpus.present_NM
    if mask is not None:
        observed_NM = MaskTable.read(mask).rows_for(corpus.utterance_ids, modalities) & observed_NM
    failed_N = ~corpus.present_NM.any(axis=1) & np.isin(verdicts_NM, [int(v) for v in FAILURES]).any(axis=1)
    found = fold.predict(corpus, np.arange(corpus.n), observed_NM)
    records = [
        record(fold, corpus, found, i, str(dialogue_ids[i]), media or {}, times[i], verdicts_NM[i])
        for i in np.flatnonzero(~failed_N).tolist()
    ]
    unanswered = tuple(str(name) for name in corpus.utterance_ids[failed_N])
    speakerless = int((corpus.speakers[~failed_N] == "").sum()) if fold.within_speaker else 0
    return Answered(tuple(records), unanswered, absent, ignored, speakerless)


def _known(seconds: float) -> float | None:
    return None if np.isnan(seconds) else seconds


def record(
    fold: TrainedFold,
    corpus: Corpus,
    found: Prediction,
    i: int,
    dialogue_id: str,
    media: Mapping[str, str],
    times_s: tuple[float | None, float | None],
    verdicts_M: np.ndarray,
) -> dict[str, Any]:
    """Return one line of the predictions: row i of the corpus, which is row i of the prediction.

    `media` are the files by utterance, as far as they are known. `times_s` are start and end in the clip, None where the
    clip is one utterance, or goes on to its end. `observed` names the modalities that were used; `weights` are the
    coordinator's; `all_missing` marks an answer that had nothing to go by in the utterance itself; `verdicts` say what
    became of each modality in extraction.
    """
    said = found.in_words(i, fold.modalities, fold.class_names)
    start_s, end_s = times_s
    utterance_id = str(corpus.utterance_ids[i])
    return {
        "utterance_id": utterance_id,
        "dialogue_id": dialogue_id,
        "position": int(corpus.positions[i]),
        "speaker": str(corpus.speakers[i]) or None,
        "media": media.get(utterance_id),
        "start_s": start_s,
        "end_s": end_s,
        **said,
        "all_missing": not said["observed"],
        "verdicts": {name: Verdict(int(v)).name for name, v in zip(fold.modalities, verdicts_M, strict=True)},
    }


def _fitted_corpus(fold: TrainedFold, store: FeatureStore, accept_versions: bool) -> tuple[Corpus, tuple[str, ...]]:
    """Read the model's features from a store; those it does not have at all become columns that are never present."""
    here = [name for name in fold.modalities if name in store.specs]
    if not here:
        raise InvalidInput(
            f"The model reads {listed(fold.modalities)}, but {store.path} has {listed(store.modalities) or 'no features'}: "
            "none of them; extract them first."
        )
    names = {name: _feature(fold, store, name, accept_versions) for name in here}
    corpus = Corpus.from_store(store, here, None, names)
    features, present = {}, []
    for name, width in fold.modalities.items():
        features[name] = corpus.features.get(name, np.zeros((corpus.n, width), np.float32))
        column = corpus.present_NM[:, here.index(name)] if name in here else np.zeros(corpus.n, bool)
        present.append(column)
    filled = replace(
        corpus,
        modalities=dict(fold.modalities),
        features=features,
        present_NM=np.stack(present, axis=1),
        # Each feature was compared above; what has another fingerprint by now was accepted.
        fingerprints=dict(fold.fingerprints),
    )
    return filled, tuple(name for name in fold.modalities if name not in here)


def _feature(fold: TrainedFold, store: FeatureStore, modality: str, accept_versions: bool) -> str:
    """Return the name of the store's feature that was made as the model's was."""
    wanted = fold.specs[modality]
    problems = []
    for name, found in store.specs[modality].items():
        differences = wanted.differences(found, accept_versions=accept_versions)
        if not differences:
            return name
        problems.append(f"{name}: {listed(differences, 3)}")
    raise InvalidInput(
        f"The {modality} features of {store.path} are not those that the model was trained on ({listed(problems, 3)}); make "
        f"them as in training, {'of the same columns in the same order' if wanted.is_array else f'with {wanted.extractor}'}."
    )


def utterances_seen(fold: TrainedFold, records: Sequence[dict[str, Any]]) -> int:
    """Count the answers for utterances that the model was trained on (a bundle does not know them)."""
    known = {*fold.train_ids, *fold.val_ids}
    return sum(line["utterance_id"] in known for line in records)
