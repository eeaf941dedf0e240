"""Run folders: what a training leaves behind, and how everything later finds it.

config.toml        every setting, resolved
run.json           which data, which folds, which version
log.jsonl          one line per epoch: losses, validation metrics
checkpoint/        the trained model; one folder `fold-<name>` per fold where there are folds
predictions.jsonl  one line per test utterance
metrics.json       a run folder with it is finished
manifest.json      written last, size and sha256 of the other files and of the checkpoints' own manifests: a figure that was
                   changed is noticed, and so is a model of another training
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput
from imer.core.files import read_json
from imer.core.folders import FOLDER_MANIFEST, verify_folder, write_manifest
from imer.core.settings import toml_layer
from imer.training.history import LOG_FILE
from imer.training.origin import ORIGIN_FILE, Origin
from imer.training.trained_fold import TrainedFold, load_fold

# What the manifest of a run covers beside the checkpoints.
COVERED = (ORIGIN_FILE, "config.toml", LOG_FILE, "metrics.json", "predictions.jsonl")


@dataclass(frozen=True)
class RunFolder:
    """A finished run."""

    path: Path
    settings: dict[str, dict[str, Any]]
    folds: tuple[TrainedFold, ...]

    @classmethod
    def open(cls, path: Path, device: str = "cpu") -> RunFolder:
        """Read a run folder and all its folds.

        Raises
        ------
        InvalidInput
            It is no run folder, is damaged, its training is not finished, or a checkpoint in it is of another one.
        """
        path = Path(path)
        if not (path / "config.toml").is_file() or not (path / ORIGIN_FILE).is_file():
            raise InvalidInput(f"{path} is not a run folder of `imer train` (it has no config.toml or run.json).")
        names = Origin.read(path).folds
        lacking = [name for name in names if not is_published(path, name)]
        if lacking:
            which = f" ({len(lacking)} of {len(names)} folds are missing)" if len(names) > 1 else ""
            raise InvalidInput(f"{path} is not finished{which}; continue it with `imer train … -o {path} --resume`.")
        _verify_texts(path, ORIGIN_FILE, "config.toml", *_manifests(path, names))
        settings = {section: dict(values) for section, values in toml_layer(path / "config.toml").values.items()}
        return cls(path, settings, tuple(load_fold(fold_folder(path, name), device) for name in names))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return read_metrics(self.path)


def read_metrics(run: Path) -> dict[str, Any]:
    """Return what the `metrics.json` of a run holds.

    Raises
    ------
    InvalidInput
        It is missing, or is not what the training wrote.
    """
    _verify_texts(run, "metrics.json")
    metrics: dict[str, Any] = read_json(run / "metrics.json")
    return metrics


def publish_digests(run: Path, folds: Iterable[str]) -> None:
    """Write the manifest of a run with these folds, which ends its training."""
    texts = [name for name in COVERED if (run / name).is_file()]
    write_manifest(run, [*texts, *_manifests(run, folds)])


def _manifests(run: Path, folds: Iterable[str]) -> list[str]:
    return [(fold_folder(run, name) / FOLDER_MANIFEST).relative_to(run).as_posix() for name in folds]


def _verify_texts(run: Path, *names: str) -> None:
    if (run / FOLDER_MANIFEST).is_file():  # older runs have none
        verify_folder(run, names)


def fold_folder(run: Path, name: str) -> Path:
    """Return where the checkpoint of a fold lies."""
    return run / "checkpoint" / f"fold-{safe_name(name)}" if name else run / "checkpoint"


def is_published(run: Path, fold: str) -> bool:
    """Say whether a fold is trained and whole: its manifest is written last."""
    return (fold_folder(run, fold) / FOLDER_MANIFEST).is_file()


def safe_name(name: str) -> str:
    """Return a fold's name as a file name.

    >>> safe_name("Ses 01/F")
    'Ses_01_F'
    """
    return re.sub(r"[^\w.-]", "_", name)
