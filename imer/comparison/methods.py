"""Which runs make one method, differing in their seed alone, and what it is called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imer.comparison.evaluated_run import EvaluatedRun
from imer.core.settings import flat
from imer.evaluation.results import Evaluation
from imer.training.settings import BEFORE_IT_EXISTED, DEFAULT_PRESET, NOT_THE_RESULT

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
    """Group runs whose settings are equal but for the seed, in the order given, with the shortest telling names."""
    groups: dict[str, list[EvaluatedRun]] = {}
    for run in runs:
        groups.setdefault(json.dumps(method_settings(run), sort_keys=True), []).append(run)
    names = _names([method_settings(members[0]) for members in groups.values()])
    folders = [members[0].evaluation.run["name"] for members in groups.values()]
    # A bundle knows few of its settings: where what it knows is the same, its folder tells it apart.
    unlike = [f"{n} [{folder}]" if names.count(n) > 1 else n for n, folder in zip(names, folders, strict=True)]
    return [Method(name, tuple(members)) for name, members in zip(unlike, groups.values(), strict=True)]


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
    """Return those of them that make its method: not the seed, nor where and how fast it was trained."""
    return {key: value for key, value in known_settings(run).items() if key not in _NOT_THE_METHOD}


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
                own = keys if len(same) <= 2 else _varying([settings[i], first], None)
                names[i] = _name(settings[i], [*telling, *own]) if own else name
    return names


def _varying(settings: Sequence[dict[str, Any]], keys: Sequence[str] | None) -> list[str]:
    """Return those of the keys (all by default) whose values differ, where they are known."""
    candidates = sorted({key for one in settings for key in one}) if keys is None else keys
    return [key for key in candidates if len({json.dumps(one[key]) for one in settings if key in one}) > 1]


def _name(settings: dict[str, Any], keys: Sequence[str]) -> str:
    details = [
        f"{key.split('.')[-1]}={_said(settings[key])}" for key in keys if settings.get(key) not in (None, "", [])
    ]
    model = str(settings["run.model"])
    return f"{model} ({', '.join(details)})" if details else model


def _said(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
