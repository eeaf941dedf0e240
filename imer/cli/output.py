"""What a command prints, and how it ends.

stdout carries the result only: a table on a terminal, TSV when piped, one JSON document with `--json`. stderr carries
progress, notes, warnings and errors. Every way a command can end is an exit code of `imer.core.errors`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from imer._version import __version__
from imer.core import errors
from imer.core.files import append_line, output_entry

# What would break a line of a table, act on a terminal, or cannot be written: control characters, halves of surrogate pairs.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
PROGRESS_EVERY_S = 30.0  # a plain progress line at most this often where stderr is no terminal


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: unwind as for Ctrl-C, and exit with 143 or 129."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum


@dataclass
class Report:
    """Collects what a command has to say; printed when it ends."""

    command: str
    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    log_file: Path | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    outputs: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    tables: list[tuple[str, list[str], list[list[str]]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    _bar: Any = None
    _task: Any = None
    _last_progress: float = 0.0

    def warn(self, message: str) -> None:
        """Say something that the user should know although the command goes on."""
        self.warnings.append(message)
        self._log("warning", message)
        self._stderr(f"imer {self.command}: warning: {message}")

    def note(self, message: str) -> None:
        """Say what is going on; silenced by `--quiet`."""
        self._log("info", message)
        if not self.quiet:
            self._stderr(f"imer {self.command}: {message}")

    def output(self, path: Path) -> None:
        """Name a file or folder that this command made."""
        self.outputs.append(Path(path))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table to the result."""
        self.tables.append((title, list(columns), [[_cell(value) for value in row] for row in rows]))

    def line(self, text: str) -> None:
        """Add a line of plain text to the result."""
        self.text.append(text)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is: a bar on a terminal, else a plain line every 30 s and one at its end."""
        if self.quiet:
            return
        if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._show_bar(stage, done, total)
            return
        now = time.monotonic()
        if done >= total or now - self._last_progress >= PROGRESS_EVERY_S:
            self._last_progress = now
            self._stderr(f"imer {self.command}: {stage} {done}/{total}")

    def _show_bar(self, stage: str, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = {}
        if stage not in self._task:
            self._task[stage] = self._bar.add_task(stage, total=total)
        self._bar.update(self._task[stage], completed=done, total=total)

    def stop_progress(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _stderr(self, message: str) -> None:
        with suppress(BrokenPipeError):
            typer.echo(message, err=True)

    def _log(self, level: str, message: str) -> None:
        if self.log_file is None:
            return
        event = {"time_s": round(time.time(), 3), "command": self.command, "level": level, "message": message}
        try:
            append_line(self.log_file, json.dumps(event, ensure_ascii=False))
        except OSError as error:
            # The work matters more than its log: say so once, and go on without.
            path, self.log_file = self.log_file, None
            self.warn(f"the log file {path} cannot be written ({error.strerror}); nothing more is logged.")

    def document(self, status: str, elapsed_s: float) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        return {
            "schema": f"imer.{self.command.replace(' ', '-')}/1",
            "imer_version": __version__,
            "status": status,
            "counts": self.counts,
            "outputs": [output_entry(path) for path in self.outputs if path.exists()],
            "warnings": self.warnings,
            "elapsed_s": round(elapsed_s, 3),
            **self.extra,
        }

    def print(self, status: str, elapsed_s: float) -> None:
        """Print the result to stdout, if there is one: a caller may have closed it."""
        if sys.stdout is None:
            return
        if self.as_json:
            text = json.dumps(self.document(status, elapsed_s), ensure_ascii=False, allow_nan=False)
            # UTF-8 whatever the locale says. Half a surrogate pair, which a file name may hold, becomes JSON's own escape.
            typer.echo(text.encode("utf-8", "backslashreplace"))
            return
        for text in self.text:
            typer.echo(text)
        if sys.stdout.isatty():
            _print_rich(self.tables)
        else:
            for number, (_, columns, rows) in enumerate(self.tables):
                if number or self.text:
                    typer.echo()  # a blank line ends each block, so that a script can tell the tables apart
                for row in [columns, *rows]:
                    typer.echo("\t".join(row))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else _CONTROL.sub(_escaped, str(value))


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def _print_rich(tables: list[tuple[str, list[str], list[list[str]]]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for title, columns, rows in tables:
        table = Table(title=escape(title) or None, title_justify="left")
        for column in columns:
            table.add_column(escape(column))
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)


def _raise_terminated(signum: int, frame: FrameType | None) -> None:
    raise Terminated(signum)


class _LogToReport(logging.Handler):
    """What a part of `imer` logs is said as the command's own warning, so that `--json` and the log file have it."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        self.report.warn(record.getMessage())


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
    command: str, *, json: bool = False, quiet: bool = False, verbose: int = 0, log_file: Path | None = None
) -> Iterator[Report]:
    """Run a command's body; print its result; turn whatever happens into a message and an exit code."""
    report = Report(command, as_json=json, quiet=quiet, verbose=verbose, log_file=log_file)
    started = time.monotonic()
    status, code = "ok", errors.EXIT_DONE
    with suppress(ValueError):  # signals can be set in the main thread only
        signal.signal(signal.SIGTERM, _raise_terminated)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup has it ignored
            signal.signal(signal.SIGHUP, _raise_terminated)
    try:
        with _log_to(report):
            yield report
    except errors.PartialFailure as error:
        status, code = "partial", error.exit_code
        report.stop_progress()
        report.warn(str(error))
    except errors.ImerError as error:
        status, code = "error", error.exit_code
        _fail(report, str(error), type(error).__name__)
    except KeyboardInterrupt:
        status, code = "error", errors.EXIT_INTERRUPTED
        _fail(report, "interrupted; the same command continues.", "Interrupted")
    except Terminated as error:
        status, code = "error", error.exit_code
        _fail(report, "terminated; the same command continues.", "Terminated")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(errors.EXIT_DONE) from None
    except OSError as error:
        status, code = "error", errors.EXIT_INVALID_INPUT
        _fail(report, errors.refusal(error), "OSError")
    except UnicodeEncodeError as error:
        status, code = "error", errors.EXIT_INVALID_INPUT
        _fail(report, f"the name {error.object[:80]!a} is no UTF-8 text; rename the file.", "InvalidInput")
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 (the one place where a bug becomes exit code 1)
        if _lacks_memory(error):
            status, code = "error", errors.EXIT_INVALID_INPUT
            _fail(report, f"there is not enough memory for this ({error}); ask for less.", "OutOfMemory")
        else:
            status, code = "error", errors.EXIT_BUG
            _fail(
                report,
                f"this is a bug in imer ({type(error).__name__}: {error}); run with -v for the traceback.",
                "Bug",
            )
        if verbose:
            report._stderr(traceback.format_exc())
    report.stop_progress()
    try:
        report.print(status, time.monotonic() - started)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # Python would try to flush once more at its exit, and fail with a code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            code = code or errors.EXIT_INVALID_INPUT
            report._stderr(f"imer {command}: error: the result cannot be written to stdout: {error.strerror}.")
    if code:
        raise typer.Exit(code)


def _lacks_memory(error: Exception) -> bool:
    """Say whether memory ran out; PyTorch says so by a RuntimeError, in several ways."""
    words = ("allocate memory", "out of memory", "Storage size calculation overflowed", "array is too big")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def refuse(command: str, message: str, *, as_json: bool) -> None:
    """Say of a command line that cannot be read what every command says of what it cannot do."""
    report = Report(command, as_json=as_json)
    _fail(report, message, errors.UsageError.__name__)
    if as_json:
        report.print("error", 0.0)


def _fail(report: Report, message: str, kind: str) -> None:
    report.stop_progress()
    report.extra["error"] = {"kind": kind, "message": message}
    report._log("error", message)
    report._stderr(f"imer {report.command.removeprefix('imer')}".rstrip() + f": error: {message}")
