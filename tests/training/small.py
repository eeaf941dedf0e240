"""Small, quick training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imer.training.listener import Listener
from imer.training.train import TrainResult, train

QUICK = (
    "model.hidden=16", "model.heads=2", "model.prompt_width=4", "model.n_prototypes=4", "train.max_epochs_branches=3",
    "train.max_epochs_joint=4", "train.batch_utterances=32", "train.threads=1", "train.device=cpu", "train.members=1",
)  # fmt: skip


def quick(store: Path, out: Path, *more: str, listener: Listener | None = None, **options: Any) -> TrainResult:
    """Train a tiny model for a few epochs."""
    return train(store, out, assignments=[*QUICK, *more], listener=listener, **options)
