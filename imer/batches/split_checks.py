"""What speaks against a split: a part without labels, classes that nobody learns, dialogues or speakers on both sides."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from imer.batches.corpus import Corpus
from imer.batches.roles import speak_nearly_everywhere
from imer.core.errors import InvalidInput, counted, listed

Rows = dict[str, np.ndarray]  # part (training, validation, test) → its rows


def check_labels(corpus: Corpus, rows: Rows, fold: str) -> list[str]:
    """Check that there is something to learn from, to choose epochs on, and to measure on; say what is missing.

    The test part of a single split may lack labels or be empty: it is answered, and not measured.

    Raises
    ------
    InvalidInput
        Another part has no label.
    """
    said = []
    for part, its_rows in rows.items():
        if corpus.labelled_N[its_rows].any():
            continue
        if part == "test" and not fold:
            lacking = (
                f"none of the {len(its_rows)} test utterances has the label {corpus.label}: they are answered, and not measured"
                if len(its_rows)
                else "there is no test part"
            )
            said.append(f"{lacking}; imer eval RUN OTHER.h5 tells how good the model is on other data.")
            continue
        raise InvalidInput(
            f"The {part} part{_of(fold)} has no utterance with the label {corpus.label} ({len(its_rows)} utterances); label "
            "some, or choose other folds."
        )
    return said


def unlearnt_classes(corpus: Corpus, rows: Rows, fold: str) -> list[str]:
    """Say which classes are asked for that no training utterance has."""
    if corpus.task != "classification":
        return []
    learnt = {*corpus.target_N[rows["training"]].tolist(), -1}
    said = []
    for part in ("validation", "test"):
        if never := sorted(set(corpus.target_N[rows[part]].tolist()) - learnt):
            names = listed(corpus.class_names[c] for c in never)
            said.append(f"the {part} part{_of(fold)} has classes that no training utterance has: {names}.")
    return said


def dependences(corpus: Corpus, rows: Rows, fold: str) -> list[str]:
    """Say what two parts have in common that should be apart: dialogues, or speakers of the test part."""
    seen = np.concatenate([rows["training"], rows["validation"]])
    others = ". The other folds were not looked at: they are probably alike" if fold else ""
    said, of_fold = [], _of(fold)
    if cut := set(corpus.dialogue_ids[seen]) & set(corpus.dialogue_ids[rows["test"]]):
        said.append(
            f"{counted(len(cut), f'dialogue{of_fold} has', f'dialogues{of_fold} have')} utterances both in training and in "
            f"test ({listed(sorted(cut), 3)}): the test is not independent{others}."
        )
    if torn := set(corpus.dialogue_ids[rows["training"]]) & set(corpus.dialogue_ids[rows["validation"]]):
        said.append(
            f"{counted(len(torn), f'dialogue{of_fold} has', f'dialogues{of_fold} have')} utterances both in training and in "
            f"validation ({listed(sorted(torn), 3)}): what is chosen on validation may be too optimistic{others}."
        )
    shared = (set(corpus.speakers[seen]) & set(corpus.speakers[rows["test"]])) - {""}
    if roles := sorted(shared & set(speak_nearly_everywhere(corpus))):
        said.append(
            f"{listed(roles, 3)} {'speak' if len(roles) > 1 else 'speaks'} in most dialogues: if these are roles and not "
            "persons, nobody can tell whether a person is both in training and in test; name the person in each."
        )
    if persons := sorted(shared - set(roles)):
        said.append(
            f"{counted(len(persons), f'speaker{of_fold} is', f'speakers{of_fold} are')} both in training and in test "
            f"({listed(persons, 3)}): the result does not hold for new speakers{others}."
        )
    if copied := repeated(corpus, seen, rows["test"]):
        said.append(
            f"{len(copied)} of {len(rows['test'])} test utterances{of_fold} have the very features of training ones "
            f"({listed(copied, 3)}): the same clip under two names? The test is not independent{others}."
        )
    return said


def repeated(corpus: Corpus, seen: np.ndarray, asked: np.ndarray) -> list[str]:
    """Return the utterances asked about whose features, of all modalities, are those of one that was seen.

    Words alone do not count: people say "yes" more than once.
    """
    tells = np.zeros(corpus.n, dtype=bool)
    for name in corpus.modalities:
        if name != "text":
            tells |= corpus.features[name].any(axis=1)

    def of(row: int) -> bytes:
        return sha256(b"".join(corpus.features[name][row].tobytes() for name in corpus.modalities)).digest()

    known = {of(row) for row in seen[tells[seen]]}
    return [str(corpus.utterance_ids[row]) for row in asked[tells[asked]] if of(row) in known]


def _of(fold: str) -> str:
    return f" of fold {fold}" if fold else ""
