"""The campaigns see what they should: an error is told, a kill kills, and a broken promise is counted."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import pytest

from imer.core import files
from tests.campaigns import calls, corruption
from tests.campaigns.corruption import Damage, Kind
from tests.campaigns.workbench import Counts

watching = pytest.mark.skipif(not calls.available(), reason="the system lets no process watch another's calls")


def write(path: Path) -> int:
    try:
        files.write_text(path, "hello")
    except OSError as error:
        os.write(1, f"{error.strerror}\n".encode())  # print would write to what pytest puts in its place
        return error.errno or 1
    return 0


@watching
def test_every_call_is_seen_and_any_can_fail(tmp_path: Path) -> None:
    seen = calls.watched(lambda: write(tmp_path / "a"), tmp_path)
    assert seen.code == 0
    names = [call.name.removesuffix("at").removesuffix("2") for call in seen.calls]
    assert [name for name in names if name in ("write", "fsync", "rename")] == ["write", "fsync", "rename", "fsync"]
    for n, call in enumerate(seen.calls, start=1):
        if call.path == str(tmp_path):
            continue  # making a folder that is there, and syncing it, may fail unnoticed
        again = calls.watched(lambda: write(tmp_path / "a"), tmp_path, lambda m, _, n=n: errno.EIO if m == n else None)
        assert (again.code, again.out) == (errno.EIO, "Input/output error\n"), call


@watching
def test_a_kill_comes_before_the_call(tmp_path: Path) -> None:
    def at_rename(_: int, call: calls.Call) -> int | None:
        return calls.KILL if call.name.startswith("rename") else None

    assert calls.watched(lambda: write(tmp_path / "a"), tmp_path, at_rename).code == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "hello"
    assert left.suffix == ".part"


@watching
def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="still runs"):
        calls.watched(lambda: time.sleep(60) or 0, tmp_path, limit_s=0.2)


@pytest.mark.parametrize(
    ("digest", "outcome"),
    [
        (lambda path: path.read_bytes().hex(), "silent"),
        (lambda path: str(path.stat().st_size), "unchanged"),
        (lambda path: str(1 // 0), "bug: ZeroDivisionError"),
        (lambda path: os.kill(os.getpid(), signal.SIGKILL), "crash with -9"),
        (lambda path: time.sleep(60), "hang"),
    ],
)
def test_what_becomes_of_a_flipped_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest, outcome: str) -> None:
    monkeypatch.setattr(corruption, "LIMIT_S", 0.3)
    (tmp_path / "x").write_bytes(b"plain")
    kind = Kind("plain", tmp_path / "x", digest)
    truth = "5" if outcome == "unchanged" else b"plain".hex()
    found = corruption._read(kind, [Damage("", 2, 0), Damage("", 2, 0)], tmp_path / "scratch", truth)
    assert found[0].startswith(outcome)
    counts = Counts("test")
    corruption._count(kind, Damage("", 2, 0), found[0], counts)
    assert bool(counts.broken) == (outcome != "unchanged")
    assert counts.finish(None) == (outcome != "unchanged")
