"""Runs beside each other: which belong to one method, and mean ± sd over its seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, UsageError
from imer.core.folders import FOLDER_MANIFEST, verify_folder
from imer.evaluation.evaluate import EVALUATION_FOLDER
from imer.evaluation.publish import METRICS_FILE, PREDICTIONS_FILE
from imer.evaluation.results import ConditionSummary, Evaluation, MetricSummary, area_under_curve
from imer.training.settings import BEFORE_IT_EXISTED, DEFAULT_PRESET, NOT_THE_RESULT, ONE_RATE

ConditionKey = tuple[str, float | None, str | None, str]  # protocol, nominal rate, pattern, detail


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluation with the folders that it was read from, each with the only rate it speaks for (None: all)."""

    folders: tuple[tuple[Path, float | None], ...]
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
    folder = path if own.is_file() and not (path / "checkpoint").exists() else path / EVALUATION_FOLDER
    if (path / "sweep.json").is_file():
        raise InvalidInput(
            f"{path} is a sweep, whose table is {path / 'table.md'} and table.tex; to compare its runs with others, name them "
            f"({path / 'runs'}/*)."
        )
    if not (folder / METRICS_FILE).is_file():
        raise InvalidInput(
            f"{path} has not been evaluated: {folder / METRICS_FILE} is missing; run `imer eval {path}`."
        )
    if (folder / FOLDER_MANIFEST).is_file():
        verify_folder(folder, (METRICS_FILE, PREDICTIONS_FILE))
    return EvaluatedRun(((folder, None),), Evaluation.read(folder / METRICS_FILE))


def check_distinct(runs: Sequence[EvaluatedRun]) -> None:
    """Refuse one model twice: it would count as two seeds.

    Raises
    ------
    UsageError
        Two of the evaluations are of the same model.
    """
    seen: dict[tuple[str, Any], Path] = {}
    for run in runs:
        folder = run.folders[0][0]
        model = (str(run.evaluation.run["sha256"]), run.evaluation.run.get("seed"))
        if model in seen:
            raise UsageError(
                f"{seen[model]} and {folder} are evaluations of one model, which would count as two seeds; name one of them, "
                "or evaluate all conditions at once (imer eval --missing-rate … --pattern …)."
            )
        seen[model] = folder


def data_key(evaluation: Evaluation) -> tuple[str, ...]:
    """Return what two evaluations must share to be put into one table: data, label and split."""
    return (str(evaluation.features["content_sha256"]), evaluation.task, evaluation.label, evaluation.split)


def group_methods(runs: Sequence[EvaluatedRun]) -> list[Method]:
    """Group runs whose settings are equal but for the seed, in the order given, with the shortest telling names."""
    groups: dict[str, list[EvaluatedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(method_settings(run), sort_keys=True), []).append(run)
    names = _names([method_settings(members[0]) for members in groups.values()])
    return [Method(name, tuple(members)) for name, members in zip(names, groups.values(), strict=True)]


def _names(settings: Sequence[dict[str, Any]]) -> list[str]:
    """Name every method by its model, and by what differs between the methods of that model.

    Where more than two differ in settings that tell little by themselves, such as in an ablation, the first of them
    keeps the short name and each other one says only how it differs from the first.
    """
    names = [""] * len(settings)
    for model in dict.fromkeys(one["run.model"] for one in settings):
        members = [i for i, one in enumerate(settings) if one["run.model"] == model]
        telling = _varying([settings[i] for i in members], _TELLING)
        preset = settings[members[0]].get("run.preset")
        if "run.preset" not in telling and preset not in (None, "", DEFAULT_PRESET, model):
            telling = ["run.preset", *telling]  # or a published design would pass for the default
        alike: dict[str, list[int]] = {}
        for i in members:
            alike.setdefault(_name(settings[i], telling), []).append(i)
        for name, same in alike.items():
            keys = _varying([settings[i] for i in same], None) if len(same) > 1 else []
            first = settings[same[0]]
            for i in same:
                own = keys if len(same) <= 2 else [key for key in keys if settings[i].get(key) != first.get(key)]
                names[i] = _name(settings[i], [*telling, *own]) if own else name
    return names


def same_test_part(methods: Sequence[Method]) -> list[list[Method]]:
    """Group methods by the utterances that they were evaluated on, in the order given."""
    groups: dict[frozenset[str], list[Method]] = {}
    for method in methods:
        parts = frozenset(str(run.evaluation.features.get("evaluated_sha256")) for run in method.runs)
        groups.setdefault(parts, []).append(method)
    return list(groups.values())


# Settings that name a method before any other does, where they differ between methods.
_TELLING = ("run.preset", "run.head", "model.modality", "train.protocol", "train.missing_rate", "data.modalities")
# Settings that do not make another method of a run.
_NOT_THE_METHOD = NOT_THE_RESULT | {"train.seed"}


def join_matched(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    """Join runs that were trained for one missing rate each, and are equal otherwise, into one curve.

    Each speaks for its own rate alone: that is what the protocol `matched` means. Other runs stay as they are.

    Raises
    ------
    InvalidInput
        One of them was not evaluated at its own rate.
    """
    families: dict[str, list[tuple[float, EvaluatedRun]]] = {}
    for number, run in enumerate(runs):
        rate = _trained_rate(run)
        settings = {**method_settings(run), "train.seed": run.evaluation.run["seed"], "train.missing_rate": None}
        key = json.dumps([number] if rate is None else settings, sort_keys=True)
        families.setdefault(key, []).append((-1.0 if rate is None else rate, run))
    joined = []
    for members in families.values():
        if len({rate for rate, _ in members}) == 1:
            joined += [run for _, run in members]
        else:
            joined.append(_joined(sorted(members, key=lambda member: member[0])))
    return joined


def _trained_rate(run: EvaluatedRun) -> float | None:
    settings = run.evaluation.run["settings"]
    if settings["train.protocol"] not in ONE_RATE:
        return None
    try:
        return float(settings["train.missing_rate"])
    except ValueError:
        return None


def _joined(members: Sequence[tuple[float, EvaluatedRun]]) -> EvaluatedRun:
    summary, folders = [], []
    for rate, run in members:
        own = [one for one in run.evaluation.summary if one.pattern is None and one.missing_rate == rate]
        if not own:
            path = run.evaluation.run["path"]
            raise InvalidInput(
                f"{path} was trained for the missing rate {rate:g}, as one of several that make a curve together, but it was "
                f"not evaluated there: `imer eval {path} --missing-rate {rate:g}`."
            )
        summary += own
        folders += [(folder, rate) for folder, _ in run.folders]
    first = members[0][1].evaluation
    settings = {**first.run["settings"], "train.missing_rate": ""}
    evaluation = replace(
        first,
        run={**first.run, "settings": settings, **_facts_together([run.evaluation.run for _, run in members])},
        summary=summary,
        results=[],
        aulc_mr=area_under_curve(summary, first.task),
        diagnostics={},
    )
    return EvaluatedRun(tuple(folders), evaluation)


def _facts_together(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what joined runs have in common: the mean of their validation scores, one digest, any optimism."""
    digest = hashlib.sha256("".join(str(one["sha256"]) for one in facts).encode()).hexdigest()
    found: dict[str, Any] = {"sha256": digest, "optimistic": any(one.get("optimistic") for one in facts)}
    selected = [one.get("selected") or {} for one in facts]
    values = [one["value"] for one in selected if one.get("value") is not None]
    if values:
        found["selected"] = {**selected[0], "value": float(np.mean(values)) if len(values) == len(facts) else None}
    return found


def known_settings(run: EvaluatedRun) -> dict[str, Any]:
    """Return the settings of a run by `section.key`, with what it did before one of them existed."""
    before = {f"{section}.{key}": was for section, keys in BEFORE_IT_EXISTED.items() for key, was in keys.items()}
    return {**before, **run.evaluation.run["settings"]}


def method_settings(run: EvaluatedRun) -> dict[str, Any]:
    """Return those of them that make its method: not the seed, nor where and how fast it was trained."""
    return {key: value for key, value in known_settings(run).items() if key not in _NOT_THE_METHOD}


def _varying(settings: Sequence[dict[str, Any]], keys: Sequence[str] | None) -> list[str]:
    """Return those of the keys (all by default) whose values differ."""
    candidates = sorted({key for one in settings for key in one}) if keys is None else keys
    return [key for key in candidates if len({json.dumps(one.get(key)) for one in settings}) > 1]


def _name(settings: dict[str, Any], keys: Sequence[str]) -> str:
    details = [
        f"{key.split('.')[-1]}={_said(settings[key])}" for key in keys if settings.get(key) not in (None, "", [])
    ]
    model = str(settings["run.model"])
    return f"{model} ({', '.join(details)})" if details else model


def _said(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


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


def left_out(method: Method) -> list[str]:
    """Return the conditions that some runs of a method have and others have not, which its means therefore leave out."""
    by_run = [{condition_key(one): one.name for one in run.evaluation.summary} for run in method.runs]
    everywhere = set.intersection(*(set(found) for found in by_run))
    return list(dict.fromkeys(name for found in by_run for key, name in found.items() if key not in everywhere))


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
    return (one.protocol, one.missing_rate, one.pattern, one.detail)
