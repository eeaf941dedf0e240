"""Paired differences between two methods, from the predictions that their evaluations left behind."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from imer.comparison.evaluated_run import EvaluatedRun
from imer.comparison.methods import Method
from imer.comparison.over_runs import ConditionKey, condition_key, over_runs
from imer.core.errors import InvalidInput
from imer.core.json_lines import each_json_line
from imer.evaluation.bootstrap import Interval, Seed, mean_difference, paired_replicates
from imer.evaluation.publish import PREDICTIONS_FILE
from imer.evaluation.results import rounded
from imer.metrics.tally import Tally, tally

Difference = tuple[float | None, Interval]


@dataclass(frozen=True)
class _Answers:
    """The predictions of one mask of one condition, by utterance in the order of their ids; `ids` names each once."""

    ids: tuple[str, ...]
    dialogues: tuple[str, ...]
    target_N: np.ndarray
    predicted_N: np.ndarray


def _read_answers(run: EvaluatedRun) -> Iterator[tuple[ConditionKey, int, _Answers]]:
    """Yield the predictions of a run by condition and mask, as they were written one after the other."""
    for folder, rate in run.folders:
        path = folder / PREDICTIONS_FILE
        try:
            for (key, mask_seed), lines in groupby(each_json_line(path), _condition_and_mask):
                if rate is None or (key.missing_rate == rate and key.pattern is None):
                    rows = [_row(line) for line in lines]
                    yield key, mask_seed, _answers(rows, run.evaluation.class_names)
        except KeyError as error:
            raise InvalidInput(f"{path} lacks {error}; evaluate the run again with `imer eval`.") from error


def _condition_and_mask(line: dict[str, Any]) -> tuple[ConditionKey, int]:
    # A rate such as 1/3 is written here with all its digits, and in the summary rounded as its figures are.
    key = ConditionKey(line["protocol"], rounded(line["missing_rate"]), line["pattern"], line.get("detail", ""))
    return key, line["mask_seed"]


def _row(line: dict[str, Any]) -> tuple[tuple[str, str], str, Any, Any]:
    """Return what counts of a line. Every mask names the same utterances: kept once, they take little memory."""
    place = (sys.intern(line["utterance_id"]), sys.intern(line["fold"]))
    return place, sys.intern(line["dialogue_id"]), line["label"], line["prediction"]


def _answers(rows: list[tuple[tuple[str, str], str, Any, Any]], classes: Sequence[str]) -> _Answers:
    index_of = {name: index for index, name in enumerate(classes)}
    places, dialogues, targets, predictions = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    if classes:
        target_N = np.array([-1 if t is None else index_of[t] for t in targets])
        predicted_N = np.array([index_of[p] for p in predictions])
    else:
        target_N = np.array([np.nan if t is None else t for t in targets], dtype=np.float64)
        predicted_N = np.array(predictions, dtype=np.float64)
    # Where every fold answered every utterance, each is named as often: metrics of all of them are those of the set.
    return _Answers(tuple(dict.fromkeys(name for name, _ in places)), dialogues, target_N, predicted_N)


@dataclass(frozen=True)
class MethodTallies:
    """What a method got right and wrong: condition → mask seed → training seed → a tally by dialogue."""

    ids: frozenset[tuple[str, ...]]
    by_condition: dict[ConditionKey, dict[int, dict[Seed, Tally]]]
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodDifferences:
    """Method − reference with 95 % intervals, by metric: in each condition, and in the mean over the missing rates."""

    by_condition: dict[ConditionKey, dict[str, Difference]]
    over_rates: dict[str, Difference]


def read_tallies(method: Method) -> MethodTallies:
    """Read back the predictions of a method's runs, for the conditions that all of them have."""
    n_classes = len(method.evaluation.class_names)
    found: dict[ConditionKey, dict[int, dict[Seed, Tally]]] = {}
    ids = set()
    seeds = [run.evaluation.run.get("seed") for run in method.runs]
    for number, run in enumerate(method.runs):
        seed: Seed = seeds[number] if seeds.count(seeds[number]) == 1 else f"run {number}"
        for key, mask_seed, answers in _read_answers(run):
            names, cluster_N = np.unique(np.array(answers.dialogues), return_inverse=True)
            ids.add(answers.ids)
            tallied = tally(answers.target_N, answers.predicted_N, cluster_N, len(names), n_classes)
            found.setdefault(key, {}).setdefault(mask_seed, {})[seed] = tallied
    shared = [condition_key(one) for one in over_runs(method).summary]
    by_condition = {key: found[key] for key in shared if key in found}
    return MethodTallies(frozenset(ids), by_condition, tuple(method.evaluation.modalities))


def paired(first: MethodTallies, second: MethodTallies) -> bool:
    """Tell whether both were evaluated on the same utterances throughout."""
    return len(first.ids | second.ids) == 1


def tally_differences(
    method: MethodTallies,
    reference: MethodTallies,
    *,
    over: Collection[ConditionKey] = (),
) -> MethodDifferences:
    """Return method − reference, each side the mean over its runs and masks; dialogues and training seeds are drawn.

    Only masks that both were evaluated under count; a condition without any is left out, as is a missing rate of methods that
    read different modalities. `over` names the missing rates of the mean over rates.
    """
    comparable = method.modalities == reference.modalities  # a rate of two hides other things than that of three
    found = {}
    for key, ours in method.by_condition.items():
        if key.missing_rate and not comparable:
            continue
        theirs = reference.by_condition.get(key, {})
        if shared := [mask_seed for mask_seed in ours if mask_seed in theirs]:
            found[key] = paired_replicates(*(_by_seed([side[one] for one in shared]) for side in (ours, theirs)))
    rates = [one for key, one in found.items() if key in over and comparable]
    return MethodDifferences(
        {key: one.with_intervals() for key, one in found.items()},
        mean_difference(rates).with_intervals() if rates else {},
    )


def _by_seed(masks: Sequence[Mapping[Seed, Tally]]) -> dict[Seed, list[Tally]]:
    """Return training seed → its tallies, one a mask, of the seeds that were evaluated under any of them."""
    found: dict[Seed, list[Tally]] = {}
    for tallies in masks:
        for seed, tallied in tallies.items():
            found.setdefault(seed, []).append(tallied)
    return found
