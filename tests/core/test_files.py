"""Files come into being complete or not at all, whichever step fails."""

from __future__ import annotations

import contextlib
import errno
import ntpath
import os
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

from imer.core import files, folders, json_lines
from imer.core.errors import InvalidInput, OutputExists


def test_published_file_is_complete_and_leaves_nothing_behind(tmp_path: Path) -> None:
    files.write_text(tmp_path / "deep" / "a.txt", "héllo")
    assert (tmp_path / "deep" / "a.txt").read_text() == "héllo"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]
    again = files.published_file(tmp_path / "deep" / "a.txt", overwrite=False)
    with pytest.raises(OutputExists, match="--overwrite"), again:
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_failing_system_call_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Make the n-th step fail, n = 1, 2, … until a run finishes untouched: at every point the old file stays whole."""
    for n in range(1, 20):
        target = tmp_path / f"{n}.txt"
        target.write_text("old")
        calls = 0

        def fail_at_n(point: str, n: int = n) -> None:
            nonlocal calls
            calls += 1
            if calls == n:
                raise OSError(code, os.strerror(code))

        monkeypatch.setattr(files, "fault_point", fail_at_n)
        with contextlib.suppress(OSError):
            files.write_text(target, "new")
            # No fault was in the way, or the only one hit the sync of the folder, which cannot undo the rename.
            assert target.read_text() == "new"
            if calls < n:  # every point has been tried
                return
            continue
        assert target.read_text() == "old"
        assert not list(tmp_path.glob(".*.part"))
    pytest.fail("the loop never finished a run")


@pytest.mark.parametrize(
    "said",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("file write failed: file descriptor = 3, errno = 28, error message = 'No space left on device'"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_names_the_output_however_a_library_says_it(tmp_path: Path, said: Exception) -> None:
    for published in (files.published_file, folders.published_folder):
        with pytest.raises(OSError, match="No space left") as caught, published(tmp_path / "out"):
            raise said
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(tmp_path / "out")
        assert not list(tmp_path.iterdir())


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, files.published_file(tmp_path / "out"):
        (tmp_path / "input").read_text()
    assert caught.value.filename == str(tmp_path / "input")
    with pytest.raises(RuntimeError, match="a bug"), files.published_file(tmp_path / "out"):
        raise RuntimeError("a bug")


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExists, match="is a folder"):
        files.write_text(tmp_path / "out", "x")


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())
    for text in ("{", "[" * 100_000, '"\\ud8'):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(InvalidInput, match=r"b\.json"):
            files.read_json(tmp_path / "b.json")
    (tmp_path / "b.jsonl").write_text("[" * 100_000 + "\n{}\n")
    with pytest.raises(InvalidInput, match="line 1"):
        json_lines.read_json_lines(tmp_path / "b.jsonl")


@pytest.mark.parametrize("there", [True, False])
def test_a_link_that_is_written_to_stays_one(tmp_path: Path, there: bool) -> None:
    (tmp_path / "disk").mkdir()
    file, folder = tmp_path / "disk" / "file", tmp_path / "disk" / "folder"
    if there:
        file.write_text("old")
        folder.mkdir()
        (folder / "old").write_text("old")
    for link, target in ((tmp_path / "file", file), (tmp_path / "folder", folder)):
        link.symlink_to(target)
    files.write_text(tmp_path / "file", "new")
    with folders.published_folder(tmp_path / "folder", overwrite=there) as part:
        (part / "new").write_text("new")
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "folder").is_symlink()
    assert file.read_text() == "new"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "file", "folder"]  # and nothing half-written


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_neither_file_nor_folder_takes_the_place_of_a_device_or_each_other(tmp_path: Path) -> None:
    """Whoever writes to /dev/null as root would replace it, for the whole machine."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine")
    for name, published in (
        ("pipe", files.published_file),
        ("pipe", folders.published_folder),
        ("file", folders.published_folder),
    ):
        with pytest.raises(OutputExists, match="choose another name"), published(tmp_path / name, overwrite=True):
            pass
    assert not (tmp_path / "pipe").is_file()
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]


def test_a_way_is_written_alike_on_every_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest that was listed on Windows is read on Linux; there is no way from one drive to another."""
    assert files.seen_from(tmp_path / "a", tmp_path / "b" / "c.wav") == "../b/c.wav"
    monkeypatch.setattr(files, "os", SimpleNamespace(path=ntpath, sep="\\"))
    home = PureWindowsPath("C:/study/lists")
    assert files.seen_from(home, PureWindowsPath("C:/study/lists/day/a.wav")) == "day/a.wav"
    assert files.seen_from(home, PureWindowsPath("C:/study/clips/a.wav")) == "../clips/a.wav"
    assert files.seen_from(home, PureWindowsPath("E:/clips/a.wav")) == "E:/clips/a.wav"


@pytest.mark.skipif(os.name == "nt", reason="permissions of its own kind")
def test_what_takes_a_place_keeps_its_permissions(tmp_path: Path) -> None:
    """A store of patients that only its owner could read stays so when utterances are added to it."""
    file, folder = tmp_path / "f.h5", tmp_path / "empty"
    file.write_text("old")
    folder.mkdir()
    file.chmod(0o600)
    folder.chmod(0o700)
    files.write_text(file, "new")
    with folders.published_folder(folder) as part:
        (part / "a").write_text("new")
    assert [path.stat().st_mode & 0o777 for path in (file, folder)] == [0o600, 0o700]
    assert (file.read_text(), (folder / "a").read_text()) == ("new", "new")
