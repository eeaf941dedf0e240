"""One process per output."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from imer.core import files, locks
from imer.core.errors import OutputExists
from imer.core.files import temporary_name
from imer.core.locks import output_lock, waiting_lock

_HOLD = """
import sys
from pathlib import Path
from imer.core import locks
from imer.core.locks import output_lock, waiting_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_living_process_keeps_its_lock_and_a_dead_one_loses_it(tmp_path: Path) -> None:
    target = tmp_path / "f.h5"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputExists, match=f"process {holder.pid}"), output_lock(target):
            pass
        holder.kill()
        holder.wait()
    notices: list[str] = []
    with output_lock(target, notices.append):
        assert "took over" in notices[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".", "../x", "sub/.."])
def test_the_lock_of_the_folder_one_is_in_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Within, it would be taken for something that is there already, and nobody else would find it."""
    (tmp_path / "x" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "x")
    with output_lock(Path(name)):
        assert [path.name for path in tmp_path.glob("**/*.lock")] == ["x.lock"]
        with pytest.raises(OutputExists, match="is locked"), output_lock(tmp_path / "x"):
            pass


def test_a_lock_of_another_host_is_never_broken(tmp_path: Path) -> None:
    (tmp_path / "f.h5.lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
    with pytest.raises(OutputExists, match="on elsewhere"), output_lock(tmp_path / "f.h5"):
        pass


def test_a_reused_process_number_does_not_keep_a_lock(tmp_path: Path) -> None:
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": "0"}
    (tmp_path / "f.h5.lock").write_text(json.dumps(owner))
    with output_lock(tmp_path / "f.h5"):
        pass


@pytest.mark.parametrize("content", ["", "[]", '{"host": null, "pid": []}'])
def test_a_lock_that_says_nothing_is_being_filled_or_was_never_finished(tmp_path: Path, content: str) -> None:
    lock = tmp_path / "f.h5.lock"
    lock.write_text(content)
    with pytest.raises(OutputExists, match=r"locked by another process \("), output_lock(tmp_path / "f.h5"):
        pass
    os.utime(lock, (0, 0))
    with output_lock(tmp_path / "f.h5"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_races_have_one_winner(tmp_path: Path) -> None:
    """Of processes that start together one holds the lock; the others are told at once."""
    target = tmp_path / "f.h5"
    for _ in range(5):
        rivals = [
            subprocess.Popen(
                [sys.executable, "-c", _HOLD, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            )
            for _ in range(3)
        ]  # fmt: skip
        lines = []
        for rival in rivals:
            assert rival.stdout is not None
            lines.append(rival.stdout.readline())
        assert lines.count("held\n") == 1
        for rival in rivals:
            rival.communicate("\n")
        assert not list(tmp_path.iterdir())


def test_a_stale_lock_has_one_heir(tmp_path: Path) -> None:
    """Processes that find a dead owner's lock at the same moment: one takes it over, the others are refused."""
    target = tmp_path / "f.h5"
    for _ in range(30):
        (tmp_path / "f.h5.lock").write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22, "started": "1"}))
        go, told, end = os.pipe(), os.pipe(), os.pipe()
        heirs = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                os.close(go[1])
                os.close(end[1])
                os.read(go[0], 1)
                try:
                    with output_lock(target):
                        os.write(told[1], b"held\n")
                        os.read(end[0], 1)
                except OutputExists:
                    os.write(told[1], b"refused\n")
                finally:
                    os._exit(0)
            heirs.append(child)
        os.close(go[1])
        said = b""
        while said.count(b"\n") < len(heirs):
            said += os.read(told[0], 100)
        assert sorted(said.split()) == [b"held", b"refused", b"refused", b"refused"]
        os.close(end[1])
        for child in heirs:
            os.waitpid(child, 0)
        for descriptor in (go[0], *told, end[0]):
            os.close(descriptor)
    assert not list(tmp_path.iterdir())


def test_without_hard_links_a_lock_is_a_lock_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with output_lock(tmp_path / "f.h5"):
        assert json.loads((tmp_path / "f.h5.lock").read_text())["pid"] == os.getpid()
        with pytest.raises(OutputExists, match=f"process {os.getpid()}"), output_lock(tmp_path / "f.h5"):
            pass
    assert not list(tmp_path.iterdir())


def test_who_holds_the_lock_clears_away_what_dead_owners_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, alive = 2**22, os.getpid()

    def part(name: str, pid: int) -> str:
        return temporary_name(tmp_path / name).name.replace(f".{alive}.", f".{pid}.")

    (tmp_path / part("f.h5", dead)).write_text("half")
    (tmp_path / part("f.h5.lock", dead)).write_text("half")
    (tmp_path / part("f.h5", dead)).mkdir()
    monkeypatch.setattr(files, "_LIFE", "0001")
    (tmp_path / part("f.h5", alive)).write_text("half, by the process of this number in the container's life before")
    monkeypatch.setattr(files, "_LIFE", "0002")
    elsewhere = f".f.h5.{dead}.{'0' * 12}.part"
    kept = {part("f.h5", alive), part("g.h5", dead), elsewhere, ".f.h5.mine.part"}
    for name in kept:
        (tmp_path / name).write_text("not ours to delete")
    with output_lock(tmp_path / "f.h5"):
        assert {path.name for path in tmp_path.iterdir()} == kept | {"f.h5.lock"}


def test_a_lock_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    lock = tmp_path / "f.h5.lock"
    with output_lock(tmp_path / "f.h5"):
        lock.write_text(json.dumps({"host": "another", "pid": 1, "started": None}))
    assert json.loads(lock.read_text())["host"] == "another"


def test_whoever_waits_gets_the_lock_when_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = ExitStack()
    owner.enter_context(output_lock(tmp_path / "log"))
    monkeypatch.setattr(locks.time, "sleep", lambda _: owner.close())  # the owner is done while it is waited for
    with waiting_lock(tmp_path / "log"):
        assert (tmp_path / "log.lock").exists()
        monkeypatch.setattr(locks, "_WAIT_S", 0.0)
        with pytest.raises(OutputExists, match=f"process {os.getpid()}"), waiting_lock(tmp_path / "log"):
            pass
    assert not list(tmp_path.iterdir())
