"""From staged cells to the store: a pure function of them, in manifest order, streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput
from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.extraction.staging import StagedCell, Staging
from imer.store import profile
from imer.store.columns import Column
from imer.store.reader import FeatureStore
from imer.store.writer import FeatureBlock, Part, in_chunks, write_store


def pack(
    path: Path,
    utterances: Sequence[Utterance],
    specs: Mapping[str, FeatureSpec],
    staging: Staging,
    provenance: Mapping[str, Any],
    *,
    columns: Mapping[str, Column],
    sources: Mapping[str, Sequence[str]],
    part: Part | None,
    overwrite: bool,
) -> str:
    """Write the store, read it back whole, and return its content digest. Every cell must be staged.

    `columns`, `sources` and `part` are what `imer.store.writer.write_store` takes.

    Raises
    ------
    InvalidInput
        The written file does not verify, or a shard cannot be read.
    OutputExists
        `path` exists and `overwrite` is false.
    """
    staged = {m: [staging.cells[u.utterance_id, m] for u in utterances] for m in specs}
    blocks = [_block(specs[modality], cells, staging) for modality, cells in staged.items()]
    quality = {m: np.array([cell.verdict for cell in cells], dtype=np.uint8) for m, cells in staged.items()}
    digest = write_store(
        path,
        utterances,
        blocks,
        quality,
        provenance=provenance,
        columns=columns,
        sources=sources,
        part=part,
        overwrite=overwrite,
    )
    with FeatureStore.open(path, verify=True) as store:
        if store.content_sha256 != digest:
            raise InvalidInput(f"{path} is not what was written to it; the disk may be failing.")
    return digest


def _block(spec: FeatureSpec, cells: Sequence[StagedCell], staging: Staging) -> FeatureBlock:
    present = np.array([cell.verdict is Verdict.ok for cell in cells], dtype=bool)
    offsets = profile.offsets_of([cell.n_rows for cell in cells])
    return FeatureBlock(spec, offsets, present, in_chunks(staging.values(cell) for cell in cells if cell.n_rows))
