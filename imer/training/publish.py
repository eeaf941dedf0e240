"""What training leaves of a fold: the selected weights of its model, or of all members of its ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imer._version import __version__
from imer.batches.corpus import Corpus
from imer.batches.dialogues import Dialogues
from imer.batches.scaling import Scaler
from imer.batches.splits import Split
from imer.core.files import write_json
from imer.core.folders import published_folder
from imer.metrics.compute import constant_answer, mean_metrics
from imer.models.base import ModelSpec
from imer.models.ensemble import member_key
from imer.training.checkpoint import WEIGHTS, save_tensors
from imer.training.progress import Progress
from imer.training.selection import mean_value, selecting_metric, selection
from imer.training.settings import Settings

CHECKPOINT_FORMAT = "imer-checkpoint/1"


@dataclass(frozen=True)
class TrainedMember:
    """One model of a fold whose training has ended: what it learnt from, and how it went."""

    split: Split
    progress: Progress


def learnt_rows(splits: Sequence[Split]) -> np.ndarray:
    """Return the corpus rows that any of a fold's members learns from, sorted."""
    return reduce(np.union1d, [split.train for split in splits])


def publish_fold(
    folder: Path, corpus: Corpus, spec: ModelSpec, scaler: Scaler, members: Sequence[TrainedMember], settings: Settings
) -> None:
    """Publish a trained fold as a checkpoint folder.

    Its training utterances are those that any member learnt from; its validation utterances those that none did.
    """
    ids = corpus.utterance_ids
    metric = selecting_metric(spec.task, settings.train.select, corpus.target_N)
    splits = [member.split for member in members]
    train = learnt_rows(splits)
    val = np.setdiff1d(reduce(np.union1d, [split.val for split in splits]), train)
    values = {
        "format": CHECKPOINT_FORMAT,
        "imer_version": __version__,
        "fold": splits[0].name,
        "spec": asdict(spec),
        "settings": {section: asdict(part) for section, part in settings.sections().items()},
        "label": corpus.label,
        "constant_answer": constant_answer(corpus.target_N[train]),
        "longest_dialogue": int(Dialogues.of(corpus, train).as_read(settings.train.pad_to).lengths.max()),
        "class_names": list(corpus.class_names),
        "feature_names": corpus.feature_names,
        "fingerprints": corpus.fingerprints,
        "specs": {name: spec.kept() for name, spec in corpus.specs.items()},
        "selected": _selected(members, metric, settings.train.select),
        "val": mean_metrics([member.progress.best.metrics for member in members], spec.task),
        "branches": [
            {name: {"epoch": kept.epoch, "val": kept.metrics} for name, kept in member.progress.branch_best.items()}
            for member in members
        ],
        "train_ids": ids[train].tolist(),
        "val_ids": ids[val].tolist(),
        "test_ids": ids[splits[0].test].tolist(),
    }
    with published_folder(folder, overwrite=True) as part:
        save_tensors(part / WEIGHTS, _state(members))
        save_tensors(part / "scaler.safetensors", _scaling(scaler))
        write_json(part / "checkpoint.json", values)


def _selected(members: Sequence[TrainedMember], metric: str, select: str) -> dict[str, Any]:
    """Return how the weights were chosen; of several members all `epochs`, the latest of them as `epoch`, the mean value."""
    each = [selection(m.progress.best.epoch, m.progress.best.metrics, metric, select) for m in members]
    if len(each) == 1:
        return each[0]
    epochs = [one["epoch"] for one in each]
    return {**each[0], "epoch": max(epochs), "value": mean_value(each), "epochs": epochs}


def _state(members: Sequence[TrainedMember]) -> dict[str, Tensor]:
    if len(members) == 1:
        return members[0].progress.best.tensors
    return {
        member_key(number, name): tensor
        for number, member in enumerate(members)
        for name, tensor in member.progress.best.tensors.items()
    }


def _scaling(scaler: Scaler) -> dict[str, Tensor]:
    kinds = {"centre": scaler.centre, "spread": scaler.spread}
    return {f"{kind}.{name}": torch.from_numpy(v) for kind, values in kinds.items() for name, v in values.items()}
