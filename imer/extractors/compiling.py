"""One process at a time compiles: numba's cache on disk breaks where two processes fill it at once.

librosa compiles on first use and keeps the machine code beside its sources. Two first uses at the same moment leave an
index that does not fit the code, and every later process that loads it may crash. So first uses queue up.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def compiling_alone() -> Iterator[None]:
    """Hold this user's lock for compilation; without file locks (Windows) go on without it."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"imer-compiling-{os.getuid()}.lock"
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, also by a kill
        yield
