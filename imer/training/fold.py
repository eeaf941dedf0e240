"""One fold of a run: its model, or every member of its ensemble, trained from wherever it stands; then published.

<run>/state/<fold>/                  saved states of a single model, until its fold is published
<run>/state/<fold>/member-<number>/  those of a member
<run>/checkpoint/…                   the published fold: it is never trained again
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imer.batches.corpus import Corpus
from imer.batches.splits import Split
from imer.core.files import write_text
from imer.core.folders import remove_folder
from imer.core.json_lines import as_json_lines
from imer.metrics.leading import in_order
from imer.training.checkpoint import load_newest_state, save_state
from imer.training.data import divide
from imer.training.fold_data import SharedData
from imer.training.history import LOG_FILE, read_log
from imer.training.listener import Listener
from imer.training.loop import FoldTrainer
from imer.training.masks import Masks
from imer.training.publish import TrainedMember, learnt_rows, publish_fold
from imer.training.run_folder import fold_folder, is_published, safe_name
from imer.training.selection import TEST_BEST
from imer.training.settings import Settings


@dataclass(frozen=True, eq=False)
class Fold:
    """What a fold's models learn from: `splits` has one division for each, with the same test part."""

    corpus: Corpus
    splits: Sequence[Split]
    masks: Masks
    settings: Settings
    device: torch.device
    run: Path

    @property
    def name(self) -> str:
        return self.splits[0].name

    @property
    def is_published(self) -> bool:
        return is_published(self.run, self.name)

    def shared(self) -> SharedData:
        """Make what its models have in common."""
        return SharedData.of(self.corpus, learnt_rows(self.splits), self.name, self.masks, self.settings, self.device)

    def states(self, member: int | None = None) -> Path:
        """Return where the fold, or one of its members, is saved while it trains."""
        folder = self.run / "state" / (f"fold-{safe_name(self.name)}" if self.name else "single")
        return folder if member is None or len(self.splits) == 1 else folder / f"member-{member}"

    def train(self, member: int, shared: SharedData, listener: Listener, title: str = "") -> TrainedMember:
        """Train one model to its end, from its newest saved state, and save it."""
        if len(self.splits) > 1:
            title = f"{title}member {member + 1}/{len(self.splits)}: "
        split, states = self.splits[member], self.states(member)
        trainer = FoldTrainer(self.corpus, split, self.settings, self.masks, self.device, member=member, shared=shared)
        resumed = load_newest_state(states, trainer, listener.warn)
        finished = resumed and trainer.progress.finished
        if resumed and not finished:
            listener.note(f"{title}continuing after epoch {trainer.progress.epoch} of stage {trainer.stage}.")
        saved_s = time.monotonic()

        def after_epoch(trainer: FoldTrainer) -> None:
            nonlocal saved_s
            listener.progress(
                f"{title}stage {trainer.stage}", trainer.progress.epoch, trainer.max_epochs(trainer.stage)
            )
            if time.monotonic() - saved_s >= self.settings.train.checkpoint_every_s:
                save_state(states, trainer)
                saved_s = time.monotonic()

        trainer.run(after_epoch)
        best = trainer.progress.best
        names = in_order(shared.spec.task, shared.spec.target_range)
        values = ", ".join(f"{name} {value:.4f}" for name in names if (value := best.metrics.get(name)) is not None)
        judged = "the test part" if self.settings.train.select == TEST_BEST else "validation"
        listener.note(f"{title}selected epoch {best.epoch} on {judged}: {values}.")
        if not finished:
            save_state(states, trainer)  # an interrupted fold goes on with the next member
        return TrainedMember(split, trainer.progress)

    def finish(self, listener: Listener, title: str = "") -> None:
        """Train what is not trained yet, one model after the other, and publish the fold."""
        shared = self.shared()
        trained = [self.train(member, shared, listener, title) for member in range(len(self.splits))]
        # The log first: a fold with a checkpoint is never trained again.
        self._write_log(trained)
        folder = fold_folder(self.run, self.name)
        publish_fold(folder, self.corpus, shared.spec, shared.scaler, trained, self.settings)
        remove_folder(self.states())

    def _write_log(self, trained: Sequence[TrainedMember]) -> None:
        """Write the log of all finished folds and this one, in the order they were trained."""
        kept = [record for record in read_log(self.run) if record.get("fold") != self.name]
        write_text(self.run / LOG_FILE, as_json_lines([*kept, *_records(trained)]))


def folds_of(
    corpus: Corpus,
    masks: Masks,
    settings: Settings,
    device: torch.device,
    run: Path,
    warn: Callable[[str], None] = lambda message: None,
) -> list[Fold]:
    """Return the folds of a run (the official split is a single one without a name), with all their members' divisions.

    Raises
    ------
    UsageError, InvalidInput
        See `imer.batches.splits`.
    """
    for warning in masks.warnings:
        warn(warning)
    members = [
        divide(corpus, settings, warn if number == 0 else lambda message: None, member=number)
        for number in range(settings.train.members)
    ]
    return [Fold(corpus, splits, masks, settings, device, run) for splits in zip(*members, strict=True)]


def _records(trained: Sequence[TrainedMember]) -> list[dict[str, Any]]:
    """Return the log of a fold; where it has several members, every record says whose it is."""
    if len(trained) == 1:
        return trained[0].progress.log
    return [{"member": number, **record} for number, member in enumerate(trained) for record in member.progress.log]
