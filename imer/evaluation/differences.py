"""Paired differences between two methods, from the predictions that their evaluations left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput
from imer.core.files import read_json_lines
from imer.evaluation.bootstrap import REPLICATES, Interval, paired_differences
from imer.evaluation.compare import ConditionKey, EvaluatedRun, Method, condition_key
from imer.evaluation.publish import PREDICTIONS_FILE
from imer.metrics.tally import Tally, tally


@dataclass(frozen=True)
class _Answers:
    """The predictions of one mask of one condition, by utterance in the order of their ids."""

    ids: tuple[str, ...]
    dialogues: tuple[str, ...]
    target_N: np.ndarray
    predicted_N: np.ndarray


def _read_answers(run: EvaluatedRun) -> dict[tuple[ConditionKey, int], _Answers]:
    """Read the predictions of a run back: (condition, mask seed) → answers."""
    grouped: dict[tuple[ConditionKey, int], list[tuple[tuple[str, str], str, Any, Any]]] = {}
    for folder, rate in run.folders:
        path = folder / PREDICTIONS_FILE
        try:
            for line in read_json_lines(path):
                if rate is None or (line["missing_rate"] == rate and line["pattern"] is None):
                    key = ((line["protocol"], line["missing_rate"], line["pattern"]), line["mask_seed"])
                    place = (line["utterance_id"], line["fold"])
                    entry = (place, line["dialogue_id"], line["label"], line["prediction"])
                    grouped.setdefault(key, []).append(entry)
        except KeyError as error:
            raise InvalidInput(f"{path} lacks {error}; evaluate the run again with `imer eval`.") from error
    return {key: _answers(rows, run.evaluation.class_names) for key, rows in grouped.items()}


def _answers(rows: list[tuple[tuple[str, str], str, Any, Any]], classes: Sequence[str]) -> _Answers:
    index_of = {name: index for index, name in enumerate(classes)}
    places, dialogues, targets, predictions = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    if classes:
        target_N = np.array([-1 if t is None else index_of[t] for t in targets])
        predicted_N = np.array([index_of[p] for p in predictions])
    else:
        target_N = np.array([np.nan if t is None else t for t in targets], dtype=np.float64)
        predicted_N = np.array(predictions, dtype=np.float64)
    return _Answers(tuple(name for name, _ in places), dialogues, target_N, predicted_N)


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
