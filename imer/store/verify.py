"""Recompute the digests of anything that `imer` publishes."""

from __future__ import annotations

from pathlib import Path

import h5py

from imer.core.errors import InvalidInput
from imer.core.files import read_json
from imer.core.folders import FOLDER_MANIFEST, stated_digest, verify_folder
from imer.store import profile


def not_covered(folder: Path) -> list[str]:
    """Return the files in a folder that no manifest in it says anything of, such as the results of a run."""
    folder = Path(folder)
    manifests = set(folder.rglob(FOLDER_MANIFEST))
    covered = {manifest.parent / entry["path"] for manifest in manifests for entry in read_json(manifest)["files"]}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path.relative_to(folder)) for path in files if path not in covered | manifests]


def verify_any(path: Path) -> tuple[str, str]:
    """Verify a store, a mask, or a folder with a manifest; return its kind and content digest.

    Of a folder this is the digest that reports and `--json` say of it, unless files lie in it that nothing covers.

    Raises
    ------
    InvalidInput
        It is missing, damaged or changed, or nothing that `imer` writes.
    """
    path = Path(path)
    if path.is_dir():
        folders = sorted(manifest.parent for manifest in path.rglob(FOLDER_MANIFEST))
        if not folders:
            raise InvalidInput(f"{path} holds no {FOLDER_MANIFEST}, so there is nothing to verify it against.")
        for folder in folders:
            verify_folder(folder)
        return "folder", stated_digest(path)
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist.")
    with profile.reading(path), h5py.File(path, "r") as file:
        name = profile.format_of(file)
    if name not in profile.FORMATS:
        raise InvalidInput(f"{path} is HDF5, but not a file of imer (its format is {name or 'not stated'!r}).")
    with profile.opened(path, profile.FORMATS[name]) as file:
        return name, str(profile.read_attribute(file, profile.DIGEST))
