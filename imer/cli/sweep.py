"""`imer sweep`: many runs with one command: models × settings × missing rates × seeds, and the table of them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imer.cli import options
from imer.cli.reporting import reporting

if TYPE_CHECKING:
    from imer.cli.output import Report
    from imer.experiments.runner import SweepResult


def sweep_command(
    features: Annotated[Path, typer.Argument(metavar="FEATURES.h5", help="A feature store, from `imer extract`.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="SWEEP_DIR", help="The folder to write.")],
    models: Annotated[str | None, typer.Option(help="Models, such as comp,transformer,mlp. Default: comp.")] = None,
    heads: Annotated[str | None, typer.Option(help="Output heads of each model that takes one: linear,dpl.")] = None,
    presets: Annotated[str | None, typer.Option(help="Shipped presets, each a method of its own.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings of all runs.")] = None,
    label: Annotated[str | None, typer.Option(help="The label column. Default: emotion, or sentiment.")] = None,
    modalities: Annotated[str | None, typer.Option(help="Which modalities to use, such as audio,text.")] = None,
    folds: Annotated[str | None, typer.Option(help="Cross-validate each run: session, speaker, COLUMN or N.")] = None,
    protocols: Annotated[
        str, typer.Option(help="How modalities are hidden in training: mixed,matched,… Matched: a model for each rate.")
    ] = "mixed",
    missing_rates: Annotated[
        str | None,
        typer.Option(
            "--missing-rates",
            "--missing-rate",
            help="Rates to judge at, and to match: 0:0.7:0.1 or 0,0.3. Default: the reachable ones of 0:0.7:0.1.",
        ),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Also judge with only these modalities: a,at or `all` (not matched models).")
    ] = None,
    seeds: Annotated[str, typer.Option(help="A number of training seeds (5: 0 … 4), or seeds such as 0,3,7.")] = "5",
    mask_seeds: Annotated[int, typer.Option(metavar="K", help="Masks for each missing rate.")] = 5,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V", help="Settings to cross, such as model.hidden=64,96; validation chooses. Repeatable."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting (`imer ls settings`), for every run that knows it. Repeatable.",
        ),
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of each stage.")] = None,
    jobs: Annotated[str, typer.Option(metavar="N|auto", help="Processes at a time, one thread each.")] = "auto",
    device: options.Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and how far they are, and stop.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make runs again that were made with other settings or features.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Train and evaluate many runs, several at a time, and put them into one table.

    SWEEP_DIR/runs holds one ordinary run folder for each model, protocol, setting, rate and seed; table.md has mean ± sd
    over seeds and paired differences to the best baseline. Settings of a grid are chosen on validation data alone. The
    same command goes on where it was stopped, and may ask for more (seeds, models, rates). Runs that fail are listed in
    errors.jsonl (exit code 3), the others go on.
    """
    with reporting("sweep", json=json, quiet=quiet, verbose=verbose, log_file=log_file, resumable=True) as report:
        from imer.core.errors import PartialFailure
        from imer.core.settings import stray_variables
        from imer.evaluation.conditions import parse_rate_grid
        from imer.experiments.plan import Asked, parse_seeds
        from imer.experiments.runner import ERRORS_FILE, sweep
        from imer.training.listener import Listener
        from imer.training.settings import SECTIONS

        for sentence in stray_variables(SECTIONS):
            report.warn(sentence)
        options.check_count("--max-epochs", max_epochs)
        flags: dict[str, dict[str, Any]] = {
            "data": {"label": label, "folds": folds, "modalities": options.words(modalities) or None},
            "train": {"device": device, "max_epochs_branches": max_epochs, "max_epochs_joint": max_epochs},
        }
        asked = Asked(
            models=options.words(models),
            heads=options.words(heads),
            presets=options.words(presets),
            protocols=options.words(protocols),
            seeds=parse_seeds(seeds),
            rates=tuple(parse_rate_grid(missing_rates)) if missing_rates else (),
            rates_reachable=":" in (missing_rates or ""),
            pattern=pattern,
            mask_seeds=mask_seeds,
            grid=tuple(grid or ()),
            assignments=tuple(assignments or ()),
            config=config,
            flags={name: {k: v for k, v in values.items() if v is not None} for name, values in flags.items()},
        )
        result = sweep(
            features, out, asked, jobs=jobs, overwrite=overwrite, dry_run=dry_run,
            listener=Listener(report.note, report.warn, report.progress),
        )  # fmt: skip
        report.stop_progress()
        _show(result, out, report, dry_run=dry_run)
        if dry_run:
            return
        if result.failed:
            report.output(out / ERRORS_FILE)
            raise PartialFailure(
                f"{len(result.failed)} of {len(result.cells)} runs failed (see {out / ERRORS_FILE}); the first: "
                f"{result.failed[0]['run']}: {result.failed[0]['message']}"
            )


def _show(result: SweepResult, out: Path, report: Report, *, dry_run: bool) -> None:
    from imer.experiments.tables import all_rows, headline_rows, variant_rows

    report.counts = {
        "runs": len(result.cells),
        "finished_before": len(result.finished),
        "failed": len(result.failed),
    }
    report.extra = {
        "dry_run": dry_run,
        "task": result.task,
        "label": result.label,
        "runs": [
            {"name": cell.name, "path": str(out / "runs" / cell.name), "was": result.states[cell.name].kind}
            for cell in result.cells
        ],
    }
    if dry_run:
        rows = [[cell.name, result.states[cell.name].text] for cell in result.cells]
        report.table(f"runs of {out}", ["run", "state"], rows)
        return
    report.extra |= {
        "results": result.summary,
        "variants": [asdict(variant) for variant in result.variants],
        "failed": result.failed,
    }
    for path in result.written:
        report.output(path)
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    if result.summary:
        rows_of = headline_rows if on_terminal else all_rows
        report.table(
            f"test part, mean ± sd over seeds ({out})", *rows_of(result.summary, result.task, result.label_range)
        )
        if any(variant.settings for variant in result.variants):
            report.table("settings, by validation", *variant_rows(result.variants))
        report.note(f"the table is in {out / 'table.md'}; every run in {out / 'runs'} is an ordinary run folder.")
