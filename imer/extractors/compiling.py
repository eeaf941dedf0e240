"""One process at a time compiles: numba's cache on disk breaks where two processes fill it at once.

librosa compiles on first use and keeps the machine code beside its sources. Two first uses at the same moment leave an
index that does not fit the code, and every later process that loads it may crash. So first uses queue up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's folder for what can be made or fetched again."""
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path(os.path.expanduser("~/.cache"))) / "imer"


@contextmanager
def compiling_alone() -> Iterator[None]:
    """Hold this user's lock for compilation; without file locks (Windows) or a writable home go on without it."""
    with ExitStack() as held:
        with suppress(ImportError, OSError):
            import fcntl

            cache_folder().mkdir(parents=True, exist_ok=True)
            file = held.enter_context(open(cache_folder() / "compiling.lock", "a", encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, also by a kill
        yield
