"""Answers as a table, for a terminal or a spreadsheet: a row for each utterance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imer.training.trained_fold import TrainedFold

Table = tuple[list[str], list[list[object]]]


def answer_table(fold: TrainedFold, records: Sequence[dict[str, Any]], *, with_source: bool = False) -> Table:
    """Return the answers as columns and rows: what was said, how sure, and what became of each modality.

    Times stand in it where clips are cut, and `all_missing` where nothing of some utterance was observed; with `with_source`
    so do the file and the speaker, where any are known.
    """
    classes, modalities = fold.class_names, tuple(fold.modalities)
    wanted = ("media", "speaker", "start_s", "end_s") if with_source else ("start_s", "end_s")
    known = [name for name in wanted if any(line[name] is not None for line in records)]
    known += ["all_missing"] if any(line["all_missing"] for line in records) else []
    columns = ["utterance_id", *known, fold.label, *(f"p({name})" for name in classes)]
    columns += [part for name in modalities for part in (name, f"weight {name}")]
    rows = [
        [
            line["utterance_id"],
            *(_plain(line[name]) for name in known),
            line["prediction"],
            *(line["probabilities"][name] for name in classes),
            *(cell for name in modalities for cell in (_state(line, name), line["weights"][name])),
        ]
        for line in records
    ]
    return columns, rows


def _plain(value: Any) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _state(line: dict[str, Any], modality: str) -> str:
    """Say what became of a modality: observed, hidden by the mask, or why it is not there."""
    if modality in line["observed"]:
        return "observed"
    verdict = str(line["verdicts"][modality])
    return "hidden" if verdict == "ok" else verdict
