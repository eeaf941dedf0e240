"""What looks like a mistake in a corpus: said before anything is learnt from it, which happens all the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from imer.batches.corpus import Corpus
from imer.batches.scaling import broken_rows
from imer.batches.splits import Split
from imer.core.errors import listed
from imer.store.columns import number_text

_DECIMAL_COMMA = re.compile(r"-?\d*,\d+")
ODD_VALUE_DISTANCE = 10.0  # interquartile ranges from the median; a normal distribution ends at 3
SCARCE_UTTERANCES, SCARCE_SHARE = 10, 0.1  # of the training part: fewer than both is too little to learn from


def doubts(corpus: Corpus) -> list[str]:
    """Say what looks like a mistake in the labels and the features of a corpus, a sentence each."""
    of_labels = odd_classes(corpus.class_names) if corpus.task == "classification" else odd_values(corpus.target_N)
    said = [f"{corpus.label}: {sentence}" for sentence in of_labels]
    for column, name in enumerate(corpus.modalities):
        present = np.flatnonzero(corpus.present_NM[:, column])
        broken = present[broken_rows(corpus.features[name][present])]
        if len(broken):
            said.append(
                f"{name} features lie absurdly far from all others in {len(broken)} of {len(present)} utterances "
                f"({listed(corpus.utterance_ids[broken].tolist(), 3)}); these have no say in how features are standardised."
            )
    return said


def odd_classes(class_names: Sequence[str]) -> list[str]:
    """Say what looks like a mistake in the names of classes: numbers with decimal commas, names that differ in capitals."""
    said = []
    numbers = [name for name in class_names if _DECIMAL_COMMA.fullmatch(name)]
    if 2 * len(numbers) > len(class_names):
        said.append(
            f"classes look like numbers with decimal commas ({listed(numbers, 3)}); write them with points to learn a number."
        )
    alike: dict[str, list[str]] = {}
    for name in class_names:
        alike.setdefault(name.casefold(), []).append(name)
    if twins := [" and ".join(names) for names in alike.values() if len(names) > 1]:
        said.append(f"classes differ in capitals only ({listed(twins, 3)}); they are learnt as different ones.")
    return said


def odd_values(target_N: np.ndarray) -> list[str]:
    """Say which labels look like codes for "missing" among numbers to learn, such as 999 on a scale from 1 to 7."""
    values = target_N[np.isfinite(target_N)]
    if not len(values):
        return []
    low, middle, high = np.percentile(values, [25, 50, 75])
    odd = values[np.abs(values - middle) > ODD_VALUE_DISTANCE * (high - low)] if high > low else values[:0]
    if not len(odd):
        return []
    return [
        f"{len(odd)} of {len(values)} labels lie far from all others "
        f"({listed([number_text(value) for value in np.unique(odd).tolist()], 3)}); if they mean that a label is missing, "
        "leave these cells of the manifest empty."
    ]


def scarce_modalities(corpus: Corpus, splits: Sequence[Split]) -> list[str]:
    """Say which modalities hardly any utterance has that a model learns from, in the first fold where that is so."""
    said = []
    for column, name in enumerate(corpus.modalities):
        for split in splits:
            n, of = int(corpus.present_NM[split.train, column].sum()), len(split.train)
            if n < SCARCE_UTTERANCES and n < SCARCE_SHARE * of:
                where = f" of fold {split.name}" if split.name else ""
                said.append(f"only {n} of {of} training utterances{where} have {name}: too few to learn what it says.")
                break
    return said
