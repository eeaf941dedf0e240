"""Read a feature store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from imer.core.errors import InvalidInput, did_you_mean, listed
from imer.core.types import FeatureSpec, Verdict, ordered_modalities
from imer.store import profile
from imer.store.columns import number_text
from imer.store.feature import Feature
from imer.store.structure import check_structure
from imer.store.writer import Part


@dataclass(frozen=True)
class Label:
    """A label column: int64 class indices (−1 = unlabelled) with `classes`, or float64 (NaN = unlabelled)."""

    values: np.ndarray
    classes: tuple[str, ...] | None


class FeatureStore:
    """The read side of a feature file. Use as a context manager; open it anew in every process (never across fork).

    Raises
    ------
    InvalidInput
        From `open` and every read: the file is missing, damaged, changed, or not a feature store.
    """

    def __init__(self, path: Path, file: h5py.File, context: Any) -> None:
        self.path = Path(path)
        self._file = file
        self._context = context
        with profile.reading(self.path):
            self.n = int(profile.read_attribute(file, "n_utterances"))
            self.content_sha256 = str(profile.read_attribute(file, profile.DIGEST))
            self.imer_version = str(profile.read_attribute(file, "imer_version"))
            self.specs = self._read_specs()
        self.modalities: tuple[str, ...] = ordered_modalities(self.specs)

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> FeatureStore:
        """Open a store; `verify` recomputes its content digest (about a second per gigabyte)."""
        context = profile.opened(Path(path), profile.STORE, verify=verify)
        file = context.__enter__()
        try:
            if verify:
                with profile.reading(Path(path)):
                    check_structure(file)
            return cls(path, file, context)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with profile.reading(self.path):
            yield

    def _strings(self, name: str) -> np.ndarray:
        with self._reading():
            return np.array(profile.decode_strings(self._file[f"index/{name}"][...]), dtype=object)

    def _texts(self, group: str) -> np.ndarray:
        with self._reading():
            joined, offsets = self._file[f"{group}/text"][...], self._file[f"{group}/text_offsets"][...]
            return np.array(profile.decode_texts(joined, offsets), dtype=object)

    @cached_property
    def utterance_ids(self) -> np.ndarray:
        return self._strings("utterance_id")

    @cached_property
    def dialogue_ids(self) -> np.ndarray:
        return self._strings("dialogue_id")

    @cached_property
    def speakers(self) -> np.ndarray:
        return self._strings("speaker")

    @cached_property
    def sessions(self) -> np.ndarray:
        return self._strings("session")

    @cached_property
    def splits(self) -> np.ndarray:
        return self._strings("split")

    @cached_property
    def texts(self) -> np.ndarray:
        return self._texts("index")

    def _numbers(self, name: str) -> np.ndarray:
        with self._reading():
            return self._file[f"index/{name}"][...]

    @cached_property
    def positions(self) -> np.ndarray:
        return self._numbers("position")

    @cached_property
    def start_s(self) -> np.ndarray:
        return self._numbers("start_s")

    @cached_property
    def end_s(self) -> np.ndarray:
        return self._numbers("end_s")

    @cached_property
    def provenance(self) -> dict[str, Any]:
        with self._reading():
            return json.loads(self._file["provenance"][...].tobytes().decode())

    @cached_property
    def labels(self) -> dict[str, Label]:
        """Every short column of the manifest that `imer` does not use itself."""
        found: dict[str, Label] = {}
        with self._reading():
            for key in self._file["labels"]:
                dataset = self._file["labels"][key]
                classes = None
                if key in self._file["classes"]:
                    classes = tuple(profile.decode_strings(self._file["classes"][key][...]))
                found[str(profile.read_attribute(dataset, "name"))] = Label(dataset[...], classes)
        return found

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Every label and further column of the manifest as text, for grouping (folds, sessions)."""
        found = {}
        for name, label in self.labels.items():
            if label.classes is None:
                found[name] = np.array([number_text(v) for v in label.values.tolist()], dtype=object)
            else:
                found[name] = np.array([label.classes[v] if v >= 0 else "" for v in label.values], dtype=object)
        with self._reading():
            for key in self._file["columns"]:
                name = str(profile.read_attribute(self._file["columns"][key], "name"))
                found[name] = self._texts(f"columns/{key}")
        return found

    @cached_property
    def quality(self) -> dict[str, np.ndarray]:
        """Modality → uint8 `Verdict` per utterance."""
        with self._reading():
            return {m: self._file[f"quality/{m}"][...] for m in ordered_modalities(self._file["quality"].keys())}

    @cached_property
    def sources(self) -> dict[str, np.ndarray]:
        """Modality → a digest of what each utterance's cell was made from; empty where nobody kept it."""
        with self._reading():
            group = self._file.get("sources", {})
            return {m: np.array(profile.decode_strings(values[...]), dtype=object) for m, values in group.items()}

    @cached_property
    def part(self) -> Part | None:
        """What this store is a part of, or None where it is a whole."""
        if "part" not in self._file:
            return None
        with self._reading():
            group = self._file["part"]
            shards = json.loads(str(profile.read_attribute(group, "shards")))
            return Part(group["row"][...], int(profile.read_attribute(group, "n_whole")), tuple(shards))

    def feature(self, modality: str, name: str | None = None) -> Feature:
        """Return one feature to read from without loading it whole."""
        with self._reading():
            return Feature(self.path, self._group(modality, name))

    def _read_specs(self) -> dict[str, dict[str, FeatureSpec]]:
        specs: dict[str, dict[str, FeatureSpec]] = {}
        for modality, features in self._file["features"].items():
            for group in features.values():
                name = str(profile.read_attribute(group, "name"))
                spec = FeatureSpec.from_json(str(profile.read_attribute(group, "spec")))
                specs.setdefault(modality, {})[name] = replace(
                    spec, dim_names=tuple(profile.decode_strings(group["dim_names"][...]))
                )
        return specs

    def _group(self, modality: str, name: str | None) -> h5py.Group:
        if modality not in self.specs:
            raise InvalidInput(
                f"{self.path} has no {modality} features; it has {listed(self.modalities) or 'none at all'}."
            )
        names = self.specs[modality]
        if name is None and len(names) > 1:
            raise InvalidInput(f"{self.path} has several {modality} features ({listed(names)}); name one of them.")
        chosen = next(iter(names)) if name is None else name
        if chosen not in names:
            raise InvalidInput(f"{self.path} has no {modality} feature {chosen!r}; {did_you_mean(chosen, names)}")
        for group in self._file[f"features/{modality}"].values():
            if profile.read_attribute(group, "name") == chosen:
                return group
        raise InvalidInput(f"{self.path}: the {modality} feature {chosen!r} is listed but not stored.")

    def ragged(self, modality: str, name: str | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (values [ΣT, D] float32, offsets [N+1], present [N]) of a feature."""
        with self._reading():
            group = self._group(modality, name)
            return group["values"][...], group["offsets"][...], group["present"][...].astype(bool)

    def vectors(self, modality: str, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (values [N, D] float32, present [N]): one row per utterance, NaN where not present.

        A frame-level feature is averaged over the utterance's frames.
        """
        feature = self.feature(modality, name)
        return feature.vectors(), feature.present

    def present_NM(self) -> np.ndarray:
        """Return which modalities each utterance really has, columns in the order of `modalities`."""
        columns = [self._present(modality) for modality in self.modalities]
        return np.stack(columns, axis=1) if columns else np.zeros((self.n, 0), dtype=bool)

    def _present(self, modality: str) -> np.ndarray:
        present = np.zeros(self.n, dtype=bool)
        with self._reading():
            for group in self._file[f"features/{modality}"].values():
                present |= group["present"][...].astype(bool)
        return present

    def verdict_counts(self) -> dict[str, dict[str, int]]:
        """Return modality → verdict name → number of utterances, verdicts that occur only."""
        counts: dict[str, dict[str, int]] = {}
        for modality, verdicts in self.quality.items():
            values, numbers = np.unique(verdicts, return_counts=True)
            counts[modality] = {Verdict(int(v)).name: int(c) for v, c in zip(values, numbers, strict=True)}
        return counts
