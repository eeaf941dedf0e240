"""What training and inference of small dialogue models cost: ComP beside its faithful preset.

    python benchmarks/training_speed.py STORE [--label sentiment] [--folds COLUMN] [--hidden 256] [--batch 32] [--epochs 5]
                                        [--threads 1] [--json FILE]

One run measures all in turn, so that a busy machine slows them alike: CPU seconds of an epoch of the last stage
(training part alone, then with its validation), CPU seconds to answer every utterance of the store, and utterances
per CPU second. `comp-official` is padded to the longest dialogue of the store and pays for all its losses, as the
public code does; it is measured with PyTorch's dropout, which is also that code's (a random number an element), and with
ours. `comp` has the same width and batch, and is measured a second time with its products in bfloat16.
Ratios are to `comp-official` as published.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch.nn import functional

from imer.batches.corpus import Corpus
from imer.batches.dialogues import Dialogues
from imer.batches.splits import fold_splits, official_split
from imer.models.dropout import Dropout
from imer.models.products import reduced_products
from imer.store.reader import FeatureStore
from imer.training.inference import answer
from imer.training.loop import FoldTrainer
from imer.training.masks import Masks
from imer.training.settings_layers import load_settings

DEVICE = torch.device("cpu")
LEAST_S = 2.0  # CPU seconds of answering that are measured


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one model, and an epoch's of the clock on the wall; utterances answered per CPU second."""

    name: str
    parameters: int
    epoch_wall_s: float
    epoch_s: float
    validation_s: float
    answered_per_s: float


def measured(
    name: str, store: str, choice: argparse.Namespace, assignments: list[str], *, reduced: bool = False
) -> Cost:
    """Train the last stage for some epochs and answer the whole store, with products in bfloat16 if `reduced`."""
    preset = name.partition(",")[0]
    assignments = [*assignments, "train.precision=bfloat16"] if reduced else assignments
    data = {"features": store, "label": choice.label, "folds": choice.folds}
    settings = load_settings(preset=preset, flags={"data": data}, assignments=assignments)
    with FeatureStore.open(Path(store)) as features:
        corpus = Corpus.from_store(features, label=choice.label or None)
    split = fold_splits(corpus, choice.folds, seed=0)[0] if choice.folds else official_split(corpus, seed=0)
    masks = Masks(corpus, settings.train)
    trainer = FoldTrainer(corpus, split, settings, masks, DEVICE)
    last = trainer.model.stages[-1]
    marks: list[tuple[float, float]] = []
    trainer.run(lambda now: marks.append((time.perf_counter(), time.process_time())) if now.stage == last else None)
    epoch_wall_s, epoch_s = np.median(np.diff(marks, axis=0), axis=0).tolist()
    start_wall, start = time.perf_counter(), time.process_time()
    trainer.validation_metrics(last)
    validation_wall_s, validation_s = time.perf_counter() - start_wall, time.process_time() - start
    rows = np.arange(corpus.n)
    tables = Dialogues.of(corpus, rows).batches(1, dialogues=choice.batch, pad_to=settings.train.pad_to)
    observed = masks.natural(rows).observed_NM
    start, answered = time.process_time(), 0
    with reduced_products(reduced):
        while (spent := time.process_time() - start) < LEAST_S:
            answer(trainer.model, trainer.spec, trainer.data.resident, tables, observed)
            answered += corpus.n
    size = sum(p.numel() for p in trainer.model.parameters())
    title = f"{name}, bfloat16" if reduced else name
    return Cost(title, size, epoch_wall_s - validation_wall_s, epoch_s - validation_s, validation_s, answered / spent)


def pytorch_dropout(layer: Dropout, x: torch.Tensor) -> torch.Tensor:
    """Stand in for `Dropout.forward`: a random number for every element."""
    return functional.dropout(x, layer.probability, layer.training)


def main() -> int:
    """Measure, print a table, and write the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--label", default="")
    parser.add_argument("--folds", default="")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32, help="dialogues in a batch")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    choice = parser.parse_args()
    torch.set_num_threads(choice.threads)
    with FeatureStore.open(Path(choice.store)) as features:
        _, counts = np.unique(features.dialogue_ids, return_counts=True)
    longest = int(counts.max())
    schedule = [
        "train.max_epochs_branches=1", f"train.max_epochs_joint={choice.epochs + 1}",
        f"train.patience={choice.epochs + 1}", f"train.batch_dialogues={choice.batch}", f"model.hidden={choice.hidden}",
    ]  # fmt: skip
    padded = [f"train.pad_to={longest}", f"model.longest_dialogue={longest}", "train.select=val"]
    with patch.object(Dropout, "forward", pytorch_dropout):
        as_published = measured("comp-official, its dropout", choice.store, choice, [*schedule, *padded])
    costs = [
        as_published,
        measured("comp-official", choice.store, choice, [*schedule, *padded]),
        measured("comp", choice.store, choice, schedule),
        measured("comp", choice.store, choice, schedule, reduced=True),
    ]
    faithful = costs[0]
    print(
        f"{'':28}{'parameters':>12}{'epoch, s':>10}{'CPU s':>8}{'ratio':>7}"
        f"{'validation, s':>15}{'answers / CPU s':>17}{'ratio':>7}"
    )
    for cost in costs:
        print(
            f"{cost.name:28}{cost.parameters:12,}{cost.epoch_wall_s:10.3f}{cost.epoch_s:8.3f}"
            f"{faithful.epoch_s / cost.epoch_s:7.1f}{cost.validation_s:15.3f}{cost.answered_per_s:17,.0f}"
            f"{cost.answered_per_s / faithful.answered_per_s:7.1f}"
        )
    if choice.json:
        choice.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
