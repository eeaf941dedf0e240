"""What looks like a mistake in a corpus: said before anything is learnt from it, which happens all the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from imer.batches.corpus import Corpus
from imer.batches.scaling import ROWS_AT_ONCE, broken_rows
from imer.batches.splits import Split, alike_but_for_capitals
from imer.core.errors import counted, listed
from imer.store.columns import as_numbers, number_text

_DECIMAL_COMMA = re.compile(r"-?\d*,\d+")
_MISSING_CODE = re.compile(r"(?:-\d+|99+)(?:\.0+)?")  # -1, -99, 999: what statistics programs write for a missing class
ODD_VALUE_DISTANCE = 10.0  # interquartile ranges from the median; a normal distribution ends at 3
MOST_CODES = 20  # different whole numbers that may be codes of classes
# What people write into a cell that has no label, besides what a manifest takes for an empty one.
MISSING_WORDS = frozenset(
    [
        *("none", "missing", "unknown", "undefined", "unlabeled", "unlabelled", "n.a.", "k.a.", "k. a."),
        *("-", "?", ".", "x", "xxx"),
    ]
)
SCARCE_UTTERANCES, SCARCE_SHARE = 10, 0.1  # of the training part: fewer than both is too little to learn from


def doubts(corpus: Corpus) -> list[str]:
    """Say what looks like a mistake in the labels and the features of a corpus, a sentence each."""
    of_labels = odd_classes(corpus.class_names) if corpus.task == "classification" else odd_values(corpus.target_N)
    said = [f"{corpus.label}: {sentence}" for sentence in of_labels]
    for column, name in enumerate(corpus.modalities):
        present = np.flatnonzero(corpus.present_NM[:, column])
        if len(present) > 1 and _are_equal(corpus.features[name], present):
            said.append(
                f"{name} features are the same in all {len(present)} utterances that have them: they tell nothing."
            )
        broken = present[broken_rows(corpus.features[name][present])]
        if len(broken):
            said.append(
                f"{name} features lie absurdly far from all others in {len(broken)} of {len(present)} utterances "
                f"({listed(corpus.utterance_ids[broken].tolist(), 3)}); these have no say in how features are standardised."
            )
    return said


def _are_equal(values_ND: np.ndarray, rows: np.ndarray) -> bool:
    """Say whether all these rows are the same; that they are not mostly shows in the first of them."""
    pieces = (rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE))
    return all((values_ND[piece] == values_ND[rows[0]]).all() for piece in pieces)


def odd_classes(class_names: Sequence[str]) -> list[str]:
    """Say what looks like a mistake in the names of classes: numbers, codes for "missing", names that differ in capitals."""
    said = []
    with_commas = [name for name in class_names if _DECIMAL_COMMA.fullmatch(name)]
    numbers = [name for name in class_names if as_numbers([name]) is not None]
    others = [name for name in class_names if name not in numbers]
    if 2 * len(with_commas) > len(class_names):
        said.append(
            f"classes look like numbers with decimal commas ({listed(with_commas, 3)}); write them with points to learn a "
            "number."
        )
    elif others and 2 * len(numbers) > len(class_names):
        said.append(
            f"{len(numbers)} of {len(class_names)} classes are numbers, but {listed(map(repr, others), 3)} is none; to learn a "
            "number, leave such cells of the manifest empty."
        )
    elif missing := [
        name for name in class_names if name.casefold() in MISSING_WORDS or (others and _MISSING_CODE.fullmatch(name))
    ]:
        said.append(
            f"{listed(map(repr, missing), 3)} is learnt as a class; if it means that a label is missing, leave these cells of "
            "the manifest empty."
        )
    if twins := alike_but_for_capitals(class_names):
        said.append(f"classes differ in capitals only ({listed(twins, 3)}); they are learnt as different ones.")
    return said


def odd_values(target_N: np.ndarray) -> list[str]:
    """Say what looks like a mistake in numbers to learn: infinities, codes for "missing" such as 999, codes of classes."""
    said = []
    if n_infinite := int(np.isinf(target_N).sum()):
        said.append(
            f"{counted(n_infinite, 'label is infinite and counts', 'labels are infinite and count')} as missing."
        )
    values = target_N[np.isfinite(target_N)]
    if not len(values):
        return said
    low, middle, high = np.percentile(values, [25, 50, 75])
    odd = values[np.abs(values - middle) > ODD_VALUE_DISTANCE * (high - low)] if high > low else values[:0]
    if len(odd):
        said.append(
            f"{len(odd)} of {len(values)} labels lie far from all others ({_numbers(odd)}); if they mean that a label is "
            "missing, leave these cells of the manifest empty."
        )
    elif len(np.unique(values)) <= MOST_CODES and np.all(values == np.round(values)):
        said.append(
            f"whole numbers ({_numbers(values)}) are learnt as a quantity; if they are codes of classes, add --set "
            "data.task=classification."
        )
    return said


def _numbers(values: np.ndarray) -> str:
    return listed([number_text(value) for value in np.unique(values).tolist()], 3)


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
