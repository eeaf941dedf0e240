"""Real runs, trained in a few seconds, for the tests of evaluation and reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.training.train import train
from tests.stores import write_small_store

SHORT = [
    "train.max_epochs_branches=3", "train.max_epochs_joint=5", "train.threads=1", "train.members=1", "model.hidden=32",
]  # fmt: skip


def train_tiny(store: Path, out: Path, label: str = "emotion", folds: str = "", *assignments: str) -> Path:
    """Train a small ComP for a few epochs."""
    flags = {"data": {"label": label, "folds": folds}}
    train(store, out, flags=flags, assignments=[*SHORT, *assignments])
    return out


def tiny_setting(factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a store, and train on it a classifier on its split and a regressor on three folds."""
    folder = factory.mktemp("runs")
    store = write_small_store(folder / "features.h5")
    return {
        "store": store,
        "classes": train_tiny(store, folder / "classes"),
        "values": train_tiny(store, folder / "values", "sentiment", "3"),
    }
