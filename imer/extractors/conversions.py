"""Networks that were converted once are kept in the user's cache, so that no later process converts them again.

Converting takes longer than reading what came of it, and only converting needs torch: a worker that finds its networks
here starts in a fraction of the time. A file is named after what it was made from and after its own sha256, so that a
stale or damaged one is never used. Deleting the folder costs nothing but the next conversion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from imer.core.errors import ImerError
from imer.core.files import write_bytes
from imer.extractors.compiling import cache_folder, compiling_alone

_NAME_DIGITS = 16  # of the sha256 of what a network was made from


def converted(made_from: str, convert: Callable[[], bytes]) -> bytes:
    """Return what `convert` gives, from the cache where it is there; `made_from` must say all that it depends on."""
    name = hashlib.sha256(made_from.encode()).hexdigest()[:_NAME_DIGITS]
    folder = cache_folder() / "networks"
    if (found := _kept(folder, name)) is not None:
        return found
    with compiling_alone():
        if (found := _kept(folder, name)) is not None:  # another process was first
            return found
        made = convert()
        with suppress(OSError, ImerError):  # a full disk or a home that cannot be written costs the time only
            write_bytes(folder / f"{name}-{hashlib.sha256(made).hexdigest()}.onnx", made)
        return made


def _kept(folder: Path, name: str) -> bytes | None:
    """Return the whole and unharmed file of that name, or None; a damaged one is deleted."""
    with suppress(OSError):
        for path in sorted(folder.glob(f"{name}-*.onnx")):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == path.stem.partition("-")[2]:
                return content
            path.unlink()
    return None
