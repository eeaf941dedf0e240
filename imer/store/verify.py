"""Recompute the digests of anything that `imer` publishes."""

from __future__ import annotations

from pathlib import Path

import h5py

from imer.core.errors import InvalidInput
from imer.core.files import FOLDER_MANIFEST, sha256_json, verify_folder
from imer.store import profile


def not_covered(folder: Path) -> list[str]:
    """Return the files in a folder that no manifest in it says anything of, such as the results of a run."""
    folder = Path(folder)
    covered = [manifest.parent for manifest in folder.rglob(FOLDER_MANIFEST)]
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path.relative_to(folder)) for path in files if not any(path.is_relative_to(one) for one in covered)]


def verify_any(path: Path) -> tuple[str, str]:
    """Verify a store, a mask, or a folder with a manifest; return its kind and content digest.

    Raises
    ------
    InvalidInput
        It is missing, damaged or changed, or nothing that `imer` writes.
    """
    path = Path(path)
    if path.is_dir():
        folders = (
            [path] if (path / FOLDER_MANIFEST).is_file() else sorted(p.parent for p in path.rglob(FOLDER_MANIFEST))
        )
        if not folders:
            raise InvalidInput(f"{path} holds no {FOLDER_MANIFEST}, so there is nothing to verify it against.")
        return "folder", sha256_json([verify_folder(folder) for folder in folders])
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist.")
    with profile.reading(path), h5py.File(path, "r") as file:
        name = profile.format_of(file)
    if name not in profile.FORMATS:
        raise InvalidInput(f"{path} is HDF5, but not a file of imer (its format is {name or 'not stated'!r}).")
    with profile.opened(path, profile.FORMATS[name]) as file:
        return name, str(profile.read_attribute(file, profile.DIGEST))
