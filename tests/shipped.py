"""Small trained runs for the tests of export and prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imer.batches.corpus import Corpus
from imer.store.reader import FeatureStore
from imer.training.train import train
from imer.training.trained_fold import TrainedFold
from tests.stores import write_small_store

SMALL = (
    "model.hidden=16",
    "model.heads=2",
    "train.threads=1",
    "train.members=2",
    "train.max_epochs_branches=2",
    "train.max_epochs_joint=2",
)


def train_small(
    folder: Path,
    *,
    label: str,
    modalities: tuple[str, ...] = ("audio", "text", "visual"),
    folds: str = "",
    model: str = "comp",
    settings: tuple[str, ...] = (),
) -> tuple[Path, Path]:
    """Train for a few epochs on a small store; return the run folder and the store."""
    store = write_small_store(folder / "features.h5", modalities=modalities)
    flags = {"run": {"model": model}, "data": {"label": label, "folds": folds}, "train": {"device": "cpu"}}
    small = SMALL if model == "comp" else [text for text in SMALL if text.startswith("train.")]
    train(store, folder / "run", flags=flags, assignments=[*small, *settings])
    return folder / "run", store


def read_corpus(fold: TrainedFold, path: Path) -> Corpus:
    """Read a store as a trained model sees it."""
    with FeatureStore.open(path) as store:
        return Corpus.from_store(store, list(fold.modalities), fold.label)


def padded(corpus: Corpus, observed_NM: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return raw features [B, U, D] in order, observed [B, U, M], valid [B, U], made without imer; and rows [B, U].

    Slots that are not observed hold NaN, padding holds 1e9: what an exported model must not look at.
    """
    names = sorted(set(corpus.dialogue_ids.tolist()))
    members = [np.flatnonzero(corpus.dialogue_ids == name) for name in names]
    members = [rows[np.argsort(corpus.positions[rows])] for rows in members]
    row_BU = np.full((len(members), max(map(len, members)) + 2), -1)
    for b, rows in enumerate(members):
        row_BU[b, : len(rows)] = rows
    valid_BU = row_BU >= 0
    observed_BUM = observed_NM[row_BU] & valid_BU[..., None]
    features = []
    for u, values_ND in enumerate(corpus.features.values()):
        x_BUD = values_ND[row_BU].copy()
        x_BUD[~observed_BUM[..., u]] = np.nan
        x_BUD[~valid_BU] = 1e9
        features.append(x_BUD)
    return [*features, observed_BUM, valid_BU], row_BU
