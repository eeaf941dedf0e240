"""`imer doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

from imer.cli import options
from imer.cli.output import reporting


def doctor(
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Check versions, devices, weights and licences; say what is missing and how to get it.

    Exit code 5 where something that the default pipeline needs is missing; optional parts do not count.
    """
    with reporting("doctor", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.cli.checkup import checkup
        from imer.core.errors import MissingDependency

        findings = checkup()
        report.extra["checks"] = [finding.as_dict() for finding in findings]
        report.counts = {s: sum(f.state == s for f in findings) for s in ("ok", "optional", "missing")}
        report.table("imer doctor", ["check", "state", "found", "what to do"], [f.row() for f in findings])
        missing = [f.name for f in findings if f.state == "missing"]
        if missing:
            raise MissingDependency(f"{', '.join(missing)} is missing; see the column `what to do`.")
