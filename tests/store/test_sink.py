"""HDF5 on a disk that refuses: always an error that names the output, never a file with holes, never a crash."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest

from imer.core.types import Utterance
from imer.store.sink import Sink, new_hdf5
from imer.store.writer import write_store
from tests.stores import write_small_store


def test_a_file_that_cannot_grow_is_an_error_wherever_it_stops(tmp_path: Path) -> None:
    """The system's own limit on the size of a file, at forty places: each write beyond it is refused for real."""
    size = write_small_store(tmp_path / "whole.h5", n_dialogues=3).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in np.linspace(1, size - 1, 40, dtype=int):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), hard))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                write_small_store(tmp_path / "f.h5", n_dialogues=3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.errno == errno.EFBIG
        assert caught.value.filename == str(tmp_path / "f.h5")
        assert [path.name for path in tmp_path.iterdir()] == ["whole.h5"]


def test_an_error_of_the_writer_is_not_mistaken_for_one_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_hdf5(tmp_path / "x.h5"):
        raise ZeroDivisionError
    with pytest.raises(IsADirectoryError):
        Sink(tmp_path)


def test_a_sink_is_a_file(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "x")
    sink.write(b"hello world")
    assert sink.seek(-5, 2) == 6
    assert sink.read(5) == b"world"
    assert sink.tell() == 11
    sink.seek(0)
    buffer = bytearray(8)
    assert sink.readinto(buffer) == 8
    assert bytes(buffer) == b"hello wo"
    sink.truncate(5)
    sink.seek(3)
    assert sink.read(4) == b"lo\0\0"
    sink.close()
    assert (tmp_path / "x").read_bytes() == b"hello"


def test_what_is_written_can_be_read_by_anyone(tmp_path: Path) -> None:
    write_store(tmp_path / "f.h5", [Utterance("u", "d", 0, 2, text="hé")], [], {})
    with h5py.File(tmp_path / "f.h5") as file:
        assert bytes(file["index/text"][...]).decode() == "hé"
