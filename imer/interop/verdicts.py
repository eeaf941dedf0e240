"""What became of each modality, as columns beside exported features: written by `imer data export`, taken back by `import`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from imer.core.types import Utterance, Verdict


def new_column(modality: str, columns: Collection[str]) -> str:
    """Return a name for the verdicts of a modality that none of the `columns` has."""
    name = f"{modality}_verdict"
    while name in columns:
        name = f"imer_{name}"
    return name


def take_verdicts(
    utterances: Sequence[Utterance], found: Mapping[str, np.ndarray]
) -> tuple[list[Utterance], dict[str, np.ndarray]]:
    """Say why a modality is not present as the store said it that the features were exported from.

    Only a column that says ok of just those utterances [N] whose values were `found` is taken, by modality, and is no label
    any more; any other is the user's own and stays. What was found to be no number stays so.
    """
    rows, verdicts = list(utterances), dict(found)
    for modality, found_N in found.items():
        name = _last_column(modality, rows[0].labels) if rows else ""
        cells = [row.labels.get(name, "") for row in rows]
        if not all(cell in Verdict.__members__ for cell in cells):
            continue
        said_N = np.array([Verdict[cell] for cell in cells])
        if not np.array_equal(said_N == Verdict.ok, found_N == Verdict.ok):
            continue
        verdicts[modality] = np.where(found_N == Verdict.no_stream, said_N, found_N)
        rows = [replace(row, labels={k: v for k, v in row.labels.items() if k != name}) for row in rows]
    return rows, verdicts


def _last_column(modality: str, columns: Collection[str]) -> str:
    """Return the column that `new_column` named, among those that were there before."""
    name = f"{modality}_verdict"
    while f"imer_{name}" in columns:
        name = f"imer_{name}"
    return name
