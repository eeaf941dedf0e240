"""What exporters have in common: the values of every utterance in order, and labels that are numbers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.types import SPLITS, FeatureSpec
from imer.store.describe import describe
from imer.store.feature import Feature
from imer.store.reader import FeatureStore


@dataclass(frozen=True)
class Exported:
    """What an export gave: how many utterances are in it, and what a user should know."""

    n_utterances: int
    notes: tuple[str, ...] = ()


def origin(store: FeatureStore) -> dict[str, Any]:
    """Say where an export comes from, as `imer data inspect` does: the store's digest, extractors, versions, counts."""
    return {**describe(store), "path": store.path.name}


def spec_of(store: FeatureStore, modality: str) -> FeatureSpec:
    """Return what the store says of the values of a modality, which an export takes to have one feature set."""
    return next(iter(store.specs[modality].values()))


def in_order(feature: Feature) -> Iterator[np.ndarray]:
    """Yield the values of every utterance, float32 [T, D], T = 0 where it is not present; a block in memory at a time."""
    for first, stop, values in feature.blocks():
        yield from np.split(values, feature.offsets[first + 1 : stop] - feature.offsets[first])


def dialogue_names(store: FeatureStore) -> list[str]:
    """Return the dialogue of each utterance; one without is a dialogue of its own, with a name that nothing else has."""
    dialogues = set(store.dialogue_ids)
    taken = {*dialogues, *store.utterance_ids}

    def own_dialogue(utterance: str) -> str:
        if utterance not in dialogues:
            return utterance
        name = utterance
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    pairs = zip(store.utterance_ids, store.dialogue_ids, strict=True)
    return [str(dialogue or own_dialogue(utterance)) for utterance, dialogue in pairs]


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a `.npy` file. NumPy says of a full disk how many values fitted, and of which file not at all."""
    try:
        np.save(path, values)
    except OSError as error:
        raise OSError(error.errno or errno.ENOSPC, error.strerror or os.strerror(errno.ENOSPC), str(path)) from error


def save_blocks(path: Path, feature: Feature) -> None:
    """Write all values of a feature as one `.npy` file [ΣT, D], a block in memory at a time."""
    shape = (int(feature.offsets[-1]), feature.dim)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for _, _, values in feature.blocks():
            file.write(np.ascontiguousarray(values, dtype="<f4").data)


def other_labels(store: FeatureStore, label: str) -> tuple[str, ...]:
    """Say which labels a format with room for one leaves out."""
    others = [name for name in store.labels if name != label]
    return (f"this format has room for one label; not in it: {listed(others)}.",) if others else ()


def usable_rows(store: FeatureStore, label: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the rows of the utterances that have a number as their label and a split, and notes: of the others, and of splits
    that have none.

    Raises
    ------
    UsageError
        The store has no such label, or it is a class.
    InvalidInput
        No utterance is left.
    """
    if label not in store.labels:
        raise UsageError(
            f"{store.path} has no label {label!r}; it has {listed(store.labels) or 'none'} (--label NAME)."
        )
    if store.labels[label].classes is not None:
        numbers = [name for name, column in store.labels.items() if column.classes is None]
        raise UsageError(
            f"{label} is a class, and this format is for numbers such as a sentiment; {store.path} has the numbers "
            f"{listed(numbers) or '(none)'} (--label NAME)."
        )
    usable_N = np.isfinite(store.labels[label].values) & np.isin(store.splits, SPLITS)
    if not usable_N.any():
        raise InvalidInput(
            f"{store.path} has no utterance with both a {label} and a split ({listed(SPLITS)}), which this format wants."
        )
    n_out = int((~usable_N).sum())
    notes = [f"{n_out} of {store.n} utterances have no {label} or no split, and are left out."] if n_out else []
    if empty := [split for split in SPLITS if not (usable_N & (store.splits == split)).any()]:
        notes.append(
            f"no utterance with a {label} has the split {' or '.join(empty)}, and tools that read this format train on train, "
            "choose their epoch on val and measure on test: give some that split in the manifest, and make the store again."
        )
    return np.flatnonzero(usable_N), tuple(notes)
