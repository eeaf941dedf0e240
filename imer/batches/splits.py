"""Which utterances train, validate and test: the official split, or folds. Always whole dialogues, where possible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from imer.batches.corpus import Corpus
from imer.batches.split_checks import check_labels, dependences, unlearnt_classes
from imer.batches.validation import cut_validation
from imer.core.errors import InvalidInput, UsageError, counted, did_you_mean, listed
from imer.core.seeding import generator

WITHOUT_TEST = "none"  # in place of folds: everything is learnt from


@dataclass(frozen=True)
class Split:
    """One division of a corpus: rows of each part. `name` is the fold, or empty for a single split."""

    name: str
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    warnings: tuple[str, ...] = field(default=())


def official_split(corpus: Corpus, *, seed: int, share: float = 0.15, by: str = "auto", member: int = 0) -> Split:
    """Return the split that the manifest's `split` column gives; without a val part, one is cut from train.

    Each `member` of an ensemble has a cut of its own, if there are as many that are representative. The test part may be
    empty, or without labels, as that of a challenge is: then there is a warning, and nothing to measure.

    Raises
    ------
    UsageError
        The corpus has no `split` column.
    InvalidInput
        It has no train utterances, or they or the val part have no label.
    """
    parts = {part: np.flatnonzero(corpus.splits == part) for part in ("train", "val", "test")}
    if not any(len(rows) for rows in parts.values()):
        raise UsageError(
            "The utterances have no split (train, val, test); add a split column to the manifest, or cross-validate with "
            "--folds session, --folds speaker, --folds COLUMN or --folds 5; --folds none learns from all of them, and tests on "
            "none."
        )
    if not len(parts["train"]):
        raise InvalidInput("No utterance has the split train; add some to the manifest, or use --folds 5.")
    train, val = parts["train"], parts["val"]
    notes: list[str] = []
    if not len(val):
        train, val, notes = cut_validation(corpus, train, seed=seed, share=share, by=by, fold="", member=member)
    if unused := int((corpus.splits == "").sum()):
        notes.append(f"{unused} of {corpus.n} utterances have no split and are not used.")
    return _checked(corpus, Split("", train, val, parts["test"], tuple(notes)))


def whole_split(corpus: Corpus, *, seed: int, share: float = 0.15, by: str = "auto", member: int = 0) -> Split:
    """Return the split for a model that is only to be used: all utterances train or validate, and none is left for a test.

    Raises
    ------
    InvalidInput
        A part has no label.
    UsageError
        `by` is no way of choosing a validation part.
    """
    train, val, notes = cut_validation(
        corpus, np.arange(corpus.n), seed=seed, share=share, by=by, fold="", member=member
    )
    return _checked(corpus, Split("", train, val, np.arange(0), tuple(notes)))


def fold_splits(
    corpus: Corpus, folds: str, *, seed: int, share: float = 0.15, by: str = "auto", member: int = 0
) -> list[Split]:
    """Return one split per fold: `session`, `speaker`, another column, or a number of folds over dialogues.

    Each `member` of an ensemble has validation parts of its own, if there are as many that are representative; the test
    parts are those of all.

    Raises
    ------
    UsageError
        There is no such column, or it has fewer than two values, or there are fewer dialogues than folds.
    InvalidInput
        A part of a fold has no label.
    """
    group_N = _fold_groups(corpus, folds, seed)
    names = sorted({name for name in group_N.tolist() if name}, key=_natural)
    if len(names) < 2:
        raise UsageError(
            f"--folds {folds} needs at least two different values, but {listed(names) or 'none'} was found."
        )
    loose = int((group_N == "").sum())
    splits: list[Split] = []
    for name in names:
        test, rest = np.flatnonzero(group_N == name), np.flatnonzero(group_N != name)
        train, val, notes = cut_validation(corpus, rest, seed=seed, share=share, by=by, fold=name, member=member)
        if loose and not splits:
            without = counted(loose, "utterance has", "utterances have")
            notes.append(f"{without} no {folds}: for training in every fold, and never tested.")
        if (twins := alike_but_for_capitals(names)) and not splits:
            notes.append(f"values of {folds} differ in capitals only ({listed(twins, 3)}); they are different folds.")
        splits.append(_checked(corpus, Split(name, train, val, test, tuple(notes)), first=not splits))
    return splits


def alike_but_for_capitals(names: Iterable[str]) -> list[str]:
    """Return the names that are the same but for their capitals, such as "Ann and ann"."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.casefold(), []).append(name)
    return [" and ".join(twins) for twins in alike.values() if len(twins) > 1]


def _natural(name: str) -> tuple[int, float, str]:
    """Sort numbers as numbers, before other names."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _fold_groups(corpus: Corpus, folds: str, seed: int) -> np.ndarray:
    if not folds.isdecimal():
        if folds == corpus.label:
            raise UsageError(f"--folds {folds}: that is the label to learn; fold by something else, such as speaker.")
        if folds not in corpus.columns:
            others = [name for name in corpus.columns if name != corpus.label]
            raise UsageError(
                f"--folds {folds}: there is no such column; {did_you_mean(folds, [*others, WITHOUT_TEST])}"
            )
        return corpus.columns[folds]
    count = int(folds)
    dialogues, index_N = np.unique(corpus.dialogue_ids.astype(str), return_inverse=True)
    if not 2 <= count <= len(dialogues):
        raise UsageError(
            f"--folds {count} is not possible with {len(dialogues)} dialogues: there are at least 2 folds, of at least one "
            "dialogue each."
        )
    size = np.bincount(index_N)
    order = generator(seed, "folds", count).permutation(len(dialogues))
    fold_of, load = np.zeros(len(dialogues), dtype=np.int64), np.zeros(count)
    for dialogue in order[np.argsort(-size[order], kind="stable")]:  # the longest first, each to the emptiest fold
        fold_of[dialogue] = load.argmin()
        load[fold_of[dialogue]] += size[dialogue]
    return np.array([str(fold) for fold in fold_of[index_N]], dtype=object)


def _checked(corpus: Corpus, split: Split, *, first: bool = True) -> Split:
    """Refuse a part without labels, and note what else speaks against a split; what its parts share, in the first fold only,
    since the others are alike."""
    rows = {"training": split.train, "validation": split.val, "test": split.test}
    notes = [f"fold {split.name}: {note}" if split.name else note for note in split.warnings]
    notes += check_labels(corpus, rows, split.name) + unlearnt_classes(corpus, rows, split.name)
    return replace(split, warnings=(*notes, *(dependences(corpus, rows, split.name) if first else ())))
