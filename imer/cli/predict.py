"""`imer predict`: what a trained model says of clips, of a manifest's utterances, or of a feature store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imer.cli import options
from imer.cli.output import Report
from imer.cli.reporting import reporting
from imer.core.errors import counted

if TYPE_CHECKING:
    from imer.export.predict import Predicted


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN_DIR|BUNDLE", help="A run of `imer train`, or a bundle.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="CLIP…|MANIFEST|FEATURES.h5", help="Clips or folders of them, a manifest, or a store."),
    ],
    text: Annotated[
        str | None,
        typer.Option(help="What is said in a single clip. Default: the .srt, .vtt or .txt file of its name beside it."),
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(help="Who speaks in the clips, for a model that is told to know its speakers.")
    ] = None,
    window: options.Window = None,
    whole: options.Whole = False,
    channels: options.Channels = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PREDICTIONS.jsonl",
            help="Write a JSON line for each utterance, or a table (.csv, .tsv); - is stdout.",
        ),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            help="Which fold of a cross-validated run, or all: their mean. Default: the best on its validation part."
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="MASK.h5", help="Hide modalities by a file of `imer mask`.")
    ] = None,
    face_weights: Annotated[Path | None, typer.Option(help="Face weights, for a model that reads facenet.")] = None,
    sentence_model: Annotated[
        Path | None, typer.Option(help="Model folder, for a model that reads sentence-transformers.")
    ] = None,
    accept_versions: Annotated[
        bool, typer.Option("--accept-versions", help="Also use other versions of the extractors than in training.")
    ] = False,
    allow_outside: Annotated[bool, typer.Option(help="Media may lie outside the manifest's folder.")] = False,
    workers: Annotated[str, typer.Option(help="Worker processes for extraction; auto: one a core.")] = "auto",
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Predict emotion or sentiment from raw clips, or from features.

    From clips, exactly the features that the model was trained on are extracted. What a clip lacks counts as missing;
    a clip that cannot be read is listed (errors.jsonl beside the output, exit code 3) and all others are answered.
    Utterances of one dialogue of a manifest are answered together, in order. A clip with a timed transcript beside it
    (.srt, .vtt) is answered cue by cue, others as a whole or in windows. With -o, a prediction that was interrupted
    goes on by the same command from the clips that were read.
    """
    streamed = str(out) == "-"
    kept = out is not None and not streamed  # where work that is done stays when the command is interrupted
    with reporting("predict", json=json, quiet=quiet, verbose=verbose, log_file=log_file, resumable=kept) as report:
        from imer.core.errors import PartialFailure, UsageError
        from imer.core.json_lines import as_json_lines
        from imer.core.locks import output_lock
        from imer.export.clips import Extraction
        from imer.export.predict import predict as answer
        from imer.media.clips import Cutting

        how = Extraction(
            workers=workers,
            device=device,
            face_weights=None if face_weights is None else str(face_weights),
            sentence_model=None if sentence_model is None else str(sentence_model),
            allow_outside=allow_outside,
            accept_versions=accept_versions,
        )
        if streamed and json:
            raise UsageError(
                "-o - streams the predictions to stdout, where --json puts its document; give one of them."
            )
        out = None if streamed else out
        with output_lock(out, report.note):
            found = answer(
                model,
                inputs,
                text=text,
                speaker=speaker,
                cutting=Cutting(window, whole, options.names(channels)),
                out=out,
                fold=fold,
                mask=mask,
                how=how,
                overwrite=overwrite,
                progress=report.progress,
                notice=report.note,
            )
        report.stop_progress()
        _show(found, out, report)
        if streamed:
            report.tables.clear()
            report.text = as_json_lines(found.answered.records).splitlines()
        if found.errors:
            if found.errors_file is not None:
                report.output(found.errors_file)
            else:
                for line in found.errors:
                    report.warn(f"{line['utterance_id'] or 'a row'}: {line['message']}")
            where = f"see {found.errors_file}" if found.errors_file else "they are named above"
            raise PartialFailure(
                f"{counted(len(found.errors), 'item', 'items')} failed, "
                f"{counted(len(found.answered.records), 'was', 'were')} answered; {where}."
            )


def _show(found: Predicted, out: Path | None, report: Report) -> None:
    from imer.export.table import answer_table

    for note in found.notes:
        report.note(note)
    for warning in found.warnings:
        report.warn(warning)
    records, fold = found.answered.records, found.fold
    report.counts = {
        "utterances": len(records) + len(found.answered.unanswered),
        "answered": len(records),
        "all_missing": sum(line["all_missing"] for line in records),
        "failed": len(found.errors),
    }
    report.extra = {
        "task": fold.task,
        "label": fold.label,
        "class_names": list(fold.class_names),
        "fold": fold.name or None,
        "unanswered": list(found.answered.unanswered),
        "errors": list(found.errors),
    }
    if out is not None:
        report.output(out)
        report.table("predictions", ["output", "label", "answered"], [[out, fold.label, len(records)]])
        return
    report.extra["predictions"] = list(records)
    report.table(f"{fold.label}", *answer_table(fold, records))
