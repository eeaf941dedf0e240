"""The files that a settings file means: it may name them from where it was written, or be that of another run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imer.core.errors import InvalidInput
from imer.core.files import sha256_file
from imer.core.settings import toml_layer
from imer.store.reader import FeatureStore
from imer.training.origin import ORIGIN_FILE, Origin
from imer.training.settings import Settings


def with_files_of(settings: Settings, config: Path, warn: Callable[[str], None], *, chosen: bool) -> Settings:
    """Return the settings with the feature store and the mask that a settings file means.

    The file of a run means the very files of that run, wherever the command is given; `warn` is told where they have
    changed. With `chosen` the store was named on the command line. What other settings replaced is left alone.

    Raises
    ------
    InvalidInput
        A file is nowhere to be found.
    """
    origin = Origin.read(config.parent) if (config.parent / ORIGIN_FILE).is_file() else Origin("", (), "")
    written = toml_layer(config).values
    if not chosen and settings.data.features and settings.data.features == written.get("data", {}).get("features"):
        path = _found(settings.data.features, origin.features, config, "feature store")
        with FeatureStore.open(path) as store:
            if origin.content_sha256 not in ("", store.content_sha256):
                warn(f"{path} is not the store that {config.parent} was trained on: its content has changed.")
        settings = replace(settings, data=replace(settings.data, features=str(path)))
    if settings.train.mask and settings.train.mask == written.get("train", {}).get("mask"):
        path = _found(settings.train.mask, origin.mask, config, "mask")
        if origin.mask_sha256 not in ("", sha256_file(path)):
            warn(f"{path} is not the mask that {config.parent} was trained under: its content has changed.")
        settings = replace(settings, train=replace(settings.train, mask=str(path)))
    return settings


def _found(named: str, recorded: str, config: Path, what: str) -> Path:
    """Return the file: the one that the run recorded, or the name as it is, or from the settings file."""
    for path in (Path(recorded or named), Path(named), config.parent / named):
        if path.is_file():
            return path
    raise InvalidInput(f"The {what} {named}, which {config} names, does not exist; name one on the command line.")
