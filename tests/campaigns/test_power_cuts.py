"""The model of a disk after a power cut finds what is not synced, and `core.files` leaves nothing of the kind."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from imer.core.files import write_bytes
from imer.core.folders import published_folder, remove_folder
from tests.campaigns import calls
from tests.campaigns.power_cuts import Disk, Tree
from tests.campaigns.test_calls import watching

OLD, NEW = b"old" * 100, b"new" * 200
NAME = "answer.json"


def careless(folder: Path) -> None:
    """Publish a file as many programs do: under a temporary name, then renamed, and nothing synced."""
    part = folder / "part"
    part.write_bytes(NEW)
    os.replace(part, folder / NAME)


def half_careful(folder: Path) -> None:
    """Sync the file, but not the folder that its name is in."""
    with open(folder / "part", "wb") as file:
        file.write(NEW)
        file.flush()
        os.fsync(file.fileno())
    os.replace(folder / "part", folder / NAME)


def careful(folder: Path) -> None:
    """Publish a file as everything of `imer` is published."""
    write_bytes(folder / NAME, NEW)


def in_new_folders(folder: Path) -> None:
    """Publish a file in folders that have to be made first."""
    write_bytes(folder / "a" / "b" / NAME, NEW)


def whole_folder(folder: Path) -> None:
    """Publish a folder with a file, and one in a folder of its own."""
    with published_folder(folder / "whole") as part:
        (part / "inner").mkdir()
        (part / "one").write_bytes(NEW)
        (part / "inner" / "two").write_bytes(NEW)


def removed(folder: Path) -> None:
    """Publish a folder with two files, and remove it again."""
    with published_folder(folder / "whole") as part:
        (part / "one").write_bytes(NEW)
        (part / "two").write_bytes(NEW)
    remove_folder(folder / "whole")


def disks(work: Callable[[Path], None], folder: Path) -> tuple[list[Tree], list[Tree]]:
    """Return all disks that a power cut could leave while `work` goes on, and those after it has ended."""
    (folder / NAME).write_bytes(OLD)
    disk, rng = Disk(folder), random.Random(0)
    during: list[Tree] = []
    last: calls.Call | None = None

    def decide(number: int, call: calls.Call) -> None:
        nonlocal last
        if call.writes:
            disk.settle(last)
            last = call
            during.extend(tree for _, tree in disk.after_a_cut(rng))

    def run() -> int:
        work(folder)
        return 0

    assert calls.watched(run, folder, decide).code == 0
    disk.settle(last)
    return during, [tree for _, tree in disk.after_a_cut(rng)]


@watching
@pytest.mark.parametrize(
    ("work", "found_during", "found_after"),
    [
        (careless, {OLD}, {OLD, NEW, b"", NEW[: len(NEW) // 2], bytes(len(NEW))}),
        (half_careful, {OLD}, {OLD, NEW}),
        (careful, {OLD, NEW}, {NEW}),
    ],
)
def test_what_is_not_synced_may_be_lost(
    tmp_path: Path, work: Callable[[Path], None], found_during: set[bytes], found_after: set[bytes]
) -> None:
    during, after = disks(work, tmp_path)
    assert {tree[NAME] for tree in during} == found_during
    assert {tree[NAME] for tree in after} == found_after


@watching
def test_what_is_published_in_new_folders_is_safe_with_them(tmp_path: Path) -> None:
    during, after = disks(in_new_folders, tmp_path)
    assert {tree.get(f"a/b/{NAME}") for tree in during} == {None, NEW}
    assert {tree[f"a/b/{NAME}"] for tree in after} == {NEW}


@watching
def test_a_published_folder_is_there_with_all_that_is_in_it(tmp_path: Path) -> None:
    during, after = disks(whole_folder, tmp_path)
    assert {tree.get(f"whole/{name}") for tree in during for name in ("one", "inner/two")} == {None, NEW}
    assert {tree[f"whole/{name}"] for tree in after for name in ("one", "inner/two")} == {NEW}
    assert {"whole" in tree and "whole/inner/two" not in tree for tree in [*during, *after]} == {False}


@watching
def test_a_removed_folder_does_not_come_back_in_parts(tmp_path: Path) -> None:
    during, after = disks(removed, tmp_path)
    whole = {"whole/manifest.json", "whole/one", "whole/two"}
    assert {frozenset(whole & tree.keys()) for tree in during} == {frozenset(), frozenset(whole)}
    assert {"whole" in tree for tree in after} == {False}
