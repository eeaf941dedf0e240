"""`imer ls`: the names that other commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from imer.cli import options
from imer.cli.catalogue import KINDS, catalogue
from imer.cli.reporting import reporting


def ls(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """List what can be named: extractors, models, heads, protocols, metrics, presets, settings; the schemas of `--json`."""
    with reporting("ls", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.errors import UsageError, did_you_mean

        if kind not in KINDS:
            raise UsageError(f"There is nothing called {kind!r} to list; {did_you_mean(kind, KINDS)}")
        rows = catalogue(kind)
        report.counts = {kind: len(rows)}
        report.extra = {"kind": kind, "items": rows}
        columns = list(rows[0]) if rows else ["name"]
        report.table(kind, columns, [list(row.values()) for row in rows])
