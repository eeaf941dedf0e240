"""The models of a run trained at the same time, each in a process of its own with one thread.

A model of a fold needs nothing from the others, so processes are all it takes. Every one leaves its last state where the
run itself would have saved it; the run then finds all its models trained, and publishes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from imer.core.pool import Pool, error_of
from imer.training.data import read_corpus
from imer.training.fold import Fold, folds_of
from imer.training.listener import Listener
from imer.training.masks import Masks
from imer.training.repeatable import repeatable
from imer.training.settings import Settings


@dataclass(frozen=True)
class MemberJob:
    """One model to train, in a worker process. `name`: the folder of its states."""

    settings: Settings
    device: str
    run: Path
    fold: str
    member: int
    name: str

    def do(self, warn: Callable[[str], None]) -> None:
        """Train it to its end, from wherever it stands.

        Raises
        ------
        UsageError
            Its loss is no number, or there is nothing to learn.
        """
        device = torch.device(self.device)
        with repeatable(device, threads=1):
            corpus = read_corpus(self.settings.data)  # the parent has said what is to be said
            folds = folds_of(corpus, Masks(corpus, self.settings.train), self.settings, device, self.run)
            fold = next(fold for fold in folds if fold.name == self.fold)
            fold.train(self.member, fold.shared(), Listener(warn=warn))


def train_side_by_side(folds: Sequence[Fold], jobs: int, listener: Listener) -> None:
    """Train all models of these folds, `jobs` at a time; each ends as a finished state in its folder.

    Raises
    ------
    ImerError
        What one of them met. The others that were at work are stopped; what is trained stays.
    """
    todo = [
        MemberJob(fold.settings, str(fold.device), fold.run, fold.name, number, str(fold.states(number)))
        for fold in folds
        for number in range(len(fold.splits))
    ]
    with Pool(jobs) as pool:
        for done, outcome in enumerate(pool.run(todo), start=1):
            for warning in outcome.warnings:
                listener.warn(warning)
            if outcome.failure:
                raise error_of(outcome)
            listener.progress("models", done, len(todo))
