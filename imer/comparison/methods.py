"""Which runs make one method, differing in their seed alone, and what it is called."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imer.comparison.evaluated_run import EvaluatedRun
from imer.core.settings import flat
from imer.evaluation.results import Evaluation
from imer.training.settings import BEFORE_IT_EXISTED, DEFAULT_PRESET, NOT_THE_RESULT, RunChoice

# Settings that name a method before any other does, where they differ between methods.
_TELLING = ("run.preset", "run.head", "model.modality", "train.protocol", "train.missing_rate", "data.modalities")
# Settings that do not make another method of a run.
_NOT_THE_METHOD = NOT_THE_RESULT | {"train.seed"}


@dataclass(frozen=True)
class Method:
    """Runs that differ in their seed alone."""

    name: str
    runs: tuple[EvaluatedRun, ...]

    @property
    def evaluation(self) -> Evaluation:
        return self.runs[0].evaluation


def group_methods(runs: Sequence[EvaluatedRun]) -> list[Method]:
    """Group runs that differ in their seed alone, in the order given, with the shortest names that tell them apart."""
    groups: dict[tuple[str, int], list[EvaluatedRun]] = {}
    met: Counter[tuple[str, Any]] = Counter()
    for run in runs:
        method, seed = json.dumps(method_settings(run), sort_keys=True), run.evaluation.run["seed"]
        groups.setdefault((method, met[method, seed]), []).append(run)  # the same seed again is no further seed
        met[method, seed] += 1
    names = _names([method_settings(members[0]) for members in groups.values()])
    firsts = [members[0] for members in groups.values()]
    # What settings do not tell apart, or a bundle of before does not know of them: its folder does, or that of its results.
    for where in ([one.evaluation.run["name"] for one in firsts], [one.folders[0][0] for one in firsts]):
        names = [f"{n} [{w}]" if names.count(n) > 1 else n for n, w in zip(names, where, strict=True)]
    return [Method(name, tuple(members)) for name, members in zip(names, groups.values(), strict=True)]


def same_test_part(methods: Sequence[Method]) -> list[list[Method]]:
    """Group methods by the utterances that they were evaluated on, in the order given."""
    groups: dict[frozenset[str], list[Method]] = {}
    for method in methods:
        parts = frozenset(str(run.evaluation.features.get("evaluated_sha256")) for run in method.runs)
        groups.setdefault(parts, []).append(method)
    return list(groups.values())


def known_settings(run: EvaluatedRun) -> dict[str, Any]:
    """Return the settings of a run by `section.key`, with what it did before one of them existed."""
    return {**flat(BEFORE_IT_EXISTED), **run.evaluation.run["settings"]}


def method_settings(run: EvaluatedRun) -> dict[str, Any]:
    """Return what makes its method: settings but the seed and where and how fast it was trained, and what it learnt from."""
    settings = {key: value for key, value in known_settings(run).items() if key not in _NOT_THE_METHOD}
    return settings | {
        "data.trained_on": _trained_on(run)[:12],
        "data.modalities": list(run.evaluation.modalities),
        "data.class_names": list(run.evaluation.class_names),
        "run.folds": list(run.evaluation.run["folds"]),
    }


def _trained_on(run: EvaluatedRun) -> str:
    """Return the digest of the data that a run learnt from; an evaluation of before says only whether it is its own."""
    if "trained_on" in run.evaluation.run:
        return str(run.evaluation.run["trained_on"])
    is_other = any("is not the store of the training" in sentence for sentence in run.evaluation.warnings)
    return "" if is_other else str(run.evaluation.features["content_sha256"])


def _names(settings: Sequence[dict[str, Any]]) -> list[str]:
    """Name every method by its model, and by what differs between the methods of that model.

    Where more than two differ in settings that tell little by themselves, such as in an ablation, the first of them
    keeps the short name and each other one says only how it differs from the first.
    """
    names = [""] * len(settings)
    for model in dict.fromkeys(one["run.model"] for one in settings):
        members = [i for i, one in enumerate(settings) if one["run.model"] == model]
        usual = {"run.preset": (DEFAULT_PRESET, model), "run.head": (RunChoice.head,), "model.modality": ()}
        varying = _varying([settings[i] for i in members], _TELLING)
        # A published design, another head or a single modality is told in any case, or it would pass for the default.
        telling = [
            key
            for key in _TELLING
            if key in varying or (key in usual and settings[members[0]].get(key) not in (None, "", *usual[key]))
        ]
        alike: dict[str, list[int]] = {}
        for i in members:
            alike.setdefault(_name(settings[i], telling), []).append(i)
        for same in alike.values():
            keys = _varying([settings[i] for i in same], None) if len(same) > 1 else []
            first = settings[same[0]]
            for i in same:
                own = keys if len(same) <= 2 else _varying([settings[i], first], None)
                names[i] = _name(settings[i], telling, own)
    return names


def _varying(settings: Sequence[dict[str, Any]], keys: Sequence[str] | None) -> list[str]:
    """Return those of the keys (all by default) whose values differ, where they are known."""
    candidates = sorted({key for one in settings for key in one}) if keys is None else keys
    return [key for key in candidates if len({json.dumps(one[key]) for one in settings if key in one}) > 1]


def _name(settings: dict[str, Any], telling: Sequence[str], own: Sequence[str] = ()) -> str:
    """Return the model with these settings; of those that are empty only its `own`."""
    keys = [*(key for key in telling if settings.get(key) not in (None, "", [])), *own]
    details = [f"{key.split('.')[-1]}={_said(settings.get(key))}" for key in keys]
    model = str(settings["run.model"])
    return f"{model} ({', '.join(details)})" if details else model


def _said(value: Any) -> str:
    if value in (None, "", []):
        return "none"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
