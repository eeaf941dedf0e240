"""Which model of a run answers: the one there is, one of its folds, or the mean of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from imer.batches.corpus import Corpus
from imer.batches.scaling import IGNORED_SPREAD
from imer.core.errors import UsageError, did_you_mean
from imer.export.deployable import Deployable
from imer.export.parity import Arrays, random_cases
from imer.metrics.compute import selection_score
from imer.training.inference import Prediction
from imer.training.selection import is_optimistic
from imer.training.trained_fold import TrainedFold

ALL_FOLDS = "all"


@dataclass(frozen=True)
class MeanOfFolds(TrainedFold):
    """All folds of a run, which answer together with the mean of what they say. Each has its own standardisation."""

    folds: tuple[TrainedFold, ...] = ()

    @classmethod
    def of(cls, folds: Sequence[TrainedFold]) -> MeanOfFolds:
        """Put the folds of one run together; what any of them learnt from, or chose its epoch by, all of them know."""
        shared = {one.name: getattr(folds[0], one.name) for one in fields(TrainedFold)}
        for part in ("train_ids", "val_ids"):
            shared[part] = tuple(dict.fromkeys(name for fold in folds for name in getattr(fold, part)))
        return cls(**{**shared, "name": ALL_FOLDS, "folds": tuple(folds)})

    def predict(self, corpus: Corpus, rows: np.ndarray, observed_NM: np.ndarray) -> Prediction:
        """As one fold does."""
        said = [fold.predict(corpus, rows, observed_NM) for fold in self.folds]
        return replace(
            said[0],
            probabilities_NC=np.mean([one.probabilities_NC for one in said], axis=0),
            weights_NM=np.mean([one.weights_NM for one in said], axis=0),
            branches={m: np.mean([one.branches[m] for one in said], axis=0) for m in said[0].branches},
        )


def choose_fold(folds: Sequence[TrainedFold], name: str | None) -> TrainedFold:
    """Return the fold of this name (or `all`), or else the one that was best on its validation part; the first, where that is
    unknown.

    Raises
    ------
    UsageError
        No fold has that name.
    """
    if name is None:
        if any(is_optimistic(fold.selected) for fold in folds):  # chosen on the test part, as no fold may be
            return folds[0]
        return max(folds, key=lambda fold: selection_score(fold.task, fold.val))
    if name == ALL_FOLDS and len(folds) > 1 and not any(fold.name == name for fold in folds):
        return MeanOfFolds.of(folds)
    for fold in folds:
        if name in (fold.name, f"fold-{fold.name}") and fold.name:
            return fold
    if len(folds) == 1:
        raise UsageError(f"--fold {name}: this is a single model, without folds; leave --fold out.")
    raise UsageError(f"There is no fold {name!r}; {did_you_mean(name, [fold.name for fold in folds])}")


def why_chosen(fold: TrainedFold, name: str | None) -> str:
    """Say why `choose_fold` chose this fold."""
    if name is not None:
        return "as asked"
    return "the first" if is_optimistic(fold.selected) else "the best on its validation part"


def deployable(fold: TrainedFold) -> Deployable:
    """Wrap a trained fold, on the CPU and without gradients, as what is shipped."""
    model = Deployable(
        fold.model,
        [fold.scaler.centre[name] for name in fold.modalities],
        [fold.scaler.spread[name] for name in fold.modalities],
        classification=fold.task == "classification",
        target_centre=fold.spec.target_centre,
        target_spread=fold.spec.target_spread,
    )
    return model.cpu().eval().requires_grad_(False)


def parity_cases(fold: TrainedFold, model: Deployable) -> list[Arrays]:
    """Return the random inputs for this model, of the size of its training features."""
    centres = [fold.scaler.centre[name] for name in fold.modalities]
    spreads = [np.where(s == IGNORED_SPREAD, 1.0, s) for s in (fold.scaler.spread[name] for name in fold.modalities)]
    return list(random_cases(centres, spreads, speakers=model.tells_speakers))


def value_unit(fold: TrainedFold) -> float | None:
    """Return what differences of values are measured in; None for probabilities."""
    return None if fold.task == "classification" else fold.spec.target_spread
