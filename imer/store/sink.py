"""Where HDF5 writes to: a file whose failures are kept and told afterwards.

HDF5 does not bear a full disk: a chunk that cannot be written when its dataset is closed is lost without a word and
reads as zeros, or the library crashes when it closes the file. So it writes to this object instead, which answers that
all went well, keeps the first failure, and has it raised when HDF5 is done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class Sink:
    """A new file with the few methods that h5py asks of a file object; `failure` is the first that the system told."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        self._at = 0
        self.failure: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            os.lseek(self._descriptor, self._at, os.SEEK_SET)
            while left and self.failure is None:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            self.failure = error
        self._at += size
        return size

    def read(self, size: int) -> bytes:
        """Read; what is not there, since writing failed, reads as zeros."""
        os.lseek(self._descriptor, self._at, os.SEEK_SET)
        self._at += size
        return os.read(self._descriptor, size).ljust(size, b"\0")

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = self.read(len(view))
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self.failure = self.failure or error
        return size

    def flush(self) -> None:
        """Everything is with the system already; whoever publishes the file syncs it."""

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file to fill; when the context ends it is written and closed.

    Raises
    ------
    OSError
        The system refused to write any part of it, at whatever moment.
    """
    sink = Sink(path)
    try:
        with h5py.File(sink, "w", track_order=False) as file:
            yield file
    except Exception as error:
        if sink.failure is not None:
            raise sink.failure from error
        raise
    finally:
        sink.close()
    if sink.failure is not None:
        raise sink.failure
