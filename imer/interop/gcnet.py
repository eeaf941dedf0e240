"""The folders of GCNet, MoMKE and ComP (CMU-MOSI, CMU-MOSEI, IEMOCAP) → a feature store; and back, for labels as CMU's.

`CORPUS/features/<feature>/<utterance>.npy` (a vector, or frames, or a folder of such files) beside one pickle of labels,
`CORPUS_features_raw_<k>way.pkl`: a tuple of dicts by video (utterance ids, labels, speakers, sentences) and of the videos
of each split. What has no file, an empty one, or nothing but zeros, is not present.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, listed
from imer.core.types import SPLITS, Utterance
from imer.interop.incoming import Imported, Incoming, write_import
from imer.interop.outgoing import Exported, dialogue_names, in_order, other_labels, save_array, spec_of, usable_rows
from imer.interop.safe_pickle import load_foreign_pickle, write_pickle
from imer.store.reader import FeatureStore

_PATTERN = "*_features_raw_*way.pkl"
_PEOPLE = ("F", "M")  # of a scene of IEMOCAP


def import_gcnet(folder: Path, features: Mapping[str, str], out: Path, *, overwrite: bool = False) -> Imported:
    """Write a store from a corpus folder; `features` names the folder of each modality below `features/`.

    IEMOCAP's labels become `emotion` (class numbers) with `session`; the others' become `sentiment`. Frame-level files
    (T > 1) are kept as frames.

    Raises
    ------
    InvalidInput
        The folder has not exactly one pickle of labels, the pickle is not of the kind or names code, a feature's folder
        is missing, or a file is not an array of numbers.
    """
    folder = Path(folder)
    found = sorted(folder.glob(_PATTERN)) if folder.is_dir() else []
    if len(found) != 1:
        raise InvalidInput(f"{folder} must hold exactly one file {_PATTERN}; found {listed(found) or 'none'}.")
    utterances = _utterances(load_foreign_pickle(found[0], out), found[0])
    columns: dict[str, Incoming] = {}
    notes: list[str] = []
    for modality, name in features.items():
        where = folder / "features" / name
        if not where.is_dir():
            there = sorted(p.name for p in (folder / "features").glob("*")) if (folder / "features").is_dir() else []
            raise InvalidInput(f"{where} is not a folder; there are {listed(there) or 'none'}.")
        empty: list[str] = []
        values = [_load(where, utterance.utterance_id, empty, person=_person(utterance)) for utterance in utterances]
        if empty:
            notes.append(f"{modality}: no value is in {listed(empty, 5)} of {where}, as if the files were not there.")
        level = "frame" if any(v is not None and len(v) > 1 for v in values) else "utterance"
        columns[modality] = Incoming(f"gcnet/{name}", level, values)
    made = write_import(out, utterances, columns, found, "data import gcnet", overwrite=overwrite)
    return replace(made, notes=(*notes, *made.notes))


def _utterances(content: Any, path: Path) -> list[Utterance]:
    if not isinstance(content, list) or len(content) not in (6, 7) or not all(isinstance(d, dict) for d in content[:4]):
        raise InvalidInput(f"{path} is not a pickle of labels of GCNet: expected a tuple of 4 dicts and the splits.")
    ids, labels, speakers, sentences = content[:4]
    with_val = len(content) == 7  # CMU-MOSI and CMU-MOSEI; IEMOCAP has sessions instead of a validation part
    splits = dict(zip(SPLITS if with_val else ("train", "test"), content[4:], strict=True))
    listed_in = Counter(video for videos in splits.values() for video in set(map(str, videos)))
    if twice := [video for video, count in listed_in.items() if count > 1]:
        raise InvalidInput(
            f"{path} puts videos into several splits: {listed(twice, 3)}; mend it, or the test is no test."
        )
    split_of = {str(video): split for split, videos in splits.items() for video in videos}
    utterances: list[Utterance] = []
    for video, names in ids.items():
        parts = [table.get(video) for table in (labels, speakers, sentences)]
        if any(part is None or len(part) != len(names) for part in parts):
            raise InvalidInput(f"{path}: video {video} has not as many labels, speakers and sentences as utterances.")
        for position, (name, label, speaker, text) in enumerate(zip(names, *parts, strict=True)):
            value = label.item() if isinstance(label, np.ndarray) else label
            # In IEMOCAP "Ses01F_impro01" says the session, and a session has one woman and one man; CMU's videos have one
            # speaker each.
            session = video[4] if not with_val and len(video) > 4 else ""
            scene = f"Ses0{session}" if session else video
            utterances.append(
                Utterance(
                    str(name), video, position, line=len(utterances) + 2, row=len(utterances), session=session,
                    speaker=f"{scene}_{speaker}" if speaker else "", split=split_of.get(video, ""), text=str(text),
                    labels={"sentiment" if with_val else "emotion": str(value)},
                )
            )  # fmt: skip
    return utterances


def _person(utterance: Utterance) -> str:
    """Return F or M for an utterance of IEMOCAP, whose scenes show two people; "" otherwise."""
    letter = utterance.speaker.rpartition("_")[2]
    return letter if utterance.session and letter in _PEOPLE else ""


def _load(folder: Path, name: str, empty: list[str], *, person: str = "") -> np.ndarray | None:
    """Return an utterance's feature [T, D]; None where there is none. Files without any value are added to `empty`.

    Where a folder holds the faces of both people of a scene, each file's name says by an F or an M whose it is.
    """
    if Path(name).name != name:
        raise InvalidInput(f"The utterance id {name!r} is no file name; ids may not lead out of {folder}.")
    path = folder / name
    files = sorted(path.glob("*.npy")) if path.is_dir() else [folder / f"{name}.npy"]
    if path.is_dir() and person and any(_shows(file, who) for file in files for who in _PEOPLE):
        files = [file for file in files if _shows(file, person)]
    read = {file: _array(file) for file in files if file.is_file()}
    arrays = [array for array in read.values() if array.size]
    empty += [file.relative_to(folder).as_posix() for file, array in read.items() if not array.size]
    if not arrays:
        return None
    if len(widths := sorted({array.shape[1] for array in arrays})) > 1:
        raise InvalidInput(f"The arrays of {path} differ in width: {listed(widths)}.")
    values = np.concatenate(arrays)
    return values if values.any() else None


def _shows(file: Path, person: str) -> bool:
    """Say whose face a file's name says that it is: by its one letter F or M, beside the name of its utterance."""
    letters = [letter for letter in file.stem.replace(file.parent.name, "") if letter in _PEOPLE]
    return letters == [person]


def _array(path: Path) -> np.ndarray:
    """Return the array [T, D] of a file; one without any value for an empty file, which an interrupted program leaves."""
    if not path.stat().st_size:
        return np.zeros((0, 0))
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInput(f"{path} is not a .npy array of numbers ({error}).") from error
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.dtype.kind not in "fiub" or values.ndim > 2:
        raise InvalidInput(f"{path} must be a vector or frames of numbers, but has {values.dtype} {values.shape}.")
    return np.atleast_2d(values)


def export_gcnet(store: FeatureStore, folder: Path, corpus: str, label: str) -> Exported:
    """Write a corpus folder as those of CMU-MOSI, of the dialogues that have a split and numbers as their labels.

    Of a dialogue the utterances without a label are left out; what is not present has no file.

    Raises
    ------
    UsageError
        The label is missing or a class.
    InvalidInput
        No utterance has a label and a split, a dialogue is in two splits, or an id cannot be the name of a file.
    """
    rows, notes = usable_rows(store, label)
    if odd := [name for name in store.utterance_ids[rows] if Path(name).name != name]:
        raise InvalidInput(
            f"In this layout an utterance's id is the name of a file, which these cannot be: {listed(odd, 3)}."
        )
    by_dialogue: dict[str, list[int]] = {}
    names = dialogue_names(store)
    for row in rows[np.lexsort((store.positions[rows],))]:
        by_dialogue.setdefault(names[row], []).append(int(row))

    def grouped(values: np.ndarray) -> dict[str, list[Any]]:
        return {dialogue: values[members].tolist() for dialogue, members in by_dialogue.items()}

    ids, speakers, texts = grouped(store.utterance_ids), grouped(store.speakers), grouped(store.texts)
    labels = grouped(store.labels[label].values.astype(np.float64))
    split_of = {dialogue: set(store.splits[members]) for dialogue, members in by_dialogue.items()}
    if torn := [dialogue for dialogue, splits in split_of.items() if len(splits) > 1]:
        raise InvalidInput(f"In this layout a dialogue is in one split, but some are in several: {listed(torn, 3)}.")
    splits = [[dialogue for dialogue, splits in split_of.items() if splits == {split}] for split in SPLITS]
    write_pickle(folder / f"{corpus}_features_raw_2way.pkl", (ids, labels, speakers, texts, *splits))
    usable = set(rows.tolist())
    for modality in store.modalities:
        level = spec_of(store, modality).level
        where = folder / "features" / f"{modality}-{'UTT' if level == 'utterance' else 'FRA'}"
        where.mkdir(parents=True)
        for row, values_TD in enumerate(in_order(store.feature(modality))):
            if row in usable and len(values_TD):
                values = values_TD[0] if level == "utterance" else values_TD
                path = where / f"{store.utterance_ids[row]}.npy"
                if path.exists():
                    raise InvalidInput(
                        f"In this layout an utterance's id is the name of a file, and {path.stem!r} has that of another, which "
                        "differs in capitals only: they are one on this disk."
                    )
                save_array(path, values)
    return Exported(len(rows), (*notes, *other_labels(store, label)))
