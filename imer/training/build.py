"""From settings and a corpus to a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from imer.batches.corpus import Corpus
from imer.batches.dialogues import Dialogues
from imer.batches.splits import Split
from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.registry import answering, resolve
from imer.core.seeding import derived_seed
from imer.models.base import ModelSpec
from imer.models.ensemble import Ensemble
from imer.training.settings import RunChoice, Settings


def model_spec(corpus: Corpus, train_rows: np.ndarray, class_weights: str, fold: str = "") -> ModelSpec:
    """Return what a model has to learn from these training rows (of a fold).

    Raises
    ------
    InvalidInput
        The labels of the training part do not vary, or a modality is present nowhere in it.
    """
    where = f" of fold {fold}" if fold else ""
    for column, name in enumerate(corpus.modalities):
        if not corpus.present_NM[train_rows, column].any():
            rest = ",".join(other for other in corpus.modalities if other != name)
            raise InvalidInput(
                f"The modality {name} is not present in any training utterance{where}, so nothing can be learnt from it; leave "
                f"it out with --modalities {rest or '…'}{', or choose other folds' if fold else ''}."
            )
    target = corpus.target_N[train_rows][corpus.labelled_N[train_rows]]
    found = np.unique(target)
    if len(found) < 2:
        what = corpus.class_names[int(found[0])] if corpus.task == "classification" else f"{found[0]:g}"
        raise InvalidInput(
            f"All {len(target)} labelled training utterances{where} have the {corpus.label} {what!r}; there is nothing to tell "
            f"apart. {'Choose other folds' if fold else 'Name another column with --label'}."
        )
    if corpus.task == "regression":
        return ModelSpec(
            dict(corpus.modalities), "regression", 1,
            target_centre=float(target.mean()), target_spread=float(target.std()),
            target_range=(float(target.min()), float(target.max())),
        )  # fmt: skip
    n = len(corpus.class_names)
    weights = class_weight(np.bincount(target, minlength=n), class_weights)
    return ModelSpec(dict(corpus.modalities), "classification", n, class_weights=weights)


def check_lengths(corpus: Corpus, splits: Iterable[Split], *, most: int | None, pad_to: int) -> None:
    """Refuse dialogues of more utterances than a model can answer (its `most_utterances`; None: any number).

    Raises
    ------
    UsageError
        The longest dialogue does not fit.
    """
    if most is None:
        return
    parts = [part for split in splits for part in (split.train, split.val, split.test) if len(part)]
    read = (Dialogues.of(corpus, part).as_read(pad_to) for part in parts)
    longest = max(int(dialogues.lengths.max()) for dialogues in read)
    if longest > most:
        raise UsageError(
            f"A dialogue has {longest} utterances, more than model.longest_dialogue = {most}: add --set "
            f"model.longest_dialogue={longest}."
        )


def class_weight(count_C: np.ndarray, kind: str) -> tuple[float, ...] | None:
    """Return a weight per class: inverse to its count (`balanced`) or to the root of it (`sqrt`), mean 1 over data."""
    if kind == "none":
        return None
    share_C = count_C / count_C.sum()
    inverse = np.where(count_C > 0, 1.0 / np.maximum(share_C, 1e-12), 0.0)
    weight_C = np.sqrt(inverse) if kind == "sqrt" else inverse
    weight_C = weight_C / (weight_C * share_C).sum()
    return tuple(float(weight) for weight in np.where(count_C > 0, weight_C, 1.0))


def build_model(spec: ModelSpec, settings: Settings, *, seed_parts: tuple[Any, ...] = ()) -> nn.Module:
    """Build a model; its first weights depend on `seed_parts` alone. Borrow the random state around it.

    Raises
    ------
    UsageError
        The model takes no output head, and one was chosen.
    MissingDependency
        The model is a plug-in that fails.
    """
    model_class, head_class = resolve("models", settings.run.model), resolve("heads", settings.run.head)
    torch.manual_seed(derived_seed("weights", *seed_parts))
    if not getattr(model_class, "takes_head", True):
        if settings.run.head != RunChoice.head:
            raise UsageError(
                f"The model {settings.run.model} answers by itself and takes no output head; drop --head {settings.run.head}."
            )
        with answering("models", settings.run.model):
            return model_class(spec, settings.model)
    width = getattr(settings.model, "hidden", 0)
    with answering("heads", settings.run.head):
        head = head_class(spec, width, settings.head)
    with answering("models", settings.run.model):
        return model_class(spec, settings.model, head)


def build_trained(spec: ModelSpec, settings: Settings) -> nn.Module:
    """Build what the weights of a trained fold fit into: one model, or all its members. Borrow the random state around it."""
    n = settings.train.members
    return Ensemble([build_model(spec, settings) for _ in range(n)]) if n > 1 else build_model(spec, settings)


def check_modalities(corpus: Corpus, model: str) -> None:
    """Refuse a corpus with fewer modalities than the model combines.

    Raises
    ------
    UsageError
        The model says that it needs more.
    """
    least = getattr(resolve("models", model), "least_modalities", 1)
    if len(corpus.modalities) < least:
        raise UsageError(
            f"The model {model} combines modalities and needs at least {least}, but only {listed(corpus.modalities) or 'none'} "
            "is there; name more with --modalities, or choose a --model that takes one, such as transformer."
        )
