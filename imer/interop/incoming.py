"""What importers have in common: from features by utterance to the blocks of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, listed
from imer.core.files import sha256_file
from imer.core.types import FeatureSpec, Utterance, Verdict, ordered_modalities
from imer.interop.verdicts import take_verdicts
from imer.store import profile
from imer.store.writer import FeatureBlock, in_chunks, write_store


@dataclass(frozen=True)
class Imported:
    """What an import gave: the store's digest, how many values were not numbers and became 0, and what a user should know."""

    content_sha256: str
    n_utterances: int
    n_mended: int = 0
    notes: tuple[str, ...] = ()


@dataclass
class Incoming:
    """One modality as it comes in: float arrays [T, D] by utterance, None where it is not present."""

    name: str
    level: str
    values: list[np.ndarray | None]
    hop_s: float | None = None
    dim_names: tuple[str, ...] = ()


def write_import(
    out: Path,
    utterances: Sequence[Utterance],
    columns: Mapping[str, Incoming],
    files: Sequence[Path],
    command: str,
    *,
    overwrite: bool,
    n_mended: int = 0,
) -> Imported:
    """Write the store of an import. Values that are no finite numbers become 0, as their makers' own readers do it.

    `n_mended` of them became 0 already, before their utterances' means were taken.

    Raises
    ------
    InvalidInput
        There is no utterance, or the widths of a modality differ.
    OutputExists
        `out` exists and `overwrite` is false.
    """
    blocks: list[FeatureBlock] = []
    quality: dict[str, np.ndarray] = {}
    for modality in ordered_modalities(columns):
        column = columns[modality]
        given = [v is not None and v.size > 0 for v in column.values]
        # What is no number throughout was never measured; it is not present, as in arrays.
        values = [v if v is not None and np.isfinite(v).any() else None for v in column.values]
        widths = Counter(v.shape[1] for v in values if v is not None)
        if not widths:
            raise InvalidInput(
                f"The {modality} feature {column.name} has numbers for no utterance: do the ids, or the intervals, fit those "
                "of the labels?"
            )
        usual = widths.most_common(1)[0][0]
        if len(widths) > 1:
            odd = [
                u.utterance_id for u, v in zip(utterances, values, strict=True) if v is not None and v.shape[1] != usual
            ]
            raise InvalidInput(
                f"The {modality} feature {column.name} must have one width for all utterances; found: "
                f"{listed(map(str, sorted(widths)))}. Other than {usual} have {listed(odd, 5)}."
            )
        chunks = [np.asarray(v, dtype=np.float32) for v in values if v is not None]
        n_mended += sum(int(chunk.size - np.isfinite(chunk).sum()) for chunk in chunks)
        chunks = [np.where(np.isfinite(chunk), chunk, np.float32(0)) for chunk in chunks]
        present = np.array([v is not None for v in values])
        counts = [0 if v is None else len(v) for v in values]
        spec = FeatureSpec(modality, column.name, "1", column.level, usual, column.hop_s, dim_names=column.dim_names)
        blocks.append(FeatureBlock(spec, profile.offsets_of(counts), present, in_chunks(chunks)))
        quality[modality] = np.where(present, Verdict.ok, np.where(given, Verdict.non_finite, Verdict.no_stream))
    provenance: dict[str, Any] = {
        "command": command,
        "files": [{"name": path.name, "sha256": sha256_file(path)} for path in files],
        "non_finite_values_set_to_0": n_mended,
    }
    rows, quality = take_verdicts(utterances, quality)
    digest = write_store(out, rows, blocks, quality, provenance=provenance, overwrite=overwrite)
    return Imported(digest, len(utterances), n_mended)


def trimmed(values_TD: np.ndarray) -> np.ndarray | None:
    """Return a padded sequence without the zero rows at its end; None where every row is zero."""
    used = np.flatnonzero(np.any(values_TD != 0, axis=1))
    return values_TD[: used[-1] + 1] if len(used) else None
