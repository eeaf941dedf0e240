"""What a sweep is made of: methods × protocols × settings × missing rates × seeds, each combination one cell."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imer.core.errors import UsageError, did_you_mean, listed
from imer.core.registry import resolve
from imer.core.settings import nearest_setting, settings_called
from imer.training.settings import (
    CHANGES_VALIDATION,
    NOT_THE_RESULT,
    OF_DESCENT,
    ONE_RATE,
    DataSettings,
    RunChoice,
    Settings,
)
from imer.training.settings_layers import is_fitted, load_settings

MOST_SEEDS = 1000  # a greater number is a seed, and was not meant as a number of them
ANY_RATE = ("mixed", "complete", "complete2incomplete", "pattern")  # one model, judged at every rate


@dataclass(frozen=True)
class Asked:
    """What a sweep crosses, and what all its runs share.

    models, heads, presets   methods: every model with every head that it takes, and every preset as it is
    rates                    missing rates to judge at, and to train for where the protocol is for one rate
    rates_reachable          leave out those of them that cannot be reached, instead of refusing them
    grid                     `key=value,value`: settings that are crossed, among which validation chooses
    assignments              `key=value` for all runs; a model that does not know a `model.` or `head.` key goes without
    flags                    further settings of all runs, by section
    """

    models: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("mixed",)
    seeds: tuple[int, ...] = (0,)
    rates: tuple[float, ...] = ()
    rates_reachable: bool = False
    pattern: str | None = None
    mask_seeds: int = 5
    grid: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    config: Path | None = None
    flags: Mapping[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    name      of its folder
    family    what it shares with the cells that differ from it in `variant`, seed and rate alone
    variant   its settings of the grid, as `key=value`
    rate      the only missing rate it is for; None: all
    training  arguments of `train` besides the store and the folder; judging: those of `evaluate`
    settings  what the former resolve to
    """

    name: str
    family: str
    variant: tuple[str, ...]
    seed: int
    rate: float | None
    training: dict[str, Any]
    judging: dict[str, Any]
    settings: Settings


@dataclass(frozen=True)
class _Method:
    name: str
    preset: str | None
    choice: dict[str, str]


def plan(asked: Asked, features: Path) -> list[Cell]:
    """Return the cells, all methods with the first seed before any with the second.

    Raises
    ------
    UsageError
        A name that does not exist, a protocol that a sweep does not offer, a setting that the sweep itself decides,
        or that no method knows.
    """
    for protocol in asked.protocols:
        if protocol not in (*ANY_RATE, *ONE_RATE):
            raise UsageError(
                f"A sweep trains with the protocols {listed((*ANY_RATE, *ONE_RATE))}, but {protocol!r} was given; "
                f"{did_you_mean(protocol, (*ANY_RATE, *ONE_RATE))}"
            )
    axes = [_axis(text) for text in asked.grid]
    used: set[str] = set()
    every: set[str] = set()
    found: dict[str, Cell] = {}
    for seed, protocol, method in itertools.product(asked.seeds, asked.protocols, _methods(asked)):
        flags = _flags(asked, method, features, protocol, seed)
        base = load_settings(preset=method.preset, config=asked.config, flags=flags)
        names = _names(base)
        every |= names
        # A fitted model comes out the same whatever is said of its epochs.
        crossed = names - {f"train.{key}" for key in OF_DESCENT} if is_fitted(base.run.model) else names
        known = [text for text in asked.assignments if _knows(names, text)]
        own = [[text for text in axis if _knows(crossed, text)] for axis in axes]
        used |= {text for texts in (known, *own) for text in texts}
        for variant in itertools.product(*(texts for texts in own if texts)):
            for rate in asked.rates if protocol in ONE_RATE else (None,):
                cell = _cell(asked, method, protocol, variant, rate, seed, flags, [*known, *variant])
                found.setdefault(_identity(cell.settings), cell)
    _check_used(asked, axes, used, every)
    cells = list(found.values())
    if not cells:
        raise UsageError("There is nothing to train: --protocols names none.")
    name, count = Counter(cell.name for cell in cells).most_common(1)[0]
    if count > 1:
        raise UsageError(f"Two runs of the sweep would have the name {name}; sweep one of them by itself.")
    return cells


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read `--seeds`: a number of seeds (5: 0 … 4), or the seeds themselves.

    Raises
    ------
    UsageError
        It is neither, or a number of seeds that nobody can mean: most likely one seed.

    >>> parse_seeds("3"), parse_seeds("7,11")
    ((0, 1, 2), (7, 11))
    """
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or numbers == [0]:
        raise UsageError(f"--seeds takes a number of seeds such as 5, or seeds such as 0,3,7; found {text!r}.")
    if "," in text:
        return tuple(dict.fromkeys(numbers))
    if numbers[0] > MOST_SEEDS:
        raise UsageError(
            f"--seeds {text} asks for so many seeds, 0 … {numbers[0] - 1}, but {MOST_SEEDS} is the most; the one seed "
            f"{numbers[0]} is written --seeds {numbers[0]}, with a comma."
        )
    return tuple(range(numbers[0]))


def _methods(asked: Asked) -> Iterator[_Method]:
    for preset in asked.presets:
        yield _Method(preset, preset, {})
    default = () if asked.presets and not asked.heads else (load_settings(config=asked.config).run.model,)
    models = asked.models or default
    heads = {model: getattr(resolve("models", model), "takes_head", True) for model in models}
    if asked.heads and not any(heads.values()):
        raise UsageError(
            f"--heads: {listed(models)} {'have their' if len(models) > 1 else 'has its'} own; leave it out."
        )
    for model, takes_head in heads.items():
        if not asked.heads or not takes_head:
            yield _Method(model, None, {"model": model})
        for head in asked.heads if takes_head else ():
            yield _Method(f"{model}-{head}", None, {"model": model, "head": head})


def _flags(asked: Asked, method: _Method, features: Path, protocol: str, seed: int) -> dict[str, dict[str, Any]]:
    given = {section: dict(values) for section, values in (asked.flags or {}).items()}
    given.setdefault("data", {})["features"] = str(features)
    given["run"] = {**given.get("run", {}), **method.choice}
    given["train"] = {"threads": 1, **given.get("train", {}), "protocol": protocol, "seed": seed, "missing_rate": ""}
    return given


def _cell(
    asked: Asked,
    method: _Method,
    protocol: str,
    variant: tuple[str, ...],
    rate: float | None,
    seed: int,
    flags: dict[str, dict[str, Any]],
    assignments: list[str],
) -> Cell:
    flags = {**flags, "train": {**flags["train"], "missing_rate": "" if rate is None else _text(rate)}}
    training: dict[str, Any] = {
        "preset": method.preset,
        "config": asked.config,
        "flags": flags,
        "assignments": assignments,
    }
    try:
        settings = load_settings(**training)
    except UsageError as error:
        for text in variant:
            if str(error).startswith(f"--set {text}"):
                raise UsageError(f"--grid {str(error).removeprefix('--set ')}") from error
        raise
    for section, values in (("run", flags["run"]), ("train", flags["train"])):
        for key in ("model", "head", "protocol", "seed", "missing_rate"):
            if key in values and getattr(getattr(settings, section), key) != values[key]:
                raise UsageError(
                    f"--set or --grid decides {section}.{key}, which the sweep itself sets for each run; use --models, "
                    "--heads, --protocols, --missing-rates or --seeds instead."
                )
    if asked.grid and settings.train.select != "val":
        raise UsageError("--grid chooses on validation data, but train.select = test_best looks at the test part.")
    family = f"{method.name}_{protocol}"
    details = [re.sub(r"^\w+\.", "", text) for text in variant]  # without the section
    parts = [family, *details, *([] if rate is None else [f"rate{_text(rate)}"]), f"seed{seed}"]
    judging = {
        "missing_rate": ",".join(_text(r) for r in (asked.rates if rate is None else (rate,))),
        "pattern": asked.pattern if rate is None else None,
        "mask_seeds": asked.mask_seeds,
        "device": settings.train.device,
    }
    name = re.sub(r"[^\w.=+-]", "-", "_".join(parts))
    return Cell(name, family, variant, seed, rate, training, judging, settings)


def _text(rate: float) -> str:
    return f"{rate:.10g}"


def _axis(text: str) -> list[str]:
    key, equals, values = text.partition("=")
    options = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not options:
        raise UsageError(f"--grid {text}: write --grid key=value,value, such as --grid model.hidden=64,96.")
    section, dot, name = key.strip().rpartition(".")
    of_data = {f.name for part in (RunChoice, DataSettings) for f in fields(part)}
    if section in ("run", "data") or name in CHANGES_VALIDATION or (not section and name in of_data):
        raise UsageError(f"--grid {text}: validation cannot choose among these, since they change what it measures.")
    return [f"{section}{dot}{name}={value}" for value in dict.fromkeys(options)]


def _knows(names: set[str], text: str) -> bool:
    """Tell whether the setting of a `key=value`, with or without its section, is among these."""
    name = text.partition("=")[0].strip()
    return bool(settings_called(name, names))


def _names(settings: Settings) -> set[str]:
    """Return `section.key` of all settings that a method has."""
    return {f"{section}.{f.name}" for section, part in settings.sections().items() for f in fields(part)}


def _check_used(asked: Asked, axes: Sequence[Sequence[str]], used: set[str], known: set[str]) -> None:
    for option, texts in (("--set", asked.assignments), ("--grid", [text for axis in axes for text in axis])):
        for text in texts:
            if text not in used:
                name = text.partition("=")[0].strip()
                if _knows(known, text):
                    raise UsageError(
                        f"{option} {text}: what this sweep trains is fitted, without epochs and batches, and comes out the "
                        f"same whatever {name} says; leave it out."
                    )
                raise UsageError(
                    f"{option} {text}: no method of this sweep has a setting {name!r}; {nearest_setting(name, known)}"
                )


def _identity(settings: Settings) -> str:
    """Return a text that is equal for two runs that would come out the same."""
    values = {
        f"{section}.{f.name}": getattr(part, f.name)
        for section, part in settings.sections().items()
        for f in fields(part)
        if f"{section}.{f.name}" not in NOT_THE_RESULT
    }
    return json.dumps(values, sort_keys=True)
