"""Settings: frozen dataclasses are the single truth; everything a user writes is layered over their defaults.

    defaults < preset < --config file.toml < IMER_* environment < flags < --set key=value

A *schema* is a mapping section → frozen dataclass, flat: numbers, strings, booleans and tuples of these, each with a
default. A *layer* is a mapping section → key → value with where it came from. An unknown section or key is an error
that names the nearest valid one, and a value of the wrong type says what was expected; both name the source.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from imer.core.errors import InvalidInput, UsageError, did_you_mean

Schema = Mapping[str, type]
Values = dict[str, dict[str, Any]]

ENVIRONMENT_PREFIX = "IMER_"


@dataclass(frozen=True)
class Layer:
    """Values by section and key, and where they came from (for messages)."""

    source: str
    values: Mapping[str, Mapping[str, Any]]


def resolve(schema: Schema, layers: Iterable[Layer]) -> dict[str, Any]:
    """Lay the layers over the defaults, later ones winning; return section → instance of its dataclass.

    Raises
    ------
    UsageError
        An unknown section or key, or a value of the wrong type.
    """
    merged: Values = {section: {} for section in schema}
    for layer in layers:
        for section, values in layer.values.items():
            if section not in schema:
                raise UsageError(f"{layer.source}: there is no section {section!r}; {did_you_mean(section, schema)}")
            if not isinstance(values, Mapping):
                raise UsageError(
                    f"{layer.source}: {section!r} is a section, not a value; write [{section}] above its keys."
                )
            types_by_key = _types(schema[section])
            for key, value in values.items():
                if key not in types_by_key:
                    raise UsageError(
                        f"{layer.source}: there is no setting {section}.{key}; {did_you_mean(key, types_by_key)}"
                    )
                merged[section][key] = checked(value, types_by_key[key], f"{section}.{key}", layer.source)
    return {section: kind(**merged[section]) for section, kind in schema.items()}


def flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return settings by `section.key`.

    >>> flat({"train": {"seed": 1}})
    {'train.seed': 1}
    """
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def _types(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def checked(value: Any, kind: Any, name: str, source: str) -> Any:
    """Return `value` as `kind` (int → float and list → tuple are the only changes), or raise UsageError."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = get_args(kind)
        if value is None and type(None) in options:
            return None
        inner = [option for option in options if option is not type(None)]
        return checked(value, inner[0], name, source)
    if origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(checked(item, get_args(kind)[0], name, source) for item in value)
        raise UsageError(f'{source}: {name} is a list such as ["a", "b"], but {value!r} was given.')
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < sys.float_info.max else math.inf
    if kind is float and isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{source}: {name} is a finite number, but {value!r} was given.")
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, str(kind))
    raise UsageError(f"{source}: {name} is {expected}, but {value!r} was given.")


def from_text(text: str, kind: Any, name: str, source: str) -> Any:
    """Read a value that was typed on a command line or set in the environment, as the type of its setting."""
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if text.lower() in ("none", ""):
            return None
        return from_text(text, next(o for o in options if o is not type(None)), name, source)
    if origin is tuple:
        parts = [part.strip() for part in text.strip("[]").split(",") if part.strip()]
        return tuple(from_text(part.strip("\"'"), options[0], name, source) for part in parts)
    if kind is bool and text.lower() in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        return text.lower() in ("true", "1", "yes", "on")
    if kind in (int, float):
        try:
            return checked(kind(text), kind, name, source)
        except ValueError:
            pass
    return checked(text, kind, name, source)


def toml_layer(path: Path, *, source: str | None = None) -> Layer:
    """Read a TOML file of settings.

    Raises
    ------
    InvalidInput
        The file is missing or is not TOML.
    """
    try:
        # Windows' editors begin a text with a byte order mark.
        return Layer(source or str(path), tomllib.loads(Path(path).read_bytes().decode("utf-8-sig")))
    except FileNotFoundError as error:
        raise InvalidInput(f"The settings file {path} does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:  # tomllib's own, no UTF-8, a number of thousands of digits
        raise InvalidInput(f"The settings file {path} is not readable TOML: {error}.") from error


def environment_layer(schema: Schema, environment: Mapping[str, str] | None = None) -> Layer:
    """Collect `IMER_<SECTION>_<KEY>` variables. Others that begin with IMER_ are left alone: see `stray_variables`.

    Raises
    ------
    UsageError
        A variable of a section names no setting of it, or its value is none that the setting can have.
    """
    environment = os.environ if environment is None else environment
    values: Values = {}
    for section, kind in schema.items():
        prefix = f"{ENVIRONMENT_PREFIX}{section.upper()}_"
        types_by_key = _types(kind)
        for variable in sorted(v for v in environment if v.startswith(prefix)):
            key = variable.removeprefix(prefix).lower()
            if key not in types_by_key:
                raise UsageError(
                    f"The environment variable {variable} names no setting of {section}; {did_you_mean(key, types_by_key)}"
                )
            value = from_text(environment[variable], types_by_key[key], f"{section}.{key}", variable)
            values.setdefault(section, {})[key] = value
    return Layer("the environment", values)


def stray_variables(sections: Iterable[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Say which variables look like settings, but of no section that there is."""
    environment = os.environ if environment is None else environment
    known = tuple(f"{ENVIRONMENT_PREFIX}{section.upper()}_" for section in sections)
    return [
        f"the environment variable {name} is no setting; those are called {ENVIRONMENT_PREFIX}<SECTION>_<KEY>, such as "
        f"{ENVIRONMENT_PREFIX}TRAIN_SEED."
        for name in sorted(environment)
        if name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(known)
    ]


def assignments_layer(schema: Schema, assignments: Sequence[str]) -> Layer:
    """Read `--set section.key=value`; the section may be left out where only one has the key.

    Raises
    ------
    UsageError
        An assignment has no `=`, names no setting or more than one, or its value is none that the setting can have.
    """
    values: Values = {}
    every = flat({section: _types(kind) for section, kind in schema.items()})
    for text in assignments:
        source = f"--set {text}"
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"{source}: write --set key=value.")
        matches = settings_called(name, every)
        if not matches:
            raise UsageError(f"{source}: there is no setting {name!r}; {nearest_setting(name, every)}")
        if len(matches) > 1:
            raise UsageError(f"{source}: {name!r} could be {' or '.join(matches)}; write the section too.")
        section, key = matches[0].split(".", 1)
        values.setdefault(section, {})[key] = from_text(value.strip(), every[matches[0]], matches[0], source)
    return Layer("--set", values)


def settings_called(name: str, every: Iterable[str]) -> list[str]:
    """Return which of the settings `section.key` a name means, with or without its section."""
    return [full for full in every if name in (full, full.partition(".")[2])]


def nearest_setting(name: str, every: Iterable[str]) -> str:
    """Name the setting nearest to one that there is not, with its section if that was given."""
    return did_you_mean(name, every if "." in name else {full.partition(".")[2] for full in every})


def to_toml(sections: Mapping[str, Any]) -> str:
    """Write resolved settings as TOML; `toml_layer` reads them back to equal values. None is left out."""
    blocks = []
    for section, settings in sections.items():
        lines = [f"[{section}]"]
        for field in fields(settings):
            value = getattr(settings, field.name)
            if value is not None:
                lines.append(f"{field.name} = {_toml_value(value)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")  # JSON's escapes are TOML's
    return "[" + ", ".join(_toml_value(item) for item in value) + "]"
