"""A folder as it stands, compared with how it stood, and put back: what did a command line make, change and remove?"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

State = dict[str, tuple[object, ...]]


def state_of(folder: Path) -> State:
    """Return what is below a folder: by relative name its kind, permissions, size, inode and time, or where it links to."""
    found: State = {}
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(at, name)
            found[os.path.relpath(path, folder)] = _entry(path)
    return found


def _entry(path: str) -> tuple[object, ...]:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return ("link", os.readlink(path))
    if stat.S_ISDIR(status.st_mode):
        return ("folder", status.st_mode)
    return (status.st_mode, status.st_size, status.st_ino, status.st_mtime_ns)


def differences(before: State, after: State) -> tuple[list[str], list[str]]:
    """Return the names that are new, and those of what was changed or removed."""
    new = sorted(after.keys() - before.keys())
    return new, sorted(name for name, entry in before.items() if after.get(name) != entry)


def put_back(folder: Path, kept: Path, before: State, after: State) -> State:
    """Make the folder what it was, from a copy of it that was kept; return its state, which differs in inodes alone."""
    new, changed = differences(before, after)
    for name in (*new, *changed):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    lost = {name for name in before if any(name == one or name.startswith(one + os.sep) for one in changed)}
    for name in sorted(lost):
        copy_entry(kept / name, folder / name)
    return {**before, **{name: _entry(str(folder / name)) for name in lost}}


def copy_tree(folder: Path, to: Path) -> None:
    """Copy a folder with everything in it, links and pipes too."""
    to.mkdir()
    for name in sorted(state_of(folder)):
        copy_entry(folder / name, to / name)


def copy_entry(path: Path, to: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        to.symlink_to(os.readlink(path))
    elif stat.S_ISDIR(mode):
        to.mkdir()
    elif stat.S_ISFIFO(mode):
        os.mkfifo(to)
    else:
        shutil.copy2(path, to)
