"""The only way folders come into being: complete, with a manifest of their files, or not at all.

A folder is filled under a temporary name and renamed, as files are. Its `manifest.json` is written last and names every file
in it with its size and sha256, so a folder without a matching manifest does not exist.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from imer.core import files
from imer.core.errors import InvalidInput, OutputExists, listed
from imer.core.files import (
    behind_links,
    fsync_file,
    fsync_folder,
    is_free,
    keep_mode,
    make_folder,
    naming,
    read_json,
    remove_leftovers,
    sha256_file,
    sha256_json,
    temporary_name,
    write_json,
)

FOLDER_MANIFEST = "manifest.json"
MANY, SYNCED_AT_ONCE = 100, 32  # files
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of renameat2(2)


@contextmanager
def published_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it becomes `path`, with a manifest of its files.

    Raises
    ------
    OutputExists
        `path` is there, is no empty folder, and `overwrite` is false; or somebody put files of their own into it.
    OSError
        The system refuses, as when the disk is full; the error names `path`.
    """
    path = behind_links(Path(path))
    if path.exists() and not path.is_dir():
        raise OutputExists(f"{path} is no folder, but one is to be written; choose another name.")
    if not overwrite and not is_free(path):
        raise OutputExists(f"{path} exists already; choose another name or add --overwrite.")
    if own := _unlisted(path):
        raise OutputExists(
            f"{path} also holds {listed(own, 3)}, which imer did not make and would delete; move it away, or choose another "
            "name."
        )
    make_folder(path.parent)
    remove_leftovers(path.parent, path.name)
    part = temporary_name(path)
    with naming(path, part):
        try:
            files.fault_point("mkdir")
            part.mkdir()
            yield part
            entries = folder_entries(part)
            _sync([part / entry["path"] for entry in entries])
            for inner in part.rglob("*"):
                if inner.is_dir():
                    fsync_folder(inner)
            write_json(part / FOLDER_MANIFEST, {"files": entries})
            keep_mode(path, part)
            _replace_folder(part, path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _sync(paths: Sequence[Path]) -> None:
    """Have the system put files on the disk; many at once, which takes it a fraction of the time."""
    if len(paths) <= MANY:
        for path in paths:
            fsync_file(path)
        return
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as threads:
        for _ in threads.map(fsync_file, paths):
            pass


@contextmanager
def scratch_folder(output: Path | None) -> Iterator[Path]:
    """Yield an empty folder that is gone afterwards: beside `output`, or among the system's temporary files without one.

    What a kill leaves of it beside an output is cleared away with the other leftovers of that output.
    """
    if output is None:
        with TemporaryDirectory(prefix="imer-") as name:
            yield Path(name)
        return
    folder = temporary_name(output)
    make_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Delete a published folder: it is gone in one step, and its files afterwards."""
    part = temporary_name(path)
    with suppress(OSError):
        files.fault_point("remove")
        os.rename(path, part)
        fsync_folder(path.parent)  # or a power cut could bring the name back, of a folder that lacks files
    for folder in (part, path):  # the second where the first could not be made
        shutil.rmtree(folder, ignore_errors=True)


def _replace_folder(part: Path, path: Path) -> None:
    """Rename `part` to `path`; where there is a folder already, the two change places in one step."""
    files.fault_point("replace")
    old: Path | None = None
    if path.exists():
        old = part
        if not _exchanged(part, path):
            # The system cannot do that: move the old one aside first, under a name that nothing clears away.
            old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
            os.rename(path, old)
            try:
                os.rename(part, path)
            except OSError:
                os.rename(old, path)
                raise
    else:
        os.rename(part, path)
    fsync_folder(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two names in one step; false where the system has no such call (Linux has, on most file systems)."""
    if sys.platform != "linux":
        return False
    try:
        swap = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    return swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _unlisted(folder: Path) -> list[str]:
    """Return the files of a published folder that its manifest does not name.

    A hidden file is of nobody's making (`.DS_Store`, `.nfs…`); what lies in a hidden folder is somebody's work, as in `.git`.
    """
    if not (folder / FOLDER_MANIFEST).is_file():
        return []
    try:
        named = {entry["path"] for entry in read_json(folder / FOLDER_MANIFEST)["files"]} | {FOLDER_MANIFEST}
    except (InvalidInput, KeyError, TypeError):  # damaged: what it named cannot be told from the rest
        return []
    found = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file()]
    return [name.as_posix() for name in found if name.as_posix() not in named and not name.name.startswith(".")]


def folder_entries(folder: Path) -> list[dict[str, Any]]:
    """List a folder's files (but its manifest) with their path, size in bytes and sha256, sorted by path."""
    inside = [file for file in folder.rglob("*") if file.is_file() and file.name != FOLDER_MANIFEST]
    return _entries(folder, sorted(inside, key=lambda file: file.parts))  # the same on every system, as its digest is


def _entries(folder: Path, inside: Sequence[Path]) -> list[dict[str, Any]]:
    return [
        {"path": file.relative_to(folder).as_posix(), "bytes": file.stat().st_size, "sha256": sha256_file(file)}
        for file in inside
    ]


def write_manifest(folder: Path, names: Sequence[str]) -> None:
    """Publish the digests of some files of a folder that grew file by file: from now on, `verify_folder` knows them."""
    write_json(folder / FOLDER_MANIFEST, {"files": _entries(folder, [folder / name for name in sorted(names)])})


def verify_folder(folder: Path, only: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Check every file that the folder's manifest names, or only these of them; return the entries.

    Raises
    ------
    InvalidInput
        The manifest is missing, or a file is missing or was changed.
    """
    manifest = Path(folder) / FOLDER_MANIFEST
    try:
        entries = [entry for entry in read_json(manifest)["files"] if not only or entry["path"] in only]
        named = [(Path(folder) / entry["path"], entry["bytes"], entry["sha256"]) for entry in entries]
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"{manifest} is damaged: it is no list of files; copy the whole folder again.") from error
    for file, size, digest in named:
        if not file.is_file():
            raise InvalidInput(f"{file} is missing although {FOLDER_MANIFEST} names it; copy the whole folder again.")
        if file.stat().st_size != size or sha256_file(file) != digest:
            raise InvalidInput(f"{file} was changed or damaged: its sha256 is not the one in {manifest}.")
    return entries


def stated_digest(folder: Path) -> str:
    """Return the digest of a folder as the manifests in it state it: that of `output_entry`, without reading the files."""
    entries = [
        {**entry, "path": (manifest.parent.relative_to(folder) / entry["path"]).as_posix()}
        for manifest in folder.rglob(FOLDER_MANIFEST)
        for entry in read_json(manifest)["files"]
        if Path(entry["path"]).name != FOLDER_MANIFEST
    ]
    return sha256_json(sorted(entries, key=lambda entry: Path(entry["path"]).parts))


def output_entry(path: Path) -> dict[str, Any]:
    """Describe an output for `--json`: path, sha256 and size in bytes (for a folder, of its manifest's entries)."""
    path = Path(path)
    if path.is_dir():
        entries = folder_entries(path)
        return {"path": str(path), "sha256": sha256_json(entries), "bytes": sum(e["bytes"] for e in entries)}
    return {"path": str(path), "sha256": sha256_file(path), "bytes": path.stat().st_size}
