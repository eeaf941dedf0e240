"""The only way files come into being: complete, or not at all.

A published file is never modified in place. It is written under a temporary name in the same folder, flushed to
disk, and renamed (`reliability` R1): a reader sees the old file or the new one, never half of one, whatever kills
the process. Folders are published the same way: see `folders.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imer.core.errors import ImerError, InvalidInput, OutputExists, UsageError
from imer.core.processes import is_alive

_CHUNK = 1 << 20  # bytes read at a time when hashing
_SYNCED = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY  # Windows syncs only what may be written to
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]
_LIFE = secrets.token_hex(2)  # tells this process from a dead one of its number: in a container all begin to count at 1
# What `temporary_name` gives here, and gave.
_PART = re.compile(rf"\.(?P<name>.+)\.(?P<pid>\d+)\.{_HOST}(?P<life>[0-9a-f]{{4}})[0-9a-f]{{4,6}}\.part")
# How HDF5 and safetensors quote the number of a system error in errors of their own kinds.
_QUOTED_ERRNO = re.compile(r"\b(?:errno = |os error )(\d+)")


def fault_point(name: str) -> None:
    """Called before each step that changes the disk; the reliability tests replace it to make that step fail."""


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON text (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fsync_file(path: Path) -> None:
    """Have the system put a file's content on the disk."""
    fault_point("fsync")
    descriptor = os.open(path, _SYNCED)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(path: Path) -> None:
    """Have the system put a folder's names on the disk."""
    # Some systems (Windows, a few network mounts) cannot sync a folder; the rename itself is still atomic there.
    with suppress(OSError):
        fsync_file(path)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, so that their names outlive a power cut.

    What is published in a folder is safe only when the folder itself is: its name is synced in the folder above.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        fsync_folder(folder.parent)


def same_file(one: Path, other: Path) -> bool:
    """Say whether two names stand for one file or folder that is there."""
    return one.exists() and other.exists() and one.samefile(other)


def spare_inputs(output: Path | None, *inputs: Path | str | None) -> None:
    """Refuse an output that is one of the inputs: whoever mistypes a name must not lose what it names.

    Raises
    ------
    UsageError
        They are the same file or folder.
    """
    for one in inputs:
        if output is not None and one is not None and same_file(Path(output), Path(one)):
            raise UsageError(f"{output} is an input of this command; choose another name for the output.")


def temporary_name(path: Path) -> Path:
    """Return a fresh temporary name beside `path`, so that the final rename stays within one file system."""
    return path.parent / f".{path.name}.{os.getpid()}.{_HOST}{_LIFE}{secrets.token_hex(3)}.part"


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete what dead processes of this host left half-written in a folder: of one output, or of all."""
    for part in folder.glob(".*.part"):
        match = _PART.fullmatch(part.name)
        if match is None or name not in (None, match["name"]):
            continue
        pid = int(match["pid"])
        if match["life"] == _LIFE if pid == os.getpid() else is_alive(pid):
            continue
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with suppress(OSError):
                part.unlink()


def system_error(error: BaseException, path: Path, part: Path) -> OSError | None:
    """Return what the system refused while `path` was used, as an error that names it; None for any other error.

    A full disk comes back in many shapes: as an OSError without a name, or with that of the temporary file, or inside
    a library's own error. An error that names another file is none of these.
    """
    if isinstance(error, ImerError) or not isinstance(error, Exception):
        return None
    if isinstance(error, OSError) and error.filename and not str(error.filename).startswith(str(part)):
        return None
    quoted = _QUOTED_ERRNO.search(str(error))
    code = (error.errno if isinstance(error, OSError) else None) or (int(quoted[1]) if quoted else None)
    return None if code is None else OSError(code, os.strerror(code), str(path))


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """Have what the system refuses within name `path`, and not its temporary file `part` or nothing at all."""
    try:
        yield
    except Exception as error:
        if refused := system_error(error, path, part or path):
            raise refused from error
        raise


def followed(path: Path) -> Path:
    """Return the absolute path that names lead to, there or not. A circle of links, which leads nowhere, is kept as it is."""
    return Path(os.path.realpath(path))


def seen_from(folder: Path, path: Path) -> str:
    """Return the way from a folder to a path, with / on every system; the whole path where it is on another drive."""
    try:
        way = os.path.relpath(path, folder)
    except ValueError:  # Windows has no way from one drive to another
        way = str(path)
    return way.replace(os.sep, "/")


def behind_links(path: Path) -> Path:
    """Return what a symbolic link points to, there or not; any other path unchanged. Writing there keeps the link.

    So is `.`, `..` or `/`, beside whose name no other can be made, as that of a lock or of a temporary file is.
    """
    return followed(path) if path.is_symlink() or path.name in ("", "..") else path


def encodable(text: str) -> bool:
    """Say whether the text has a UTF-8 form (half of a surrogate pair, as JSON may spell one, has none)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_name(path: Path) -> None:
    """Refuse a path that libraries in other languages cannot take.

    Raises
    ------
    UsageError
        It is not valid UTF-8.
    """
    if not encodable(str(path.absolute())):
        raise UsageError(f"The path {str(path)!a} is not valid UTF-8; choose another name.")


def is_free(path: Path) -> bool:
    """Say whether a folder can be made there: there is nothing, or an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def keep_mode(old: Path, new: Path) -> None:
    """Let those read what is to take the place of a file or folder who may read that, and nobody else."""
    with suppress(OSError):  # there is none
        shutil.copymode(old, new)


@contextmanager
def published_file(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `path`, on any error it is removed.

    Raises
    ------
    OutputExists
        `path` exists and `overwrite` is false, or `path` is a folder.
    OSError
        The system refuses, as when the disk is full; the error names `path`.
    """
    path = behind_links(Path(path))
    if path.is_dir():
        raise OutputExists(f"{path} is a folder, but a file is to be written; choose another name.")
    if path.exists() and not path.is_file():
        raise OutputExists(f"{path} is a device or a pipe, which a file cannot take the place of; choose another name.")
    if not overwrite and path.exists():
        raise OutputExists(f"{path} exists already; choose another name or add --overwrite.")
    make_folder(path.parent)
    part = temporary_name(path)
    with naming(path, part):
        try:
            yield part
            keep_mode(path, part)
            fsync_file(part)
            fault_point("replace")
            os.replace(part, path)
            fsync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """Publish a file with this content."""
    with published_file(path) as part:
        fault_point("write")
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Publish a UTF-8 text file."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Publish a JSON file. NaN and infinities are refused: JSON has no word for them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InvalidInput
        The file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} is missing.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not readable JSON ({error}); restore it or make it again.") from error
