"""How the settings of a training run come together: defaults, preset, file, environment, flags, `--set`; later over earlier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput, UsageError, did_you_mean, listed
from imer.core.registry import answering
from imer.core.registry import resolve as resolve_name
from imer.core.settings import Layer, Schema, assignments_layer, environment_layer, resolve, toml_layer
from imer.training.settings import OF_DESCENT, DataSettings, RunChoice, Settings, TrainSettings


def preset_names() -> list[str]:
    """Return the names of the shipped presets."""
    return sorted(
        f.name.removesuffix(".toml") for f in resources.files("imer.presets").iterdir() if f.name.endswith(".toml")
    )


def preset_layer(name: str) -> Layer:
    """Read a shipped preset.

    Raises
    ------
    UsageError
        No preset has that name.
    """
    if name not in preset_names():
        raise UsageError(f"There is no preset {name!r}; {did_you_mean(name, preset_names())}")
    with resources.as_file(resources.files("imer.presets") / f"{name}.toml") as path:
        return toml_layer(path, source=f"the preset {name}")


def settings_schema(model: str, head: str) -> Schema:
    """Return the schema of a run of this model and head."""
    return {
        "run": RunChoice,
        "data": DataSettings,
        "train": TrainSettings,
        "model": _settings_of("models", model),
        "head": _settings_of("heads", head),
    }


def _settings_of(kind: str, name: str) -> type:
    found = resolve_name(kind, name)
    with answering(kind, name):
        found.Settings()  # every one has a default
        return found.Settings


def load_settings(
    *,
    preset: str | None = None,
    config: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    assignments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Put the settings of a run together: defaults < preset < config < environment < flags < assignments.

    Raises
    ------
    UsageError
        An unknown preset, section, key or name, a value of the wrong type, a config file that is missing or not TOML, or one of
        another preset's run, which leaves nothing of this one.
    """
    files = [] if config is None else [_config_layer(config)]
    given = Layer("the command line", {k: v for k, v in (flags or {}).items() if v})
    choice_schema: Schema = {"run": RunChoice}
    # First only what is trained: it decides which settings there are.
    chosen = [
        *(_section(layer, "run") for layer in files),
        environment_layer(choice_schema, environment),
        _section(given, "run"),
        _assigned_choices(assignments),
    ]
    name = preset or resolve(choice_schema, chosen)["run"].preset
    shipped = preset_layer(name)
    _check_preset(shipped, name, files)
    layers = [shipped, Layer("--preset", {"run": {"preset": name}}), _protocol_of_rate(given), *files]
    choice = resolve(choice_schema, [*(_section(layer, "run") for layer in layers), *chosen])["run"]
    schema = settings_schema(choice.model, choice.head)
    layers.append(environment_layer(schema, environment))
    layers.append(given)
    layers.append(assignments_layer(schema, assignments))
    if preset:
        layers.append(Layer("--preset", {"run": {"preset": preset}}))
    settings = Settings(**resolve(schema, layers))
    return replace(settings, train=replace(settings.train, members=_members(settings)))


def _check_preset(preset: Layer, name: str, files: Sequence[Layer]) -> None:
    """Refuse a file of another preset that overrules this one: the run would bear the name of what it is not."""
    for file in files:
        its = dict(file.values.get("run", {})).get("preset", name)
        overruled = [
            f"{section}.{key}"
            for section, values in preset.values.items()
            for key, value in values.items()
            if dict(file.values.get(section, {})).get(key, value) != value
        ]
        if its != name and overruled:
            raise UsageError(
                f"{file.source} holds the settings of the preset {its!r}, which overrule what the preset {name!r} says of "
                f"{listed(overruled, 3)}; give the preset or the file."
            )


def useless_settings(
    settings: Settings, flags: Mapping[str, Mapping[str, Any]], assignments: Sequence[str]
) -> list[str]:
    """Return the settings of `train` that a command line names though the chosen model has no use for them, sorted."""
    if not is_fitted(settings.run.model):
        return []
    assigned = assignments_layer(settings_schema(settings.run.model, settings.run.head), assignments).values
    named = {*flags.get("train", {}), *assigned.get("train", {})}
    return sorted(named & OF_DESCENT)


def no_use_for(models: Sequence[str], names: Sequence[str]) -> str:
    """Say that fitted models have no use for these settings of `train`."""
    one = len(models) == 1
    return (
        f"{'the model' if one else 'the models'} {listed(models)} {'is' if one else 'are'} fitted, without epochs and batches, "
        f"so {'it has' if one else 'they have'} no use for {listed([f'train.{name}' for name in names], len(names))}."
    )


def _config_layer(path: Path) -> Layer:
    try:
        return toml_layer(path)
    except InvalidInput as error:  # a mistake of the command line, unlike a run folder's own file that is damaged
        raise UsageError(str(error)) from error


def _protocol_of_rate(given: Layer) -> Layer:
    """Return the protocol that a missing rate on the command line means where nothing else names one."""
    rate = str(given.values.get("train", {}).get("missing_rate") or "")
    protocol = "imbalanced" if "=" in rate else "matched"
    return Layer("--missing-rate", {"train": {"protocol": protocol}} if rate else {})


def _members(settings: Settings) -> int:
    """Return how many models are trained for each fold.

    Raises
    ------
    UsageError
        More than one is asked of a model that is fitted: all its members would be the same.
    """
    model: Any = resolve_name("models", settings.run.model)
    asked = settings.train.members or int(getattr(model, "usual_members", 1))
    if asked > 1 and is_fitted(settings.run.model):
        raise UsageError(
            f"The model {settings.run.model} is fitted, without anything random, so its members would all be the same; leave "
            "train.members at 1."
        )
    return asked


def is_fitted(model: str) -> bool:
    """Say whether a model, by name, is fitted and not trained by descent (see `imer.models.base`)."""
    return hasattr(resolve_name("models", model), "candidates")


def _section(layer: Layer, name: str) -> Layer:
    return Layer(layer.source, {name: layer.values[name]} if name in layer.values else {})


def _assigned_choices(assignments: Sequence[str]) -> Layer:
    return assignments_layer({"run": RunChoice}, [text for text in assignments if text.strip().startswith("run.")])
