"""Folders come into being complete, with a manifest, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from imer.core import files, folders
from imer.core.errors import InvalidInput, OutputExists

_KILL_AT = """
import os, sys
from pathlib import Path, PurePath
from imer.core import files, folders, json_lines
calls = 0
def die(point):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
files.fault_point = die
with folders.published_folder(Path(sys.argv[1]), overwrite=True) as part:
    (part / "a.txt").write_text("new" * 1000)
    (part / "b.txt").write_text("new")
"""


def test_kill_9_at_every_commit_point_of_a_folder(tmp_path: Path) -> None:
    """After a kill at any step the folder is the old one or the new one, never mixed and never gone (on Linux)."""
    finished = False
    for n in range(1, 30):
        folder = tmp_path / str(n) / "run"
        with folders.published_folder(folder) as part:
            (part / "a.txt").write_text("old")
        code = subprocess.run([sys.executable, "-c", _KILL_AT, str(folder), str(n)], check=False).returncode
        if folder.exists() or sys.platform == "linux":
            folders.verify_folder(folder)
            assert (folder / "a.txt").read_text() in ("old", "new" * 1000)
        if code == 0:
            finished = True
            break
        assert code == -9
    assert finished
    assert (folder / "a.txt").read_text() == "new" * 1000


def test_where_two_names_cannot_be_swapped_the_old_folder_is_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_exchanged", lambda one, other: False)
    for text in ("old", "new"):
        with folders.published_folder(tmp_path / "x", overwrite=True) as part:
            (part / "a.txt").write_text(text)
    assert (tmp_path / "x" / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_and_comes_back_where_the_new_one_cannot_take_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, n = os.rename, 0

    def second_fails(one: Path, other: Path) -> None:
        nonlocal n
        n += 1
        if n == 2:
            raise OSError(errno.EIO, "Input/output error", str(other))
        rename(one, other)

    with folders.published_folder(tmp_path / "x") as part:
        (part / "a.txt").write_text("old")
    monkeypatch.setattr(folders, "_exchanged", lambda one, other: False)
    monkeypatch.setattr(os, "rename", second_fails)
    again = folders.published_folder(tmp_path / "x", overwrite=True)
    with pytest.raises(OSError, match="Input/output"), again as part:
        (part / "a.txt").write_text("new")
    assert (tmp_path / "x" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("n", [1, folders.MANY, folders.MANY + 1, 3 * folders.MANY])
def test_every_file_is_synced_before_the_folder_has_its_name(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, synced = tmp_path / "run", []

    def fsync_file(path: Path) -> None:
        assert not out.exists()
        synced.append(path.name)

    monkeypatch.setattr(folders, "fsync_file", fsync_file)
    with folders.published_folder(out) as part:
        for i in range(n):
            (part / f"{i}.npy").write_bytes(b"")
    assert sorted(synced) == sorted(f"{i}.npy" for i in range(n))
    assert len(folders.verify_folder(out)) == n


def test_one_of_many_files_that_cannot_be_synced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync_file(path: Path) -> None:
        if path.name == "7.npy":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def publish() -> None:
        with folders.published_folder(tmp_path / "run") as part:
            for i in range(2 * folders.MANY):
                (part / f"{i}.npy").write_bytes(b"")

    monkeypatch.setattr(folders, "fsync_file", fsync_file)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        publish()
    assert not list(tmp_path.iterdir())


def test_a_folder_is_removed_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with folders.published_folder(tmp_path / "x") as part:
        (part / "a.txt").write_text("a")
    with monkeypatch.context() as patch:
        patch.setattr(folders.shutil, "rmtree", lambda *_, **__: None)  # killed before a file is deleted
        folders.remove_folder(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    folders.remove_folder(tmp_path / "x")  # one that is not there is no matter
    with folders.published_folder(tmp_path / "y") as part:
        (part / "a.txt").write_text("a")
    folders.remove_folder(tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_verify_folder_notices_change_and_loss(tmp_path: Path) -> None:
    with folders.published_folder(tmp_path / "x") as part:
        (part / "a.txt").write_text("abc")
        (part / "sub").mkdir()
        (part / "sub" / "b.txt").write_text("def")
    assert [e["path"] for e in folders.verify_folder(tmp_path / "x")] == ["a.txt", "sub/b.txt"]
    (tmp_path / "x" / "a.txt").write_text("abd")
    with pytest.raises(InvalidInput, match="changed or damaged"):
        folders.verify_folder(tmp_path / "x")
    (tmp_path / "x" / "a.txt").unlink()
    with pytest.raises(InvalidInput, match="is missing"):
        folders.verify_folder(tmp_path / "x")


@pytest.mark.parametrize("name", ["new/out.jsonl", None])
def test_a_scratch_folder_is_gone_afterwards(tmp_path: Path, name: str | None) -> None:
    output = None if name is None else tmp_path / name
    with contextlib.suppress(ZeroDivisionError), folders.scratch_folder(output) as folder:
        (folder / "inner").mkdir()
        if output is not None:
            assert folder.parent == output.parent
            files.remove_leftovers(folder.parent)  # as another process does: it spares those of the living
        assert (folder / "inner").is_dir()
        raise ZeroDivisionError
    assert not folder.exists()


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    with folders.published_folder(tmp_path / "new") as part:
        (part / "file").write_text("content")
    (tmp_path / "empty").mkdir()
    with folders.published_folder(tmp_path / "empty") as part:
        (part / "file").write_text("content")
    folders.verify_folder(tmp_path / "empty")
    with pytest.raises(OutputExists), folders.published_folder(tmp_path / "empty"):
        pass


def test_what_somebody_else_put_into_a_folder_is_not_lost_with_it(tmp_path: Path) -> None:
    def publish() -> None:
        with folders.published_folder(tmp_path / "x", overwrite=True) as part:
            (part / "a.txt").write_text("a")

    publish()
    (tmp_path / "x" / ".DS_Store").write_text("left by a file browser")
    publish()
    (tmp_path / "x" / "sub").mkdir()
    (tmp_path / "x" / "sub" / "analysis.R").write_text("mine")
    with pytest.raises(OutputExists, match=r"also holds sub/analysis\.R"):
        publish()
    assert (tmp_path / "x" / "sub" / "analysis.R").read_text() == "mine"


def test_a_repository_around_a_bundle_is_not_lost_with_it(tmp_path: Path) -> None:
    """Model hubs are such repositories: `.git` holds what was never pushed."""
    with folders.published_folder(tmp_path / "x") as part:
        (part / "model").write_text("1")
    (tmp_path / "x" / ".git").mkdir()
    (tmp_path / "x" / ".git" / "HEAD").write_text("ref: refs/heads/main")
    with (
        pytest.raises(OutputExists, match=r"also holds \.git/HEAD"),
        folders.published_folder(tmp_path / "x", overwrite=True),
    ):
        pass
    assert (tmp_path / "x" / ".git" / "HEAD").is_file()


def test_a_folder_is_described_alike_where_paths_are_sorted_without_capitals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows does; its digest is compared across systems."""
    for name in ("a.txt", "B.txt", "c.txt"):
        (tmp_path / name).write_text(name)
    before = folders.output_entry(tmp_path)
    monkeypatch.setattr(PurePath, "__lt__", lambda one, other: str(one).casefold() < str(other).casefold())
    assert folders.output_entry(tmp_path) == before
