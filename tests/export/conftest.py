"""Runs that are trained once, and exports that are made once: the conversion takes most of the time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from imer.export.publish import Exported, export
from imer.training.run_folder import RunFolder
from imer.training.trained_fold import TrainedFold
from tests.shipped import train_small


@dataclass(frozen=True)
class Shipped:
    """A trained run, its store, its model, and the exports made of it so far."""

    folder: Path
    run: Path
    store: Path
    fold: TrainedFold

    def export(self, format: str) -> Exported:
        out = self.folder / {"bundle": "bundle", "onnx": "model.onnx", "torch-export": "model.pt2"}[format]
        return export(self.run, out, format, fold=self.fold.name or None)


def _shipped(folder: Path, **how: object) -> Shipped:
    run, store = train_small(folder, **how)
    return Shipped(folder, run, store, RunFolder.open(run).folds[0])


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """Three modalities, three emotions."""
    return _shipped(tmp_path_factory.mktemp("classifier"), label="emotion")


@pytest.fixture(scope="session")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """Two modalities, sentiment, cross-validated; with speaker embeddings, which add an input."""
    return _shipped(
        tmp_path_factory.mktemp("regressor"),
        label="sentiment",
        modalities=("audio", "text"),
        folds="take",
        settings=("model.speaker_embedding=true", "model.blocks=1"),
    )


@pytest.fixture(scope="session")
def bundle(classifier: Shipped) -> Path:
    return classifier.export("bundle").outputs[0]


@pytest.fixture(scope="session")
def classifier_onnx(classifier: Shipped) -> Exported:
    return classifier.export("onnx")


@pytest.fixture(scope="session")
def regressor_onnx(regressor: Shipped) -> Exported:
    return regressor.export("onnx")
