"""Write a feature store: a pure function of its contents, streamed, published in one step.

Layout (version 1):

    /                     attrs: format="imer-features", format_version, imer_version, n_utterances, content_sha256
    /provenance           JSON, UTF-8 bytes: how the content came to be
    /index/               utterance_id, dialogue_id, speaker, session, split, position, start_s, end_s,
                          text + text_offsets (UTF-8 bytes of all texts)
    /labels/<key>         float64 (NaN = unlabelled), or int64 (−1 = unlabelled); attr name: the manifest's column
    /classes/<key>        the class names of the integer label of this key
    /columns/<key>/       text + text_offsets: a manifest column too long to be a label, kept as it was
    /features/<modality>/<name>/{values (ΣT,D) float32, offsets (N+1,), present (N,), dim_names}  attrs: spec (JSON)
    /quality/<modality>   uint8 verdict per utterance (`imer.core.types.Verdict`)
    /sources/<modality>   optional: a digest of what each cell was made from (the file's content, the segment, the text)
    /part/row             in a shard only: the place of each utterance in the whole; attrs n_whole, shards
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imer.core.errors import InvalidInput
from imer.core.types import FeatureSpec, Utterance
from imer.store import profile
from imer.store.columns import Column, column_kinds, dataset_name, write_columns

PIECE_BYTES = 4 << 20  # of values handed on at a time


def in_chunks(arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Join float32 arrays [t, D] to a few megabytes at a time, in order; empty ones are left out."""
    held: list[np.ndarray] = []
    n_bytes = 0
    for values in arrays:
        if len(values):
            held.append(values)
            n_bytes += values.nbytes
        if n_bytes >= PIECE_BYTES:
            yield np.concatenate(held)
            held, n_bytes = [], 0
    if held:
        yield np.concatenate(held)


@dataclass(frozen=True)
class FeatureBlock:
    """One feature set of all N utterances.

    `chunks` are float32 arrays [t, D] which, in order, make up the values [ΣT, D]; utterance i has the rows
    offsets[i]:offsets[i+1] (one row at utterance level where present, some at frame level, none where not).
    """

    spec: FeatureSpec
    offsets: np.ndarray
    present: np.ndarray
    chunks: Iterable[np.ndarray]


@dataclass(frozen=True)
class Part:
    """Says that a store holds some utterances of a larger whole: their places in it, its size, and which shards."""

    rows: np.ndarray
    n_whole: int
    shards: tuple[str, ...]


def vector_block(spec: FeatureSpec, values_ND: np.ndarray, present_N: np.ndarray) -> FeatureBlock:
    """Make an utterance-level block from one row per utterance; rows that are not present are left out."""
    present = np.asarray(present_N, dtype=bool)
    offsets = profile.offsets_of(present)
    return FeatureBlock(spec, offsets, present, [np.ascontiguousarray(values_ND[present], dtype=np.float32)])


def write_store(
    path: Path,
    utterances: Sequence[Utterance],
    blocks: Iterable[FeatureBlock],
    quality: Mapping[str, np.ndarray],
    *,
    provenance: Mapping[str, Any] | None = None,
    columns: Mapping[str, Column] | None = None,
    sources: Mapping[str, Sequence[str]] | None = None,
    part: Part | None = None,
    overwrite: bool = False,
) -> str:
    """Write and publish a feature store; return its content digest.

    `columns` says what the manifest's own columns are (None: as these utterances have it); `sources` holds a digest of
    what each cell was made from, by modality; `part` is given where the utterances are a shard of a whole.

    Raises
    ------
    InvalidInput
        There are no utterances, or a block does not fit them.
    OutputExists
        `path` exists and `overwrite` is false.
    """
    if not utterances:
        raise InvalidInput(f"There is no utterance to write into {path}.")

    def fill(file: h5py.File) -> None:
        profile.put_attribute(file, "n_utterances", len(utterances))
        provenance_text = json.dumps(dict(provenance or {}), sort_keys=True, ensure_ascii=False)
        profile.put(file, "provenance", profile.encode_texts([provenance_text])[0])
        _write_index(file.create_group("index"), utterances)
        write_columns(file, utterances, column_kinds(utterances) if columns is None else columns)
        features = file.create_group("features")
        for block in blocks:
            _write_block(features, block, len(utterances), path)
        verdicts = file.create_group("quality")
        for modality, values in quality.items():
            profile.put(verdicts, modality, np.asarray(values, dtype=np.uint8))
        if sources is not None:
            made_from = file.create_group("sources")
            for modality, digests in sources.items():
                profile.put(made_from, modality, profile.encode_strings(digests))
        if part is not None:
            group = file.create_group("part")
            profile.put(group, "row", np.asarray(part.rows, dtype=np.int64))
            profile.put_attribute(group, "n_whole", part.n_whole)
            profile.put_attribute(group, "shards", json.dumps(part.shards))

    return profile.publish(path, profile.STORE, fill, overwrite=overwrite)


def _write_index(group: h5py.Group, utterances: Sequence[Utterance]) -> None:
    for name in ("utterance_id", "dialogue_id", "speaker", "session", "split"):
        profile.put(group, name, profile.encode_strings(getattr(u, name) for u in utterances))
    profile.put(group, "position", np.array([u.position for u in utterances], dtype=np.int64))
    for name in ("start_s", "end_s"):
        seconds = [math.nan if getattr(u, name) is None else getattr(u, name) for u in utterances]
        profile.put(group, name, np.array(seconds, dtype=np.float64))
    joined, offsets = profile.encode_texts(u.text or "" for u in utterances)
    profile.put(group, "text", joined)
    profile.put(group, "text_offsets", offsets)


def _write_block(features: h5py.Group, block: FeatureBlock, n: int, path: Path) -> None:
    spec = block.spec
    where = f"{path}: the {spec.modality} feature {spec.extractor}"
    if len(block.offsets) != n + 1 or len(block.present) != n:
        raise InvalidInput(f"{where} has {len(block.present)} rows for {n} utterances.")
    modality = features.require_group(spec.modality)
    group = modality.create_group(dataset_name(spec.extractor))
    profile.put_attribute(group, "name", spec.extractor)
    profile.put_attribute(group, "spec", replace(spec, dim_names=()).to_json())
    profile.put(group, "dim_names", profile.encode_strings(spec.dim_names))
    profile.put(group, "offsets", np.asarray(block.offsets, dtype=np.int64))
    profile.put(group, "present", np.asarray(block.present, dtype=np.uint8))
    total = int(block.offsets[-1])
    values = profile.create_dataset(group, "values", (total, spec.dim), np.float32)
    row = 0
    for chunk in block.chunks:
        if chunk.ndim != 2 or chunk.shape[1] != spec.dim or row + len(chunk) > total:
            raise InvalidInput(
                f"{where}: a chunk of shape {chunk.shape} does not fit {total} rows of {spec.dim} values."
            )
        if not np.isfinite(chunk).all():
            raise InvalidInput(f"{where} holds NaN or infinite values; such rows must be marked as not present.")
        if len(chunk):
            values[row : row + len(chunk)] = chunk
        row += len(chunk)
    if row != total:
        raise InvalidInput(f"{where}: {row} rows of values came for {total} that its offsets name.")
