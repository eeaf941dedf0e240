"""Where the figures of a report come from: its runs and their data, with digests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imer.comparison.document import (
    Block,
    Grid,
    Heading,
    Paragraph,
)
from imer.comparison.evaluated_run import EvaluatedRun, joint_digest
from imer.comparison.methods import Method, known_settings
from imer.core.errors import listed
from imer.evaluation.tables import UNDEFINED


def methods_section(sections: Sequence[Sequence[Method]]) -> list[Block]:
    """Say where the figures of a results table come from, one row per method and data set."""
    rows = []
    for methods in sections:
        for method in methods:
            facts = [run.evaluation.run for run in method.runs]
            selected = facts[0].get("selected") or {}
            features = method.evaluation.features
            rows.append(
                [
                    Path(str(features["path"])).name,
                    str(features["content_sha256"])[:16],
                    method.name,
                    str(len(facts)),
                    str(known_settings(method.runs[0])["train.members"]),
                    f"best {selected.get('metric', UNDEFINED)} on {selected.get('on', UNDEFINED)}",
                    "yes: not an honest estimate" if any(one.get("optimistic") for one in facts) else "no",
                    joint_digest(facts)[:16],
                ]
            )
    columns = [
        "features",
        "content sha256",
        "method",
        "seeds",
        "members",
        "epoch chosen by",
        "optimistic",
        "runs sha256",
    ]
    caption = "First 16 digits of the digests; that of the runs is over the digests of their checkpoints, in order."
    told = [(method.name, run) for methods in sections for method in methods for run in method.runs]
    return [Heading("Runs"), Grid((columns, rows), caption), *_relative_to_speakers(told)]


def _relative_to_speakers(runs: Sequence[tuple[str, EvaluatedRun]]) -> list[Block]:
    """Say which of the named runs know who speaks."""
    knowing = list(dict.fromkeys(name for name, run in runs if run.evaluation.run.get("within_speaker")))
    if not knowing:
        return []
    return [
        Paragraph(
            f"Features are taken relative to their speaker in {listed(knowing, 20)}: these figures hold where speakers are "
            "known and have as many utterances."
        )
    ]


def runs_section(runs: Sequence[EvaluatedRun]) -> list[Block]:
    """Say where the figures of a report come from, one row per run, and what their data are."""
    rows: list[list[str]] = []
    data: dict[str, dict[str, Any]] = {}
    for run in runs:
        facts, features = run.evaluation.run, run.evaluation.features
        optimistic = "yes: not an honest estimate" if facts.get("optimistic") else "no"
        seed = facts.get("seed")
        rows.append(
            [
                str(facts["path"]),
                UNDEFINED if seed is None else str(seed),
                str(facts["sha256"])[:16],
                str(facts.get("selection", UNDEFINED)),
                optimistic,
            ]
        )
        of_store = data.setdefault(str(features["content_sha256"]), {**features, "modalities": {}})
        of_store["modalities"] |= features.get("modalities", {})
    columns = ["run", "seed", "sha256", "epoch chosen by", "optimistic"]
    blocks: list[Block] = [
        Heading("Runs"),
        Grid(
            (columns, rows),
            "sha256: over the files of the checkpoint, first 16 digits (`imer data verify RUN/checkpoint`).",
        ),
        *_relative_to_speakers([(str(run.evaluation.run["path"]), run) for run in runs]),
    ]
    cells = []
    for features in data.values():
        for modality, facts in features.get("modalities", {}).items():
            verdicts = ", ".join(f"{name} {count}" for name, count in facts.get("verdicts", {}).items())
            counts = f"{facts['present']} of {features['utterances']}"
            cells.append(
                [str(features["path"]), modality, facts["feature"], str(facts["dim"]), counts, verdicts or UNDEFINED]
            )
    if cells:
        columns = ["features", "modality", "feature set", "values", "present", "verdicts"]
        digests = "; ".join(f"{Path(str(f['path'])).name} {digest[:16]}" for digest, f in data.items())
        blocks += [Heading("Data"), Grid((columns, cells), f"Content sha256 (first 16 digits): {digests}.")]
    return blocks
