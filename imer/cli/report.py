"""`imer report`: evaluated runs side by side, as HTML, Markdown or LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imer.cli import options
from imer.cli.reporting import reporting


def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR…", help="Run folders that `imer eval` has evaluated.")],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="REPORT", help="report.html, report.md or report.tex.")
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            help="The method to which the others are compared. Default: that of the first run; with --table the best baseline."
        ),
    ] = None,
    table: Annotated[
        bool,
        typer.Option(
            "--table", help="The results table alone: methods by missing rate, and their differences to the reference."
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Put evaluated runs side by side; runs that differ in their seed alone become mean ± sd.

    The report names the data, the realised rates, how epochs were chosen, the digests and what each metric means.
    """
    with reporting("report", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.comparison.report import write_report

        written = write_report(
            runs, out, reference=reference, table=table, overwrite=overwrite, warn=report.warn, notice=report.note
        )
        for path in written:
            report.output(path)
        report.counts = {"runs": len(runs), "files": len(written)}
        report.table("report", ["file"], [[path] for path in written])
