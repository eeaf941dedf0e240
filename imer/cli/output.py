"""What a command prints.

stdout carries the result only: a table on a terminal, TSV when piped, one JSON document with `--json`. stderr carries
progress, notes, warnings and errors.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from imer._version import __version__
from imer.core.folders import output_entry
from imer.core.json_lines import append_line, may_be_appended_to

# What would break a line of a table, act on a terminal, or cannot be written: control characters, halves of surrogate pairs.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LOG_BEGINS = '{"time": "'  # as every event does
PROGRESS_EVERY_S = 30.0  # a plain progress line at most this often where stderr is no terminal


@dataclass
class Report:
    """Collects what a command has to say; printed when it ends."""

    command: str
    as_json: bool = False
    quiet: bool = False
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
    _standing: tuple[str, int, int] = ("", 0, 0)
    _heart: threading.Thread | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def warn(self, message: str) -> None:
        """Say something that the user should know although the command goes on."""
        self.warnings.append(message)
        self.log("warning", message)
        self._stderr(f"imer {self.command}: warning: {message}")

    def note(self, message: str) -> None:
        """Say what is going on; silenced by `--quiet`."""
        self.log("info", message)
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
        self._standing = (stage, done, total)
        if done >= total or time.monotonic() - self._last_progress >= PROGRESS_EVERY_S:
            self._say_standing()
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        """Say every 30 s how things stand, however long a single step takes."""
        while not self._stopped.wait(PROGRESS_EVERY_S / 10):
            _, done, total = self._standing
            if done < total and time.monotonic() - self._last_progress >= PROGRESS_EVERY_S:
                self._say_standing()

    def _say_standing(self) -> None:
        self._last_progress = time.monotonic()
        stage, done, total = self._standing
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
        self._stopped.set()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _stderr(self, message: str) -> None:
        with suppress(OSError):  # nobody reads it, or its disk is full: the work matters more
            typer.echo(_CONTROL.sub(_escaped, message), err=True)  # one line, whatever the names in it hold

    def log(self, level: str, message: str, **more: Any) -> None:
        """Add an event to the log file, if there is one."""
        if self.log_file is None:
            return
        now = datetime.now().astimezone()
        event = {
            "time": now.isoformat(timespec="milliseconds"), "time_s": round(now.timestamp(), 3), "command": self.command,
            "level": level, "message": message, **more,
        }  # fmt: skip
        # The work matters more than its log: where that cannot be kept, say so once, and go on without.
        path = self.log_file
        if not self.log_is_a_log():
            self.log_file = None
            self.warn(f"the log file {path} has become something else; nothing more is logged.")
            return
        try:
            append_line(path, json.dumps(event, ensure_ascii=False, default=str))
        except OSError as error:
            self.log_file = None
            self.warn(f"the log file {path} cannot be written ({error.strerror}); nothing more is logged.")

    def log_is_a_log(self) -> bool:
        """Say whether events can go to the log file without harm: a store or a manifest there would be spoilt by them."""
        return self.log_file is None or may_be_appended_to(self.log_file, _LOG_BEGINS)

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

    console = Console()
    for title, columns, rows in tables:
        table = _rich_table(title, columns, rows)
        wanted = console.measure(table, options=console.options.update(max_width=10_000)).maximum
        if len(rows) == 1 and wanted > console.width:  # a line that does not fit is turned upright
            table = _rich_table(title, ["", ""], list(map(list, zip(columns, rows[0], strict=True))))
            table.show_header = False
        console.print(table)


def _rich_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, title_justify="left")
    for column in columns:
        table.add_column(escape(column), overflow="fold")  # nothing is cut off where the terminal is narrow
    for row in rows:
        table.add_row(*map(escape, row))
    return table
