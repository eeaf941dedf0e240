"""Runs beside each other: which belong to one method, mean ± sd over seeds, and paired differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput
from imer.core.files import read_json_lines
from imer.evaluation.bootstrap import REPLICATES, Interval, paired_differences
from imer.evaluation.publish import METRICS_FILE, PREDICTIONS_FILE
from imer.evaluation.results import ConditionSummary, Evaluation, MetricSummary, area_under_curve
from imer.evaluation.sweep import DEFAULT_FOLDER
from imer.metrics.tally import Tally, tally

ConditionKey = tuple[str, float | None, str | None]  # protocol, nominal rate, pattern


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluation with the folder that it was read from."""

    folder: Path
    evaluation: Evaluation


@dataclass(frozen=True)
class Method:
    """Runs that differ in their seed alone."""

    name: str
    runs: tuple[EvaluatedRun, ...]

    @property
    def evaluation(self) -> Evaluation:
        return self.runs[0].evaluation


def read_run(path: Path) -> EvaluatedRun:
    """Read the evaluation of a run folder, or of an evaluation folder itself.

    Raises
    ------
    InvalidInput
        There is no such folder, or it has not been evaluated.
    """
    path = Path(path)
    if not path.is_dir():
        raise InvalidInput(f"{path} is not a folder; name run folders of `imer train` that were evaluated.")
    own = path / PREDICTIONS_FILE
    folder = path if own.is_file() and not (path / "checkpoint").exists() else path / DEFAULT_FOLDER
    if not (folder / METRICS_FILE).is_file():
        raise InvalidInput(
            f"{path} has not been evaluated: {folder / METRICS_FILE} is missing; run `imer eval {path}`."
        )
    return EvaluatedRun(folder, Evaluation.read(folder / METRICS_FILE))


def data_key(evaluation: Evaluation) -> tuple[str, ...]:
    """Return what two evaluations must share to be put into one table: data, label and split."""
    return (str(evaluation.features["content_sha256"]), evaluation.task, evaluation.label, evaluation.split)


def group_methods(runs: Sequence[EvaluatedRun]) -> list[Method]:
    """Group runs whose settings are equal but for the seed, in the order given, with the shortest telling names."""
    groups: dict[str, list[EvaluatedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    settings = [_settings(members[0]) for members in groups.values()]
    names = [_name(own, _varying(settings, _TELLING)) for own in settings]
    for name in set(names):
        alike = [i for i, other in enumerate(names) if other == name]
        keys = _varying([settings[i] for i in alike], None) if len(alike) > 1 else []
        for i in alike:
            names[i] = _name(settings[i], [*_varying(settings, _TELLING), *keys])
    return [Method(name, tuple(members)) for name, members in zip(names, groups.values(), strict=True)]


# Settings that name a method before any other does, where they differ between methods.
_TELLING = ("run.preset", "run.head", "train.protocol", "train.missing_rate", "data.modalities")
# Settings that do not make another method of a run.
_NOT_THE_METHOD = frozenset(
    {"train.seed", "train.device", "train.threads", "train.checkpoint_every_s", "data.features"}
)


def _settings(run: EvaluatedRun) -> dict[str, Any]:
    return {key: value for key, value in run.evaluation.run["settings"].items() if key not in _NOT_THE_METHOD}


def _varying(settings: Sequence[dict[str, Any]], keys: Sequence[str] | None) -> list[str]:
    """Return those of the keys (all by default) whose values differ."""
    candidates = sorted({key for one in settings for key in one}) if keys is None else keys
    return [key for key in candidates if len({json.dumps(one.get(key)) for one in settings}) > 1]


def _name(settings: dict[str, Any], keys: Sequence[str]) -> str:
    details = [f"{key.split('.')[-1]}={settings[key]}" for key in keys if settings.get(key) not in (None, "", [])]
    model = str(settings["run.model"])
    return f"{model} ({', '.join(details)})" if details else model


def over_runs(method: Method) -> Evaluation:
    """Return one evaluation for a method: means over its runs, with ± 1 sd over runs in place of the intervals.

    Only conditions that every run has are kept. A single run is returned as it is.
    """
    first = method.evaluation
    if len(method.runs) == 1:
        return first
    by_run = [{condition_key(one): one for one in run.evaluation.summary} for run in method.runs]
    summary = []
    for one in first.summary:
        same = [found[condition_key(one)] for found in by_run if condition_key(one) in found]
        if len(same) == len(method.runs):
            summary.append(_mean_condition(same))
    return replace(first, summary=summary, aulc_mr=area_under_curve(summary, first.task))


def _mean_condition(same: Sequence[ConditionSummary]) -> ConditionSummary:
    metrics = {}
    for name in same[0].metrics:
        values = [one.metrics[name].mean for one in same]
        defined = [value for value in values if value is not None]
        if len(defined) < len(values):
            metrics[name] = MetricSummary(None, None, None, None)
            continue
        mean, sd = float(np.mean(defined)), float(np.std(defined, ddof=1))
        metrics[name] = MetricSummary(mean, sd, mean - sd, mean + sd)
    weights = {}
    for modality in same[0].weights:
        shares = [share for one in same if (share := one.weights.get(modality)) is not None]
        weights[modality] = float(np.mean(shares)) if shares else None
    confusion = np.mean([one.confusion for one in same], axis=0).tolist() if same[0].confusion else []
    return replace(same[0], metrics=metrics, weights=weights, confusion=confusion, folds=[])


def condition_key(one: ConditionSummary) -> ConditionKey:
    """Return what identifies a condition across runs."""
    return (one.protocol, one.missing_rate, one.pattern)


@dataclass(frozen=True)
class _Answers:
    """The predictions of one mask of one condition, by utterance in the order of their ids."""

    ids: tuple[str, ...]
    dialogues: tuple[str, ...]
    target_N: np.ndarray
    predicted_N: np.ndarray


def _read_answers(run: EvaluatedRun) -> dict[tuple[ConditionKey, int], _Answers]:
    """Read predictions.jsonl back: (condition, mask seed) → answers."""
    classes = run.evaluation.class_names
    index_of = {name: index for index, name in enumerate(classes)}
    path = run.folder / PREDICTIONS_FILE
    grouped: dict[tuple[ConditionKey, int], list[tuple[tuple[str, str], str, Any, Any]]] = {}
    try:
        for line in read_json_lines(path):
            key = ((line["protocol"], line["missing_rate"], line["pattern"]), line["mask_seed"])
            place = (line["utterance_id"], line["fold"])
            grouped.setdefault(key, []).append((place, line["dialogue_id"], line["label"], line["prediction"]))
    except KeyError as error:
        raise InvalidInput(f"{path} lacks {error}; evaluate the run again with `imer eval`.") from error
    answers = {}
    for key, rows in grouped.items():
        rows.sort(key=lambda row: row[0])
        places, dialogues, targets, predictions = zip(*rows, strict=True)
        if classes:
            target_N = np.array([-1 if t is None else index_of[t] for t in targets])
            predicted_N = np.array([index_of[p] for p in predictions])
        else:
            target_N = np.array([np.nan if t is None else t for t in targets], dtype=np.float64)
            predicted_N = np.array(predictions, dtype=np.float64)
        answers[key] = _Answers(tuple(name for name, _ in places), dialogues, target_N, predicted_N)
    return answers


def method_differences(
    method: Method, reference: Method, *, n_replicates: int = REPLICATES
) -> dict[ConditionKey, dict[str, tuple[float | None, Interval]]]:
    """Return, for every condition that both have, method − reference and its 95 % interval, by metric.

    Each side is the mean over its runs and masks; the same dialogues are drawn for both (paired).

    Raises
    ------
    InvalidInput
        The two were not evaluated on the same utterances.
    """
    sides = [[_read_answers(run) for run in one.runs] for one in (method, reference)]
    n_classes = len(method.evaluation.class_names)
    shared = [condition_key(one) for one in method.evaluation.summary]
    shared = [key for key in shared if all(any(k == key for k, _ in run) for side in sides for run in side)]
    ids = {answers.ids for side in sides for run in side for answers in run.values()}
    if len(ids) > 1:
        raise InvalidInput(
            f"{method.name} and {reference.name} were evaluated on different utterances or folds, so their difference is "
            "not paired; evaluate both on the same split."
        )
    found = {}
    for key in shared:
        tallies = [_tallies(side, key, n_classes) for side in sides]
        found[key] = paired_differences(*tallies, n_replicates=n_replicates)
    return found


def _tallies(
    side: Sequence[dict[tuple[ConditionKey, int], _Answers]], key: ConditionKey, n_classes: int
) -> list[Tally]:
    found = []
    for run in side:
        for (condition, _), answers in run.items():
            if condition == key:
                names, cluster_N = np.unique(np.array(answers.dialogues), return_inverse=True)
                found.append(tally(answers.target_N, answers.predicted_N, cluster_N, len(names), n_classes))
    return found
