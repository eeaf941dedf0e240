"""What an extraction did, and the sentences that end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imer.core.errors import PartialFailure, listed


@dataclass
class ExtractSummary:
    """What an extraction did, or (after `plan_only`) would do."""

    output: Path
    n_utterances: int
    n_rows_broken: int
    cells: int
    reused: int
    tasks: int
    extractors: dict[str, str]
    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)
    content_sha256: str = ""
    errors_file: Path | None = None
    failed: int = 0
    stage_s: dict[str, float] = field(default_factory=dict)
    broken_rows: tuple[str, ...] = ()
    missing_files: tuple[str, ...] = ()  # of a plan: files that the manifest names and nobody finds


class Stopped(PartialFailure):
    """More items failed than was allowed. `summary` says how far it came; what is done is kept."""

    def __init__(self, sentence: str, summary: ExtractSummary) -> None:
        super().__init__(sentence)
        self.summary = summary


def failure_sentence(summary: ExtractSummary) -> str:
    """Return the sentence that ends an extraction in which something failed."""
    parts = [f"{summary.failed} of {summary.cells} items failed"] if summary.failed else []
    if summary.n_rows_broken:
        n = summary.n_rows_broken
        parts.append(f"{n} row{'s' * (n != 1)} of the manifest {'are' if n != 1 else 'is'} broken and left out")
    return f"{listed(parts)}; see {summary.errors_file}."
