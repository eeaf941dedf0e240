"""Logs of one JSON document a line: what is appended is on the disk, and what a kill left of a line is never read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from imer.core import files
from imer.core.errors import InvalidInput

_CHUNK = 1 << 20  # bytes looked at at a time for the end of the last whole line


def append_line(path: Path, line: str) -> None:
    """Append one line to a log and flush it to disk. What a kill left of a torn last line goes first.

    Raises
    ------
    OSError
        The system refuses, as when the disk is full; the error names `path`.
    """
    files.fault_point("append")
    with files.naming(path), open(path, "ab+") as file:
        _drop_torn_line(file)
        file.write(
            line.encode("utf-8", "backslashreplace") + b"\n"
        )  # half a character, of a file name that is no UTF-8
        file.flush()
        os.fsync(file.fileno())


def may_be_appended_to(path: Path, beginning: str) -> bool:
    """Say whether a log can be kept at a path: nothing is lost there, since what there is begins as this log does.

    A terminal, a pipe or another device takes everything. What cannot be looked at is left to `append_line` to refuse.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return True
        with open(path, "rb") as file:
            found = file.read(len(beginning.encode()))
    except OSError:
        return True
    return beginning.encode().startswith(found)


def as_json_lines(records: Iterable[Any]) -> str:
    """Return records as text, one JSON document a line."""
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut off what stands behind the last newline."""
    end = file.seek(0, os.SEEK_END)
    start, kept = end, b""
    while start > 0 and b"\n" not in kept:
        start = max(start - _CHUNK, 0)
        file.seek(start)
        kept = file.read(min(_CHUNK, end - start))
    if (whole := start + kept.rfind(b"\n") + 1) < end:
        file.truncate(whole)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file, leaving out a last line that a kill cut short.

    Raises
    ------
    InvalidInput
        A line that has its end is not JSON.
    """
    return list(each_json_line(path))


def each_json_line(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON-lines file one by one, as `read_json_lines` reads them.

    A line ends with a newline and nothing else: texts hold other separators of lines.

    Raises
    ------
    InvalidInput
        The file cannot be read, or a line that has its end is not JSON.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield json.loads(line.decode())
                except (ValueError, RecursionError) as error:
                    if line.endswith(b"\n"):
                        raise InvalidInput(f"{path}, line {number}, is not JSON ({error}).") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error}).") from error
