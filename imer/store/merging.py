"""Put the parts of one extraction together: the store of an extraction that was never split, to the byte of its content.

Values are streamed from part to whole, so that memory does not grow with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.types import FeatureSpec, Utterance, ordered_modalities
from imer.store import profile
from imer.store.columns import Column
from imer.store.feature import Feature
from imer.store.reader import FeatureStore
from imer.store.writer import PIECE_BYTES, FeatureBlock, Part, in_chunks, write_store


@dataclass(frozen=True)
class Merged:
    """What a merge gave: the digest, how many utterances of how many, and which shards they came from."""

    content_sha256: str
    n_utterances: int
    n_whole: int
    shards: tuple[str, ...]
    n_repeated: int


@dataclass(frozen=True)
class _Place:
    """Where an utterance of the whole is to be found."""

    store: int
    index: int


def merge_stores(paths: Sequence[Path], out: Path, *, allow_missing: bool = False, overwrite: bool = False) -> Merged:
    """Merge the stores that `imer extract --shard I/N` wrote of one manifest into one; their order does not matter.

    An utterance that is in several parts must be the same in all. With `allow_missing` the result may lack shards; it
    is then itself a part, which can be merged with the others later.

    Raises
    ------
    UsageError
        No part is given.
    InvalidInput
        A file is damaged or no part of an extraction, two parts are of different extractions or disagree about an
        utterance, or utterances are missing.
    OutputExists
        `out` exists and `overwrite` is false.
    """
    if not paths:
        raise UsageError("Name the stores to merge, such as shards/*.h5.")
    with ExitStack() as opened:
        stores = [opened.enter_context(FeatureStore.open(path)) for path in paths]
        parts = [_part(store) for store in stores]
        for store, part in zip(stores[1:], parts[1:], strict=True):
            _check_alike(stores[0], parts[0], store, part)
        places, repeated = _places(stores, parts)
        shards = _shards(parts)
        n_whole = parts[0].n_whole
        if len(places) < n_whole and not allow_missing:
            raise InvalidInput(_missing(shards, n_whole - len(places), n_whole))
        rows = sorted(places)
        order = [places[row] for row in rows]
        utterances = _utterances(stores, order)
        modalities = stores[0].modalities
        blocks = [
            _block(spec, [store.feature(modality, name) for store in stores], order)
            for modality in modalities
            for name, spec in stores[0].specs[modality].items()
        ]
        digest = write_store(
            out,
            utterances,
            blocks,
            {m: _gathered([store.quality[m] for store in stores], order) for m in stores[0].quality},
            provenance=stores[0].provenance,
            columns=_columns(stores[0]),
            sources=_sources(stores, order),
            part=None if len(rows) == n_whole else Part(np.array(rows), n_whole, shards),
            overwrite=overwrite,
        )
    with FeatureStore.open(out) as whole:
        if whole.content_sha256 != digest:
            raise InvalidInput(f"{out} is not what was written to it; the disk may be failing.")
    return Merged(digest, len(rows), n_whole, shards, len(repeated))


def _sources(stores: Sequence[FeatureStore], order: Sequence[_Place]) -> dict[str, list[str]] | None:
    """Return what each cell was made from, where any part says it; empty for the rows of those that do not."""
    kept = {modality for store in stores for modality in store.sources}
    unknown = [np.full(store.n, "", dtype=object) for store in stores]
    return {
        m: _gathered([s.sources.get(m, none) for s, none in zip(stores, unknown, strict=True)], order).tolist()
        for m in ordered_modalities(kept)
    } or None


def _part(store: FeatureStore) -> Part:
    if store.part is None:
        raise InvalidInput(
            f"{store.path} is a whole store, not a shard: only what `imer extract --shard I/N` wrote can be merged; "
            "to add utterances or a modality to it, use `imer extract --add`."
        )
    return store.part


def _check_alike(first: FeatureStore, part: Part, other: FeatureStore, other_part: Part) -> None:
    """Refuse two parts that are not of one extraction, and say in what they differ."""

    def prints(store: FeatureStore) -> dict[str, str]:
        return {f"{m} by {name}": spec.fingerprint for m in store.modalities for name, spec in store.specs[m].items()}

    ours, theirs = prints(first), prints(other)
    pair = f"{first.path} and {other.path} are not shards of one extraction"
    if ours.keys() != theirs.keys():
        raise InvalidInput(f"{pair}: one holds {listed(ours)}, the other {listed(theirs)}.")
    for what, fingerprint in ours.items():
        if theirs[what] != fingerprint:
            raise InvalidInput(
                f"{pair}: their {what} was made with different settings or versions; extract one of them again."
            )
    if first.provenance != other.provenance or part.n_whole != other_part.n_whole:
        names = sorted(set(first.provenance) | set(other.provenance))
        differing = [n for n in names if first.provenance.get(n) != other.provenance.get(n)] or ["number of utterances"]
        raise InvalidInput(f"{pair}: they differ in {listed(differing)}; extract all shards from the same manifest.")
    if _columns(first) != _columns(other):
        raise InvalidInput(f"{pair}: their labels have different classes; extract all shards from the same manifest.")


def _columns(store: FeatureStore) -> dict[str, Column]:
    columns = {
        name: Column("number") if label.classes is None else Column("class", label.classes)
        for name, label in store.labels.items()
    }
    return columns | {name: Column("text") for name in store.columns if name not in columns}


def _places(stores: Sequence[FeatureStore], parts: Sequence[Part]) -> tuple[dict[int, _Place], list[int]]:
    """Return where each utterance of the whole is, and which are there more than once (and the same each time).

    Of those, the one is taken of which most is known what it was made from, whatever the order of the parts.
    """
    known = [
        sum(((values != "").astype(int) for values in store.sources.values()), np.zeros(store.n, int))
        for store in stores
    ]
    places: dict[int, _Place] = {}
    repeated: list[int] = []
    for number, part in enumerate(parts):
        for index, row in enumerate(part.rows.tolist()):
            if row not in places:
                places[row] = _Place(number, index)
                continue
            before = places[row]
            _check_same(stores[before.store], before.index, stores[number], index)
            repeated.append(row)
            if known[number][index] > known[before.store][before.index]:
                places[row] = _Place(number, index)
    return places, repeated


def _check_same(first: FeatureStore, i: int, other: FeatureStore, j: int) -> None:
    """Refuse an utterance that two parts tell differently."""
    name = first.utterance_ids[i]
    clash = f"{first.path} and {other.path} overlap, and differ in utterance {name}"
    if other.utterance_ids[j] != name:
        raise InvalidInput(f"{clash}, which the second calls {other.utterance_ids[j]}; keep one of the files.")
    for modality in first.modalities:
        if first.quality[modality][i] != other.quality[modality][j]:
            raise InvalidInput(f"{clash}: its {modality} has another verdict in each; keep one of the files.")
        for feature in first.specs[modality]:
            values = first.feature(modality, feature).of(i)
            if not np.array_equal(values, other.feature(modality, feature).of(j)):
                raise InvalidInput(f"{clash}: its {modality} values are not the same; keep one of the files.")


def _shards(parts: Sequence[Part]) -> tuple[str, ...]:
    return tuple(sorted({shard for part in parts for shard in part.shards}, key=_shard_key))


def _shard_key(shard: str) -> tuple[int, int]:
    index, count = shard.split("/")
    return int(count), int(index)


def _missing(shards: Sequence[str], n_missing: int, n_whole: int) -> str:
    counts = {_shard_key(shard)[0] for shard in shards}
    what = f"{n_missing} of {n_whole} utterances are missing"
    if len(counts) == 1:
        (count,) = counts
        here = {_shard_key(shard)[1] for shard in shards}
        absent = [f"{index}/{count}" for index in range(1, count + 1) if index not in here]
        what += f": no file holds shard {listed(absent)}" if absent else ", although every shard is here"
    return f"{what}; extract what is missing and merge again, or add --allow-missing to merge what there is."


def _gathered(values: Sequence[np.ndarray], order: Sequence[_Place]) -> np.ndarray:
    """Return one value an utterance of the whole, from the parts' values."""
    first = np.cumsum([0, *(len(v) for v in values)])
    return np.concatenate(values)[[int(first[place.store]) + place.index for place in order]]


def _utterances(stores: Sequence[FeatureStore], order: Sequence[_Place]) -> list[Utterance]:
    rows = [_utterances_of(store) for store in stores]
    return [rows[place.store][place.index] for place in order]


def _utterances_of(store: FeatureStore) -> list[Utterance]:
    """Return a store's utterances as the manifest had them (but for their paths, which a store does not keep)."""
    cells = {name: values.tolist() for name, values in store.columns.items()}
    index: Mapping[str, Any] = {
        "utterance_id": store.utterance_ids, "dialogue_id": store.dialogue_ids, "position": store.positions,
        "speaker": store.speakers, "session": store.sessions, "split": store.splits, "text": store.texts,
    }  # fmt: skip
    table = [values.tolist() for values in index.values()]
    seconds = [[None if math.isnan(v) else v for v in values.tolist()] for values in (store.start_s, store.end_s)]
    return [
        Utterance(
            **dict(zip(index, row, strict=True)), line=i + 2, start_s=seconds[0][i], end_s=seconds[1][i],
            labels={name: values[i] for name, values in cells.items()},
        )
        for i, row in enumerate(zip(*table, strict=True))
    ]  # fmt: skip


def _block(spec: FeatureSpec, features: Sequence[Feature], order: Sequence[_Place]) -> FeatureBlock:
    counts = _gathered([np.diff(feature.offsets) for feature in features], order)
    offsets = profile.offsets_of(counts)
    return FeatureBlock(spec, offsets, _gathered([f.present for f in features], order), _chunks(features, order))


def _chunks(features: Sequence[Feature], order: Sequence[_Place]) -> Iterator[np.ndarray]:
    """Yield the values in the whole's order, a few megabytes at a time. Each part is read from front to back."""
    windows = [_Window(feature) for feature in features]
    return in_chunks(windows[place.store].of(place.index) for place in order)


class _Window:
    """Reads a feature ahead, a few megabytes at once: one read of HDF5 for many utterances."""

    def __init__(self, feature: Feature) -> None:
        self._feature = feature
        self._ahead = max(PIECE_BYTES // (4 * max(feature.dim, 1)), 1)
        self._first = 0
        self._rows = np.zeros((0, feature.dim), dtype=np.float32)

    def of(self, index: int) -> np.ndarray:
        first, stop = int(self._feature.offsets[index]), int(self._feature.offsets[index + 1])
        if first < self._first or stop > self._first + len(self._rows):
            self._rows = self._feature.rows(first, max(stop, first + self._ahead))
            self._first = first
        return self._rows[first - self._first : stop - self._first]
