"""Answers as a table, for a terminal or a spreadsheet: a row for each utterance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imer.training.trained_fold import TrainedFold

Table = tuple[list[str], list[list[object]]]


def answer_table(fold: TrainedFold, records: Sequence[dict[str, Any]]) -> Table:
    """Return the answers as columns and rows: what was said, how sure, and what became of each modality."""
    classes, modalities = fold.class_names, tuple(fold.modalities)
    cut = ["start_s", "end_s"] if any(line["start_s"] is not None for line in records) else []
    columns = ["utterance_id", *cut, fold.label, *(f"p({name})" for name in classes)]
    columns += [part for name in modalities for part in (name, f"weight {name}")]
    rows = [
        [
            line["utterance_id"],
            *(line[name] for name in cut),
            line["prediction"],
            *(line["probabilities"][name] for name in classes),
            *(cell for name in modalities for cell in (_state(line, name), line["weights"][name])),
        ]
        for line in records
    ]
    return columns, rows


def _state(line: dict[str, Any], modality: str) -> str:
    """Say what became of a modality: observed, hidden by the mask, or why it is not there."""
    if modality in line["observed"]:
        return "observed"
    verdict = str(line["verdicts"][modality])
    return "hidden" if verdict == "ok" else verdict
