"""`imer extract`: from clips and a manifest to a feature store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imer.cli import options
from imer.cli.reporting import reporting
from imer.core.errors import counted
from imer.core.types import Verdict

if TYPE_CHECKING:
    from imer.cli.output import Report
    from imer.extraction.summary import ExtractSummary


def extract_command(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="CSV, TSV or JSONL, one row an utterance.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FEATURES.h5", help="The feature store to write.")],
    audio: Annotated[str | None, typer.Option(help="Audio extractor, or none. See `imer ls extractors`.")] = None,
    text: Annotated[str | None, typer.Option(help="Text extractor, or none.")] = None,
    visual: Annotated[str | None, typer.Option(help="Visual extractor, or none.")] = None,
    level: Annotated[str, typer.Option(help="utterance: one vector each; frame: a sequence each.")] = "utterance",
    frames_per_s: Annotated[float, typer.Option("--fps", help="Video frames looked at per second.")] = 5.0,
    face_policy: Annotated[str, typer.Option(help="Whose face: largest, central or confident.")] = "largest",
    face_stride: Annotated[
        int, typer.Option(help="Search every N-th frame whole, those between around the faces.")
    ] = 8,
    face_precision: Annotated[
        str, typer.Option(help="float32, or bfloat16 (facenet: faster, less exact).")
    ] = "float32",
    face_weights: Annotated[Path | None, typer.Option(help="InceptionResnetV1 weights for --visual facenet.")] = None,
    sentence_model: Annotated[Path | None, typer.Option(help="Model folder for --text sentence-transformers.")] = None,
    download: Annotated[
        bool, typer.Option("--download/--offline", help="Allow fetching the face weights once.")
    ] = False,
    workers: Annotated[str, typer.Option(help="Worker processes; auto: one a core.")] = "auto",
    device: options.Device = "auto",
    engine: Annotated[str, typer.Option(help="local, or ray (Ray Data; the optional extra ray).")] = "local",
    address: Annotated[str | None, typer.Option(help="A Ray cluster; RAY_ADDRESS says it too.")] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts (0 is the N-th).")] = None,
    add: Annotated[
        Path | None, typer.Option(metavar="STORE.h5", help="Take over what this store holds already; compute the rest.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Continue what an earlier run left.")] = True,
    max_failures: Annotated[str | None, typer.Option(metavar="N|P%", help="Stop when more items have failed.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many utterances.")] = None,
    allow_outside: Annotated[bool, typer.Option(help="Media may lie outside the manifest's folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Extract audio, text and visual features of every utterance into one file.

    What a clip does not have (no such stream, silence, no face, empty text) is marked as not present; what fails is
    listed in errors.jsonl beside the output (exit code 3; a shard has a list of its own). After a kill or Ctrl-C the
    same command continues. With --add, modalities that are not named are extracted as in the store that is added to.
    """
    with reporting("extract", json=json, quiet=quiet, verbose=verbose, log_file=log_file, resumable=True) as report:
        from imer.core.errors import PartialFailure, UsageError, listed
        from imer.extraction.job import ExtractSettings
        from imer.extraction.runner import extract
        from imer.extraction.summary import Stopped, failure_sentence

        if not 0 < frames_per_s <= 1000:
            raise UsageError(f"--fps takes a number of frames per second above 0; found {frames_per_s:g}.")
        settings = ExtractSettings(
            workers, engine, shard, resume, max_failures, limit, overwrite=overwrite, allow_outside=allow_outside, add=add,
            address=address,
        )  # fmt: skip
        try:
            summary = extract(
                manifest, out, audio=audio, text=text, visual=visual, device=device, settings=settings, plan_only=dry_run,
                progress=report.progress, notice=report.note, level=level, frames_per_s=frames_per_s,
                face_policy=face_policy, face_stride=face_stride, face_precision=face_precision,
                face_weights=str(face_weights) if face_weights else None,
                sentence_model=str(sentence_model) if sentence_model else None, download=download,
            )  # fmt: skip
        except Stopped as stopped:
            _count(stopped.summary, report)
            if stopped.summary.errors_file is not None:
                report.output(stopped.summary.errors_file)
            raise
        report.stop_progress()
        _count(summary, report)
        report.extra = {"extractors": summary.extractors, "verdicts": summary.verdicts, "dry_run": dry_run}
        if dry_run:
            columns = ["utterances", "broken rows", "items", "done already", "tasks"]
            values = [summary.n_utterances, summary.n_rows_broken, summary.cells, summary.reused, summary.tasks]
            report.table("plan", columns, [values])
            if summary.broken_rows:
                report.warn(f"rows that cannot be used: {listed(summary.broken_rows, 3)}.")
            return
        report.extra |= {"content_sha256": summary.content_sha256, "stage_s": summary.stage_s}
        report.output(out)
        seen = [v.name for v in Verdict if any(v.name in counts for counts in summary.verdicts.values())]
        rows = [
            [modality, summary.extractors[modality], *(counts.get(name, 0) for name in seen)]
            for modality, counts in summary.verdicts.items()
        ]
        report.table("verdicts", ["modality", "extractor", *seen], rows)
        if summary.errors_file is not None:
            report.output(summary.errors_file)
            raise PartialFailure(failure_sentence(summary))


def _count(summary: ExtractSummary, report: Report) -> None:
    if summary.missing_files:
        n, first = len(summary.missing_files), ", ".join(summary.missing_files[:3])
        named = counted(n, "file that the manifest names does", "files that the manifest names do")
        report.warn(f"{named} not exist: {first}{', …' if n > 3 else ''}.")
    report.counts = {
        "utterances": summary.n_utterances,
        "broken_rows": summary.n_rows_broken,
        "cells": summary.cells,
        "reused": summary.reused,
        "tasks": summary.tasks,
        "failed": summary.failed,
    }
