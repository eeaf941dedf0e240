"""Which model of a run is shipped: the one there is, or one of its folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imer.batches.scaling import IGNORED_SPREAD
from imer.core.errors import UsageError, did_you_mean
from imer.export.deployable import Deployable
from imer.export.parity import Arrays, random_cases
from imer.metrics.compute import selection_score
from imer.training.selection import is_optimistic
from imer.training.trained_fold import TrainedFold


def choose_fold(folds: Sequence[TrainedFold], name: str | None) -> TrainedFold:
    """Return the fold of this name, or else the one that was best on its validation part; the first, where that is unknown.

    Raises
    ------
    UsageError
        No fold has that name.
    """
    if name is None:
        if any(is_optimistic(fold.selected) for fold in folds):  # chosen on the test part, as no fold may be
            return folds[0]
        return max(folds, key=lambda fold: selection_score(fold.task, fold.val))
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
