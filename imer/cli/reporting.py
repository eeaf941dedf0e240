"""How a command ends: every way is a sentence and an exit code of `imer.core.errors`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from imer.cli.output import Report
from imer.core import errors


class Signalled(BaseException):
    """A signal came: unwind, and exit with 129 (SIGHUP), 130 (SIGINT) or 143 (SIGTERM)."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


_came: list[int] = []  # signals of this process, in order


def _stop(signum: int, frame: FrameType | None) -> None:
    _came.append(signum)
    raise Signalled(signum)


@contextmanager
def _heeding_signals() -> Iterator[None]:
    """Have signals stop the command in order, but those that whoever started it has switched off (nohup, `&` in a script).

    Whatever fails once a signal came fails because of it: an import that was cut short breaks in any way, and later.
    """
    del _came[:]
    before: dict[int, Any] = {}
    try:
        with suppress(ValueError):  # signals can be set in the main thread only
            before[signal.SIGTERM] = signal.signal(signal.SIGTERM, _stop)
            for name in ("SIGINT", "SIGHUP"):
                if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
                    before[getattr(signal, name)] = signal.signal(getattr(signal, name), _stop)
        yield
    except Exception as error:
        if _came:
            raise Signalled(_came[0]) from error
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class _LogToReport(logging.Handler):
    """What a part of `imer` logs is said as the command's own warning, so that `--json` and the log file have it.

    It is said once, though each fold and member of a run may find it out for itself.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()) not in self.report.warnings:
            self.report.warn(message)


@contextmanager
def _log_to(report: Report) -> Iterator[None]:
    logger, handler = logging.getLogger("imer"), _LogToReport(report)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False  # or the same sentence would come twice
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@contextmanager
def reporting(
    command: str,
    *,
    json: bool = False,
    quiet: bool = False,
    verbose: int = 0,
    log_file: Path | None = None,
    resumable: bool = False,
) -> Iterator[Report]:
    """Run a command's body; print its result; turn whatever happens into a message and an exit code.

    A resumable command keeps what was done when it is interrupted.
    """
    report = Report(command, as_json=json, quiet=quiet, log_file=log_file)
    started = time.monotonic()
    status, code = "ok", errors.EXIT_DONE
    try:
        if str(log_file) == "-":
            report.log_file = None
            raise errors.UsageError("--log-file - : the log is a file and no stream; give it a name.")
        if not report.log_is_a_log():
            report.log_file = None
            raise errors.UsageError(f"--log-file {log_file} is there and is no log of imer; choose another name.")
        report.log("info", "started", argv=sys.argv)
        with _log_to(report), _heeding_signals():
            yield report
    except errors.PartialFailure as error:
        status, code = "partial", error.exit_code
        report.stop_progress()
        report.warn(str(error))
    except errors.ImerError as error:
        status, code = "error", error.exit_code
        _fail(report, f"{error}{_advice()}", type(error).__name__)
    except (Signalled, KeyboardInterrupt) as error:
        signum = error.signum if isinstance(error, Signalled) else signal.SIGINT
        status, code = "error", errors.EXIT_OF_SIGNAL + signum
        kind = "Interrupted" if signum == signal.SIGINT else "Terminated"
        again = "continues" if resumable else "starts again"
        _fail(report, f"{kind.lower()}; the same command {again}.", kind)
    except BrokenPipeError:
        give_up_stdout()
        raise typer.Exit(errors.EXIT_DONE) from None
    except OSError as error:
        status, code = "error", errors.EXIT_INVALID_INPUT
        _fail(report, errors.refusal(error), "OSError")
    except UnicodeEncodeError as error:
        status, code = "error", errors.EXIT_INVALID_INPUT
        around = error.object[max(error.start - 40, 0) : error.end + 20]
        _fail(report, f"the name {around!a} is no UTF-8 text; rename the file.", "InvalidInput")
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 (the one place where a bug becomes exit code 1)
        if errors.lacks_memory(error):
            status, code = "error", errors.EXIT_INVALID_INPUT
            _fail(report, f"there is not enough memory for this ({error}); ask for less.", "OutOfMemory")
        elif advice := _advice():
            status, code = "error", errors.EXIT_MISSING_DEPENDENCY
            _fail(report, f"a library could not do its work ({type(error).__name__}).{advice}", "MissingDependency")
        elif fault := _fault_of_plug_in(error):
            status, code = "error", errors.EXIT_MISSING_DEPENDENCY
            _fail(report, fault, "MissingDependency")
        else:
            status, code = "error", errors.EXIT_BUG
            _fail(
                report,
                f"this is a bug in imer ({type(error).__name__}: {error}); run with -v for the traceback.",
                "Bug",
            )
        if verbose:
            for line in traceback.format_exc().splitlines():
                report._stderr(line)
    report.stop_progress()
    elapsed_s = time.monotonic() - started
    outputs = [str(path) for path in report.outputs if path.exists()]
    report.log(
        "info",
        "ended",
        status=status,
        exit_code=code,
        counts=report.counts,
        outputs=outputs,
        elapsed_s=round(elapsed_s, 3),
    )
    try:
        report.print(status, elapsed_s)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        give_up_stdout()
        if not isinstance(error, BrokenPipeError):
            code = code or errors.EXIT_INVALID_INPUT
            report._stderr(f"imer {command}: error: the result cannot be written to stdout: {error.strerror}.")
    if code:
        raise typer.Exit(code)


def _advice() -> str:
    """Return what to do where there is no folder for temporary files: libraries fail of it in words of their own."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return " There is no folder for temporary files that can be written to: set TMPDIR to one."
    return ""


def _fault_of_plug_in(error: Exception) -> str:
    from imer.core.registry import fault_of_plug_in  # only now: it takes 10 ms that every start would wait for

    return fault_of_plug_in(error)


def give_up_stdout() -> None:
    """Let what could not be written vanish: Python would flush once more at its exit, and fail with a code of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refuse(command: str, message: str, *, as_json: bool) -> None:
    """Say of a command line that cannot be read what every command says of what it cannot do."""
    report = Report(command, as_json=as_json)
    _fail(report, message, errors.UsageError.__name__)
    if as_json:
        report.print("error", 0.0)


def _fail(report: Report, message: str, kind: str) -> None:
    report.stop_progress()
    report.extra["error"] = {"kind": kind, "message": message}
    report.log("error", message)
    report._stderr(f"imer {report.command.removeprefix('imer')}".rstrip() + f": error: {message}")
