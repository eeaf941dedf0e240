"""The models of a run trained at the same time, each in a process of its own with one thread.

A model of a fold needs nothing from the others, so processes are all it takes. Every one leaves its last state where the
run itself would have saved it; the run then finds all its models trained, and publishes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from imer.batches.splits import Split
from imer.core.pool import Pool, error_of
from imer.training.data import read_corpus
from imer.training.fold import Fold
from imer.training.listener import Listener
from imer.training.masks import Masks
from imer.training.repeatable import repeatable
from imer.training.settings import Settings


@dataclass(frozen=True)
class MemberJob:
    """One model to train, in a worker process. `name`: the folder of its states.

    splits   how its fold is divided for each member: to divide all folds anew for each of their models would take a time
             that grows with the square of their number
    """

    settings: Settings
    device: str
    run: Path
    splits: Sequence[Split]
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
            fold = Fold(corpus, self.splits, Masks(corpus, self.settings.train), self.settings, device, self.run)
            fold.train(self.member, fold.shared(), Listener(warn=warn))


def train_side_by_side(folds: Sequence[Fold], jobs: int, listener: Listener) -> None:
    """Train all models of these folds, `jobs` at a time; each ends as a finished state in its folder.

    Raises
    ------
    ImerError
        What one of them met. The others that were at work are stopped; what is trained stays.
    """
    todo = [
        MemberJob(fold.settings, str(fold.device), fold.run, fold.splits, number, str(fold.states(number)))
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
