"""`imer doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from imer.cli import options
from imer.cli.reporting import reporting


def doctor(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="A code of errors.jsonl, such as E-TRUNCATED, to explain.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Check versions, devices, weights and licences; say what is missing and how to get it. Or explain a code or a verdict.

    Exit code 5 where something that the default pipeline needs is missing; optional parts do not count.
    """
    with reporting("doctor", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.cli.checkup import checkup
        from imer.core.errors import MissingDependency

        if code is not None:
            explained = _explained(code)
            report.extra["error_code"] = explained
            columns = ["code", "what it is, and what to do", "trying again may help"]
            report.table(
                "error codes", columns, [[code, explained["meaning"], "yes" if explained["retryable"] else "no"]]
            )
            return
        findings = checkup()
        report.extra["checks"] = [finding.as_dict() for finding in findings]
        report.counts = {s: sum(f.state == s for f in findings) for s in ("ok", "optional", "missing")}
        report.table("imer doctor", ["check", "state", "found", "what to do"], [f.row() for f in findings])
        missing = [f.name for f in findings if f.state == "missing"]
        if missing:
            raise MissingDependency(f"{', '.join(missing)} is missing; see the column `what to do`.")


def _explained(code: str) -> dict[str, Any]:
    from imer.core.errors import UsageError, listed
    from imer.extraction.failures import CODES, VERDICTS

    if code in VERDICTS:
        return {"code": code, "meaning": VERDICTS[code], "retryable": code == "decode_error"}
    if code not in CODES:
        raise UsageError(
            f"There is no error code {code!r}; there are {listed(CODES, len(CODES))}. What a clip does not have (a stream, a "
            f"face, words) is no error but a verdict: {listed(VERDICTS, len(VERDICTS))}."
        )
    meaning, retryable = CODES[code]
    return {"code": code, "meaning": meaning, "retryable": retryable}
