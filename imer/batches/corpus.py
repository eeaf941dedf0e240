"""A feature store as plain arrays: what training and evaluation hold in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from imer.core.errors import InvalidInput, UsageError, did_you_mean, listed
from imer.core.types import FeatureSpec, ordered_modalities
from imer.store.columns import as_numbers, number_text
from imer.store.reader import FeatureStore, Label

TASKS = ("auto", "classification", "regression")
WELL_KNOWN_LABELS = ("emotion", "sentiment")  # taken in this order where no label is named


@dataclass(frozen=True)
class Corpus:
    """N utterances with everything a model or an evaluation needs, in the order of the store.

    modalities     name → feature width, in order
    features       modality → float32 [N, D], 0 where not present
    present_NM     bool; a row with NaN or an infinity is not present
    target_N       int64 class index (−1 unlabelled), or float64 value (NaN unlabelled)
    task           "classification", "regression", or "" where no label was asked for
    feature_names  modality → name of the feature set; `fingerprints` tells the numbers apart, `specs` how to make them
    columns        column of the manifest → its text per utterance, for folds
    """

    n: int
    modalities: dict[str, int]
    features: dict[str, np.ndarray]
    present_NM: np.ndarray
    utterance_ids: np.ndarray
    dialogue_ids: np.ndarray
    positions: np.ndarray
    speakers: np.ndarray
    splits: np.ndarray
    target_N: np.ndarray
    task: str = ""
    label: str = ""
    class_names: tuple[str, ...] = ()
    feature_names: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    specs: dict[str, FeatureSpec] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    content_sha256: str = ""

    @classmethod
    def from_store(
        cls,
        store: FeatureStore,
        modalities: Sequence[str] | None = None,
        label: str | None = None,
        features: Mapping[str, str] | None = None,
        *,
        task: str = "auto",
        class_names: Sequence[str] | None = None,
    ) -> Corpus:
        """Read a store.

        Parameters
        ----------
        modalities
            Which to read, in any order; None reads all.
        label
            The label column; None reads none.
        features
            Modality → feature name, for modalities that have several.
        task
            "auto" takes a column of numbers as values and any other as classes; "classification" makes classes of
            the numbers too, "regression" values of classes that are called by numbers.
        class_names
            The order of the classes, for a model that is trained already.

        Raises
        ------
        UsageError
            A modality or label that the store does not have.
        InvalidInput
            A label that is no number where values are asked for, or a class that `class_names` does not have.
        """
        names = _chosen_modalities(store, modalities)
        arrays, present = {}, []
        for name in names:
            arrays[name], present_N = store.vectors(name, (features or {}).get(name))
            arrays[name][~present_N] = 0
            present.append(present_N)
        target_N, found_task, classes = _target(store, label, task, class_names)
        chosen = {name: (features or {}).get(name) or next(iter(store.specs[name])) for name in names}
        return cls(
            n=store.n,
            modalities={name: int(arrays[name].shape[1]) for name in names},
            features=arrays,
            present_NM=np.stack(present, axis=1),
            utterance_ids=store.utterance_ids,
            dialogue_ids=_dialogues(store),
            positions=store.positions,
            speakers=store.speakers,
            splits=store.splits,
            target_N=target_N,
            task=found_task,
            label=label or "",
            class_names=classes,
            feature_names=chosen,
            fingerprints={name: store.specs[name][chosen[name]].fingerprint for name in names},
            specs={name: store.specs[name][chosen[name]] for name in names},
            columns={**store.columns, "session": store.sessions, "speaker": store.speakers},
            content_sha256=store.content_sha256,
        )

    @property
    def labelled_N(self) -> np.ndarray:
        """bool [N]: the utterances that have a label."""
        return np.isfinite(self.target_N) if self.target_N.dtype.kind == "f" else self.target_N >= 0

    def rows_of(self, utterance_ids: Sequence[str]) -> np.ndarray:
        """Return the rows of these utterances, in their order; those that the store does not have are left out."""
        row_of = {name: row for row, name in enumerate(self.utterance_ids.tolist())}
        return np.array([row_of[name] for name in utterance_ids if name in row_of], dtype=np.int64)


def default_label(store: FeatureStore) -> str:
    """Return the label to learn where none is named.

    Raises
    ------
    UsageError
        The store has no well-known label column.
    """
    for name in WELL_KNOWN_LABELS:
        if name in store.labels:
            return name
    raise UsageError(
        f"{store.path} has no column called emotion or sentiment; name the label with --label (columns: "
        f"{listed(sorted(store.labels)) or 'none'})."
    )


def _chosen_modalities(store: FeatureStore, wanted: Sequence[str] | None) -> tuple[str, ...]:
    names = store.modalities if not wanted else ordered_modalities(dict.fromkeys(wanted))
    for name in names:
        if name not in store.specs:
            raise UsageError(f"{store.path} has no {name} features; {did_you_mean(name, store.modalities)}")
    return names


def _dialogues(store: FeatureStore) -> np.ndarray:
    """Return the dialogue of each utterance; one without is its own dialogue, called by a name that no manifest can hold."""
    own = np.array([f"\x00{name}" for name in store.utterance_ids], dtype=object)
    return np.where(store.dialogue_ids == "", own, store.dialogue_ids)


def _target(
    store: FeatureStore, label: str | None, task: str, class_names: Sequence[str] | None
) -> tuple[np.ndarray, str, tuple[str, ...]]:
    if task not in TASKS:
        raise UsageError(f"There is no task {task!r}; {did_you_mean(task, TASKS)}")
    if label is None:
        return np.full(store.n, np.nan), "", ()
    if label not in store.labels:
        raise UsageError(f"{store.path} has no label column {label!r}; {did_you_mean(label, store.labels)}")
    column = store.labels[label]
    if column.classes is None and task == "classification":
        column = _as_classes(column)
    if column.classes is None:
        return column.values.astype(np.float64), "regression", ()
    if task == "regression" and (numbers := as_numbers(column.classes)) is not None:
        return np.append(numbers, np.nan)[column.values], "regression", ()
    if task == "regression":
        raise InvalidInput(
            f"{store.path}: the label column {label!r} holds names ({listed(column.classes, 5)}), so it cannot be learnt as "
            "a number; drop the task setting or name another column."
        )
    if class_names is None:
        return column.values.astype(np.int64), "classification", tuple(column.classes)
    unknown = [name for name in column.classes if name not in class_names]
    if unknown:
        raise InvalidInput(
            f"{store.path}: the label column {label!r} holds {listed(unknown)}, which the model does not know; its classes "
            f"are {listed(class_names, 40)}."
        )
    index = np.array([class_names.index(name) for name in column.classes] + [-1], dtype=np.int64)
    return index[column.values], "classification", tuple(class_names)


def _as_classes(column: Label) -> Label:
    """Turn a column of numbers into one of classes, in their numerical order."""
    numbers = np.unique(column.values[np.isfinite(column.values)])
    index_N = np.searchsorted(numbers, column.values)
    return Label(
        np.where(np.isfinite(column.values), index_N, -1),
        tuple(number_text(number + 0.0) for number in numbers.tolist()),  # −0 is called 0
    )
