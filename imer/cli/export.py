"""`imer export`: a trained run as a bundle, an ONNX file or a torch.export program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imer.cli import options
from imer.cli.reporting import reporting


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder of `imer train`, or a bundle.")],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="A folder for a bundle; otherwise the file to write.")
    ],
    format: Annotated[
        str,
        typer.Option(
            help="bundle: a folder for `imer predict`; onnx: for ONNX Runtime; torch-export: a .pt2 program. Beside a "
            "file lies OUT.json, which says what its inputs and outputs are."
        ),
    ] = "bundle",
    fold: Annotated[
        str | None, typer.Option(help="Which fold of a cross-validated run. Default: the best on its validation part.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Export a trained model, after checking that the export answers as the model does.

    The export runs on 200 random inputs over all patterns of missing modalities; where an answer differs by more than
    1e-5 (1e-4 where it depends on its batch-mates), or a class differs, nothing is written.
    """
    with reporting("export", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from dataclasses import asdict

        from imer.core.locks import output_lock
        from imer.export.publish import export

        with output_lock(out, report.note):
            made = export(run, out, format, fold=fold, overwrite=overwrite, notice=report.note)
        for path in made.outputs:
            report.output(path)
        report.counts = {"cases": made.parity.cases, "answers": made.parity.answers}
        report.extra = {
            "format": made.format,
            "fold": made.fold or None,
            "folds": made.n_folds,
            "parity": asdict(made.parity),
        }
        if made.optimistic:
            report.warn("The epoch was chosen on the test part: all figures of this model are optimistic.")
        report.table(
            "exported",
            ["output", "format", "fold", "largest difference", "inputs compared"],
            [
                [
                    made.outputs[0],
                    made.format,
                    made.fold or None,
                    f"{made.parity.max_abs_difference:.1e}",
                    made.parity.cases,
                ]
            ],
        )
