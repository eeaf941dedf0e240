"""What `imer ls` lists, gathered from the parts that own the names. Nothing listed is imported, but for the settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

SCHEMA_FILE = "output.schema.json"  # beside this file: what every command prints with --json
Rows = list[dict[str, str]]


def _registered(kind: str) -> Rows:
    from imer.core.registry import DEFAULT_EXTRACTORS, entries

    defaults = set(DEFAULT_EXTRACTORS.values())
    rows = []
    for name, entry in entries(kind).items():
        row = {"name": name, "what it is": entry.description}
        if kind == "extractors":
            # A plug-in says its modality when it is used, not before: listing imports nothing.
            row = {"name": name, "modality": entry.modality or "–", "default": "yes" if name in defaults else ""}
            row |= {"what it is": entry.description, "licence": entry.licence or "–"}
        rows.append(row)
    return rows


def _protocols() -> Rows:
    from imer.masks.make import PROTOCOLS
    from imer.training.masks import PROTOCOLS as IN_TRAINING

    return [
        {"name": name, "used by": commands(name), "what it does": text}
        for protocols, commands in ((PROTOCOLS, _masking), (IN_TRAINING, lambda _: "train, sweep"))
        for name, text in protocols.items()
    ]


def _masking(protocol: str) -> str:
    """Say which commands draw masks by a protocol: `eval` by option, or from a file of `mask`."""
    from imer.evaluation.conditions import RATE_PROTOCOLS

    option = {"pattern": "--pattern", "imbalanced": "--missing-rate audio=0.2,…"}.get(protocol)
    if protocol in RATE_PROTOCOLS:
        return "mask, eval"
    return f"mask, eval {option}" if option else "mask, eval --mask"


def _schemas() -> Rows:
    file = Path(__file__).with_name(SCHEMA_FILE)
    names = json.loads(file.read_text(encoding="utf-8"))["properties"]["schema"]["enum"]
    return [{"name": name, "JSON Schema": str(file)} for name in names]


def _metrics() -> Rows:
    from imer.metrics.compute import LOWER_IS_BETTER
    from imer.metrics.definitions import DEFINITIONS

    return [
        {"name": key, "better": "lower" if key in LOWER_IS_BETTER else "higher", "definition": text}
        for key, text in DEFINITIONS.items()
    ]


def _presets() -> Rows:
    """Every shipped preset with the comment that its file starts with."""
    rows = []
    for file in sorted(resources.files("imer.presets").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            lines = file.read_text(encoding="utf-8").splitlines()
            comment = [
                line.lstrip("# ") for line in lines[: next(i for i, x in enumerate(lines) if not x.startswith("#"))]
            ]
            rows.append({"name": file.name.removesuffix(".toml"), "what it is": " ".join(comment)})
    return rows


def _settings() -> Rows:
    """Every setting of a training, by section; those of models and heads with the names of which they are."""
    from imer.core.registry import entries, resolve
    from imer.training.settings import DataSettings, RunChoice, TrainSettings

    owners: dict[tuple[str, type], list[str]] = {
        ("run", RunChoice): [],
        ("data", DataSettings): [],
        ("train", TrainSettings): [],
    }
    for section, kind in (("model", "models"), ("head", "heads")):
        for name in entries(kind):
            owners.setdefault((section, resolve(kind, name).Settings), []).append(name)
    return [row for (section, kind), names in owners.items() for row in _fields(section, kind, ", ".join(names))]


def _fields(section: str, kind: type, owners: str) -> Rows:
    from dataclasses import fields

    from imer.core.explained import explained
    from imer.core.ranges import OneOf, declared

    allowed, said = declared(kind), explained(kind)
    rows = []
    for field in fields(kind):
        rule = allowed.get(field.name)
        rows.append(
            {
                "name": f"{section}.{field.name}",
                "of": owners or "all",
                "default": json.dumps(field.default, ensure_ascii=False),
                "values": ", ".join(rule) if isinstance(rule, OneOf) else rule.words if rule else "",
                "what it is": said[field.name],
            }
        )
    return rows


_CATALOGUES: dict[str, Callable[[], Rows]] = {
    "extractors": lambda: _registered("extractors"),
    "models": lambda: _registered("models"),
    "heads": lambda: _registered("heads"),
    "protocols": _protocols,
    "metrics": _metrics,
    "presets": _presets,
    "settings": _settings,
    "schemas": _schemas,
}
KINDS = tuple(_CATALOGUES)


def catalogue(kind: str) -> Rows:
    """Return one row per name of this kind."""
    return _CATALOGUES[kind]()
