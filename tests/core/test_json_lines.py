"""A log of one document a line: torn ends are never read, and nothing is appended to them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from imer.core import json_lines
from imer.core.errors import InvalidInput


def test_json_lines_drop_a_torn_last_line_only(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    json_lines.append_line(log, '{"a": 1}')
    json_lines.append_line(log, '{"a": 2}')
    with open(log, "a") as file:
        file.write('{"a": 3')
    assert json_lines.read_json_lines(log) == [{"a": 1}, {"a": 2}]
    for broken in ('{"a": 1}\n{"a"\n{"a": 3}\n', '{"a": 1}\n{"a"#2}\n'):
        log.write_text(broken)
        with pytest.raises(InvalidInput, match="line 2"):
            json_lines.read_json_lines(log)


def test_a_line_is_appended_after_a_torn_one_and_not_to_it(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    json_lines.append_line(log, '{"a": "ä"}')
    log.write_bytes(log.read_bytes() + '{"a": "ö'.encode()[:-1])  # a kill in the middle of a letter
    assert json_lines.read_json_lines(log) == [{"a": "ä"}]
    json_lines.append_line(log, '{"a": 2}')
    assert json_lines.read_json_lines(log) == [{"a": "ä"}, {"a": 2}]
    for whole, torn in ((0, 700_000), (1, 700_000), (200_000, 700_000), (200_000, 1)):  # of a megabyte and more
        log.write_bytes(b'{"a": 1}\n' * whole + b"torn" * torn)
        json_lines.append_line(log, "{}")
        assert log.read_bytes() == b'{"a": 1}\n' * whole + b"{}\n"


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    log, records = tmp_path / "log.jsonl", [{"text": "one\u2028two\u0085three\x0c\r"}, {"text": ""}]
    for record in records:
        json_lines.append_line(log, json.dumps(record, ensure_ascii=False))
    assert json_lines.read_json_lines(log) == records


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output error") as caught:
        json_lines.append_line(tmp_path / "log.jsonl", "{}")
    assert caught.value.filename == str(tmp_path / "log.jsonl")
