"""MMSA's pickles (CMU-MOSI, CMU-MOSEI, CH-SIMS; MMSA-FET writes them too) → a feature store, and back.

A dict of `train`, `valid` and `test`, each with arrays by utterance: `audio`, `vision` and `text` [n, T, D], padded with
zeros at the end, and `regression_labels`. Rows are found by `id` (`video$_$clip`), never by order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, listed
from imer.core.types import Utterance
from imer.interop.incoming import Imported, Incoming, trimmed, write_import
from imer.interop.outgoing import Exported, dialogue_names, in_order, origin, other_labels, usable_rows
from imer.interop.safe_pickle import load_foreign_pickle, write_pickle
from imer.media.positions import with_positions
from imer.store.reader import FeatureStore

_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_OTHER_SPLITS = {"val": "val", "dev": "val"}  # as others write them
_FEATURES = {"audio": "audio", "text": "text", "visual": "vision"}
_LABELS = {  # `labels` are MulT's
    "labels": "sentiment", "regression_labels": "sentiment", "regression_labels_T": "sentiment_text",
    "regression_labels_A": "sentiment_audio", "regression_labels_V": "sentiment_visual", "annotations": "annotation",
}  # fmt: skip


def import_mmsa(path: Path, out: Path, *, overwrite: bool = False) -> Imported:
    """Write a frame-level store from one of MMSA's pickles; a modality that is zero throughout is not present.

    Raises
    ------
    InvalidInput
        The file is no such pickle, names code, or its parts do not fit each other.
    """
    path = Path(path)
    content = load_foreign_pickle(path, out)
    parts = [name for name, part in content.items() if isinstance(part, dict)] if isinstance(content, dict) else []
    known = _SPLITS | _OTHER_SPLITS
    splits = [name for name in known if name in parts]
    if not splits:
        raise InvalidInput(f"{path} is not a pickle of MMSA: it has none of {listed(_SPLITS)}.")
    utterances: list[Utterance] = []
    columns = {modality: Incoming(f"mmsa/{key}", "frame", []) for modality, key in _FEATURES.items()}
    for split in splits:
        part = content[split]
        names = _names(part, path, split)
        for key in (*_LABELS, "raw_text"):
            if part.get(key) is not None and len(part[key]) != len(names):
                raise InvalidInput(f"{path}: {split}/{key} has {len(part[key])} entries for {len(names)} utterances.")
        for i, name in enumerate(names):
            utterances.append(_utterance(part, i, name, known[split], len(utterances)))
        for modality, key in _FEATURES.items():
            columns[modality].values += _sequences(part, key, len(names), path, split)
    ids = [u.utterance_id for u in utterances]
    if twice := sorted(name for name, count in Counter(ids).items() if count > 1):
        raise InvalidInput(f"{path} names an utterance twice: {listed(twice)}.")
    numbers = {u.utterance_id: _clip_number(u.utterance_id) for u in utterances}
    kept = {m: column for m, column in columns.items() if any(v is not None for v in column.values)}
    made = write_import(out, with_positions(utterances, numbers), kept, [path], "data import mmsa", overwrite=overwrite)
    notes = list(made.notes)
    if others := [name for name in parts if name not in known and "id" in content[name]]:
        notes.append(f"only {listed(known)} are read, but there are also utterances in {listed(map(str, others))}.")
    if not any(u.labels for u in utterances):
        notes.append(f"there are no labels: no split has any of {listed(_LABELS)}.")
    return replace(made, notes=tuple(notes))


def _names(part: Mapping[str, Any], path: Path, split: str) -> list[str]:
    if not isinstance(part.get("id"), list):
        raise InvalidInput(f"{path}: {split} has no list of ids.")
    return ["$_$".join(map(str, name)) if isinstance(name, list) else str(name) for name in part["id"]]


def _utterance(part: Mapping[str, Any], i: int, name: str, split: str, row: int) -> Utterance:
    dialogue, _, clip = name.partition("$_$")
    # MulT's ids are video, start and end.
    times = [_seconds(text) for text in clip.split("$_$")] if "$_$" in clip else [None, None]
    labels = {}
    for key, label in _LABELS.items():
        values = part.get(key)
        if values is not None:
            labels[label] = str(values[i] if isinstance(values, list) else _single(values[i], key))
    texts = part.get("raw_text")
    return Utterance(
        name, dialogue, 0, line=row + 2, row=row, split=split, start_s=times[0], end_s=times[-1],
        text=None if texts is None else str(texts[i]), labels=labels,
    )  # fmt: skip


def _clip_number(name: str) -> int | None:
    """Return the place in its video that an id says; None where that is found by time, or by the row."""
    clip = name.partition("$_$")[2]
    return int(clip) if clip.isdecimal() else None


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _single(label: np.ndarray, key: str) -> Any:
    """Return the one number of a label [1, ...]; MulT's have one, in an axis or two of their own."""
    if label.size != 1:
        raise InvalidInput(f"The {key} of an utterance are {label.size} numbers, where one is expected.")
    return label.item()


def _sequences(part: Mapping[str, Any], key: str, n: int, path: Path, split: str) -> list[np.ndarray | None]:
    values = part.get(key)
    if values is None:
        return [None] * n
    if not isinstance(values, np.ndarray) or values.ndim != 3 or len(values) != n:
        found = f"of shape {values.shape}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise InvalidInput(f"{path}: {split}/{key} must be an array [{n}, T, D], but it is {found}.")
    lengths = part.get(f"{key}_lengths")
    if lengths is None:
        return [trimmed(sequence) for sequence in values]
    if len(lengths) != n:
        raise InvalidInput(f"{path}: {split}/{key}_lengths has {len(lengths)} entries for {n} utterances.")
    for i, length in enumerate(lengths):
        if not 0 <= int(length) <= values.shape[1]:
            raise InvalidInput(
                f"{path}: {split}/{key}_lengths has {int(length)} for utterance {i} of that split, but its sequences have "
                f"{values.shape[1]} steps."
            )
    # A length of 0 beside a sequence that is there comes of counting up to the first hidden step, of which it has none.
    cut = [
        sequence[: int(length)] if length else trimmed(sequence)
        for sequence, length in zip(values, lengths, strict=True)
    ]
    return [sequence if sequence is not None and sequence.any() else None for sequence in cut]


def export_mmsa(store: FeatureStore, path: Path, label: str) -> Exported:
    """Write the utterances that have a split and a number as their label as one of MMSA's pickles.

    Sequences are padded with zeros at the end. What is not present is zeros, of length 1: MMSA packs sequences by their
    lengths, and cannot pack an empty one. So a reader of the file cannot tell absence from zeros.

    Raises
    ------
    UsageError
        The label is missing or a class.
    InvalidInput
        No utterance has both.
    """
    rows, notes = usable_rows(store, label)
    dialogues = dialogue_names(store)
    values_N = store.labels[label].values
    content: dict[str, dict[str, Any]] = {"config": {"imer": origin(store)}}  # MMSA-FET keeps its own settings there
    rows_of = {theirs: rows[store.splits[rows] == ours] for theirs, ours in _SPLITS.items()}
    for theirs, part in rows_of.items():
        numbers = values_N[part].astype(np.float32)
        content[theirs] = {
            "id": [_foreign_id(store.utterance_ids[row], dialogues[row]) for row in part],
            "raw_text": [str(text) for text in store.texts[part]],
            "regression_labels": numbers,
            "annotations": [("Negative", "Neutral", "Positive")[int(np.sign(number)) + 1] for number in numbers],
        }
    for modality, key in _FEATURES.items():
        if modality in store.modalities:
            sequences = list(in_order(store.feature(modality)))
            width, longest = store.feature(modality).dim, max(max(len(sequences[row]) for row in rows), 1)
            for theirs, part in rows_of.items():
                padded = np.zeros((len(part), longest, width), dtype=np.float32)
                for i, row in enumerate(part):
                    padded[i, : len(sequences[row])] = sequences[row]
                content[theirs][key] = padded
                content[theirs][f"{key}_lengths"] = [max(len(sequences[row]), 1) for row in part]
    if lacking := [key for modality, key in _FEATURES.items() if modality not in store.modalities]:
        notes += (f"most of MMSA's models want all of {listed(_FEATURES.values())}; there is no {listed(lacking)}.",)
    write_pickle(path, content)
    return Exported(len(rows), (*notes, *other_labels(store, label)))


def _foreign_id(name: str, dialogue: str) -> str:
    return name if "$_$" in name else f"{dialogue}$_${name}"
