"""`imer eval`: how good a trained run is when modalities are missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imer.cli import options
from imer.cli.reporting import reporting

if TYPE_CHECKING:
    from imer.cli.output import Report
    from imer.evaluation.results import Evaluation
    from imer.evaluation.subject import Subject


def evaluate_command(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN_DIR", help="A run folder, from `imer train`; or a bundle, from `imer export`."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Argument(
            metavar="FEATURES.h5",
            help="The feature store; by default the one of the training (of a run, not a bundle).",
        ),
    ] = None,
    missing_rate: Annotated[
        str | None,
        typer.Option(
            help="A missing rate (0.5), a list (0,0.3), a grid start:stop:step with its end (0:0.7:0.1), or one per "
            "modality (audio=0.2,text=0.7)."
        ),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Observe only these modalities: at, or a,t,at, or all patterns with `all`.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(metavar="MASK.h5", help="A mask file, from `imer mask`.")] = None,
    mask_seeds: Annotated[int, typer.Option(metavar="K", help="Masks for each rate, with the seeds 0 … K − 1.")] = 5,
    protocol: Annotated[
        str | None,
        typer.Option(help="How a rate becomes a mask: nested (default), exact, bernoulli, instance or cpm."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for the results. Default: RUN_DIR/eval, replaced."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each metric means, and exit.")] = False,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Measure a run under missing modalities; without options, on the data as they are.

    The folds of a cross-validated run are pooled. Each rate is tried with several masks; intervals are 95 %, over
    dialogues. Writes metrics.json, results.tsv, predictions.jsonl and plots.
    """
    with reporting("eval", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.errors import UsageError
        from imer.metrics.definitions import DEFINITIONS, explanation

        if explain:
            report.extra = {"definitions": DEFINITIONS}
            report.line(explanation())
            return
        if run is None:
            raise UsageError("Name the run folder to evaluate: imer eval RUN_DIR.")

        from imer.evaluation.evaluate import EVALUATION_FOLDER, evaluate

        found = evaluate(
            _subject(run, features, out, device),
            features,
            missing_rate=missing_rate,
            pattern=pattern,
            mask=mask,
            protocol=protocol,
            mask_seeds=mask_seeds,
            split=split,
            out=out,
            overwrite=overwrite,
            device=device,
            progress=report.progress,
            notice=report.note,
        )
        _show(found, out or run / EVALUATION_FOLDER, report)


def _subject(path: Path, features: Path | None, out: Path | None, device: str) -> Path | Subject:
    """Return a run's path as it is, and a bundle opened.

    Raises UsageError where a bundle comes without data, or without a place for the results: it is not to be changed.
    """
    if not (path / "bundle.json").is_file():
        return path
    from imer.core.errors import UsageError
    from imer.core.files import followed

    if features is None or out is None or followed(out).is_relative_to(followed(path)):
        raise UsageError(
            f"{path} is a bundle, which has no data and is not written into: imer eval {path} FEATURES.h5 -o DIR."
        )
    from imer.export.bundle import bundle_subject

    return bundle_subject(path, device)


def _show(found: Evaluation, folder: Path, report: Report) -> None:
    from imer.evaluation.results import rounded
    from imer.evaluation.tables import condition_table, terminal_tables

    for warning in found.warnings:
        report.warn(warning)
    for path in sorted(folder.iterdir()):
        report.output(path)
    report.counts = found.counts
    document = found.to_json()
    kept = ["results", "summary", "run", "features", "task", "label", "modalities", "split", "baseline", "aulc_mr"]
    kept += ["diagnostics", *(["label_range"] if "label_range" in document else [])]  # classes have none
    report.extra = {name: document[name] for name in kept}
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    for title, table in terminal_tables(found) if on_terminal else [("", condition_table(found))]:
        report.table(title, *table)
    if found.aulc_mr:
        names = [name for name in found.metric_names if found.aulc_mr[name] is not None]
        areas = ", ".join(f"{name} {rounded(found.aulc_mr[name]):.3f}" for name in names)
        report.note(f"area under the curve over missing rates (AULC-MR): {areas}")
    report.note(f"tables and plots are in {folder}; `imer eval --explain` says what each metric means.")
