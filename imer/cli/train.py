"""`imer train`: learn to recognise emotion with whatever modalities there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imer.cli import options
from imer.cli.reporting import reporting

if TYPE_CHECKING:
    from imer.cli.output import Report
    from imer.training.train import TrainResult


def train_command(
    features: Annotated[
        Path | None,
        typer.Argument(metavar="FEATURES.h5", help="A feature store, from `imer extract`. Default: that of --config."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="RUN_DIR", help="The run folder to write.")] = Path(
        "run"
    ),
    model: Annotated[str | None, typer.Option(help="The model; see `imer ls models`.")] = None,
    head: Annotated[str | None, typer.Option(help="The output head: linear or dpl.")] = None,
    preset: Annotated[str | None, typer.Option(help="Shipped settings to start from; see `imer ls presets`.")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Settings, such as the config.toml of another run.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The label column to learn. Default: emotion, or sentiment.")
    ] = None,
    modalities: Annotated[str | None, typer.Option(help="Which modalities to use, such as audio,text.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="How modalities are hidden in training: mixed (default), matched, complete, … (`imer ls protocols`)."
        ),
    ] = None,
    missing_rate: Annotated[
        str | None, typer.Option(help="For matched: a rate such as 0.5; for imbalanced: audio=0.2,text=0.7.")
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            help="Cross-validate by session, speaker, a COLUMN, or a number of folds over dialogues; none: learn from all "
            "utterances, for a model that is only to be used."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice. Default: 0.")] = None,
    members: Annotated[
        int | None,
        typer.Option(help="Models per fold that answer together (the mean). Default: 3 for ComP, 1 for others."),
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of each stage.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Utterances in a batch of whole dialogues (padding included).")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto (default), cpu, cuda or cuda:<index>. auto: CUDA where there is one.")
    ] = None,
    jobs: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Folds and members trained at the same time, each in a process of one thread; auto: one a core.",
        ),
    ] = "1",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run folder that exists, or leave it as it is if finished.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any setting, such as model.hidden=64 (`imer ls settings`). Repeatable."
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Train a model on a feature store, into a run folder.

    Epochs are selected on the validation part alone; the test part is predicted once, at the end. An interrupted
    training continues with the same command, to the same weights bit for bit (on the same machine's CPU). ComP trains
    three members, each with a validation part of its own where that is cut from the training part, and answers with
    their mean; `--members 1` takes a third of the time, and `--jobs auto` trains folds and members on all cores. In the
    JSON document `selected` has the members' `epochs` and the mean of their values; with folds, lists of the folds'
    epochs, and `folds` has each fold's own.
    """
    with reporting("train", json=json, quiet=quiet, verbose=verbose, log_file=log_file, resumable=True) as report:
        from imer.core.pool import job_count
        from imer.core.settings import stray_variables
        from imer.training.listener import Listener
        from imer.training.settings import SECTIONS
        from imer.training.train import train

        for sentence in stray_variables(SECTIONS):
            report.warn(sentence)
        options.check_count("--max-epochs", max_epochs)
        options.check_count("--members", members)
        flags: dict[str, dict[str, Any]] = {
            "run": {"model": model, "head": head},
            "data": {
                "label": label,
                "folds": folds,
                "modalities": options.words(modalities) or None,
            },
            "train": {
                "protocol": protocol,
                "missing_rate": missing_rate,
                "seed": seed,
                "members": members,
                "max_epochs_branches": max_epochs,
                "max_epochs_joint": max_epochs,
                "batch_utterances": batch_size,
                "device": device,
            },
        }
        given = {section: {k: v for k, v in values.items() if v is not None} for section, values in flags.items()}
        result = train(
            features,
            out,
            preset=preset,
            config=config,
            flags=given,
            assignments=assignments or [],
            resume=resume,
            overwrite=overwrite,
            jobs=job_count(jobs),
            listener=Listener(report.note, report.warn, report.progress),
        )
        _show(result, out, report)


def _show(result: TrainResult, out: Path, report: Report) -> None:
    from imer.metrics.leading import in_order

    metrics = result.metrics
    report.output(out)
    report.counts = {
        "folds": len(metrics["folds"]),
        **{part: sum(fold["utterances"][part] for fold in metrics["folds"]) for part in ("train", "val", "test")},
    }
    report.extra = {
        "selected": result.selected,
        "optimistic": metrics.get("optimistic", False),
        "within_speaker": metrics.get("within_speaker", []),
        "already_finished": result.already_finished,
        "task": metrics["task"],
        "label": metrics["label"],
        "protocol": metrics["protocol"],
        "folds": metrics["folds"],
        "test": metrics["test"],
    }
    tested = metrics["test"]
    if not tested:
        return
    ordered = in_order(metrics["task"], metrics.get("label_range"))  # of a run of before, no range is known
    names = [name for name in ordered if name in tested[0]["metrics"]]
    rows = [
        [_condition(entry, tested), entry["realised_rate"], entry["n"], *(entry["metrics"][name] for name in names)]
        for entry in tested
    ]
    report.table(f"test part of {out}", ["hidden", "realised rate", "n", *names], rows)


def _condition(entry: dict[str, Any], entries: list[dict[str, Any]]) -> str:
    """Name what was hidden; where several masks of one kind were tried, also which."""
    if entry["pattern"]:
        return f"only {entry['pattern']}"
    rate = "" if entry["missing_rate"] is None else f" {entry['missing_rate']:g}"
    alike = [e for e in entries if all(e[key] == entry[key] for key in ("protocol", "missing_rate", "pattern"))]
    mask = f" (mask seed {entry['mask_seed']})" if len(alike) > 1 else ""
    return f"{entry['protocol']}{rate}{mask}"
