"""The HDF5 profile of every file that `imer` writes, and how such a file is opened.

Fixed-length strings only (a flipped bit in a variable-length one can crash or hang the HDF5 library), every dataset
chunked with fletcher32, no timestamps, and one `content_sha256` over every dataset and attribute that a reader uses.
With these, a flipped bit or a cut file is either refused or changes nothing (measured by `tests/campaigns`).
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imer._version import __version__
from imer.core.errors import InvalidInput
from imer.core.files import published_file, remove_leftovers, system_error
from imer.store import guards
from imer.store.sink import new_hdf5

DIGEST = "content_sha256"
CHUNK_BYTES = 1 << 15  # 32 KiB: one chunk is what a single read costs (measured by benchmarks/big_stores.py)
SLICE_BYTES = 8 << 20  # read at a time when hashing
_NOT_DAMAGE = (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EIO)


@dataclass(frozen=True)
class Format:
    """A kind of file in the profile, and the version of it that this release reads and writes."""

    name: str
    version: int


_SIGNATURE = b"\x89HDF\r\n\x1a\n"
STORE = Format("imer-features", 1)
MASK = Format("imer-mask", 1)
FORMATS = {kind.name: kind for kind in (STORE, MASK)}


def encode_strings(values: Iterable[str]) -> np.ndarray:
    """Encode strings as fixed-length UTF-8 bytes (`S` dtype), at least one byte wide."""
    encoded = [value.encode() for value in values]
    width = max([1, *map(len, encoded)])
    return np.array(encoded, dtype=f"S{width}") if encoded else np.zeros(0, dtype="S1")


def decode_strings(values: np.ndarray) -> list[str]:
    """Undo `encode_strings`."""
    return [value.decode() for value in values.tolist()]


def offsets_of(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return int64 [N + 1]: part i of what is laid end to end is offsets[i]:offsets[i+1]."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def encode_texts(values: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encode texts of any length as (bytes, offsets): text i is bytes[offsets[i]:offsets[i+1]] in UTF-8."""
    encoded = [value.encode() for value in values]
    offsets = offsets_of([len(text) for text in encoded])
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


def decode_texts(joined: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Undo `encode_texts`."""
    text = joined.tobytes()
    return [text[start:stop].decode() for start, stop in pairwise(offsets)]


def read_attribute(item: h5py.Group | h5py.Dataset, name: str, default: str | int | float | None = None) -> Any:
    """Return an attribute as a Python value: `default` where it is missing (KeyError without one)."""
    if default is not None and name not in item.attrs:
        return default
    return _attribute(guards.raw_attribute(item, name)[()])


def format_of(file: h5py.File) -> str:
    """Return what a file says it is; empty where it says nothing."""
    return str(read_attribute(file, "format", ""))


def _chunks_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    row_bytes = max(int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize, 1)
    rows = max(min(shape[0], CHUNK_BYTES // row_bytes), 1)
    return (rows, *(max(width, 1) for width in shape[1:]))


def create_dataset(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """Create a dataset in the profile: chunked along rows, fletcher32, no timestamps."""
    dtype = np.dtype(dtype)
    maxshape = tuple(None if extent == 0 else extent for extent in shape)
    return group.create_dataset(
        name,
        shape=shape,
        maxshape=maxshape,
        dtype=dtype,
        chunks=_chunks_for(shape, dtype),
        fletcher32=True,
        track_times=False,
    )


def put(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    """Write a whole array as a dataset in the profile."""
    dataset = create_dataset(group, name, values.shape, values.dtype)
    if values.size:
        dataset[...] = values
    return dataset


def put_attribute(item: h5py.HLObject, name: str, value: str | int | float) -> None:
    """Write an attribute as a fixed-length string, an int64 or a float64."""
    item.attrs.create(name, np.bytes_(value.encode() or b"\x00") if isinstance(value, str) else np.asarray(value))


def _attribute(value: Any) -> str | int | float:
    """Read an attribute's value back to a Python value."""
    if isinstance(value, bytes | np.bytes_):
        return bytes(value).rstrip(b"\x00").decode()
    return value.item() if isinstance(value, np.generic) else value


def content_digest(file: h5py.File) -> str:
    """Return the sha256 over (path, dtype, shape, bytes) of every dataset and attribute, in sorted order.

    Raises
    ------
    InvalidInput
        Something in the file is not plain (see `imer.store.guards`).
    """
    digest = hashlib.sha256()

    def add(text: str) -> None:
        digest.update(text.encode() + b"\x00")

    def add_attributes(path: str, item: h5py.Group | h5py.Dataset) -> None:
        for name in guards.attribute_names(item):
            if path or name != DIGEST:
                value = guards.raw_attribute(item, name)
                add(f"@{path}/{name} {value.dtype.str} {value.shape}")
                digest.update(value.tobytes())

    add_attributes("", file)
    for path, item in guards.walk(file):
        add_attributes(path, item)
        if isinstance(item, h5py.Dataset):
            add(f"{path} {item.dtype.str} {item.shape}")
            step = max(SLICE_BYTES // max(item.nbytes // max(item.shape[0], 1), 1), 1)
            for start in range(0, item.shape[0] if item.size else 0, step):
                digest.update(np.ascontiguousarray(item[start : start + step]).tobytes())
    return digest.hexdigest()


def publish(path: Path, kind: Format, fill: Callable[[h5py.File], None], *, overwrite: bool = False) -> str:
    """Write an HDF5 file in the profile and publish it; return its content digest. `fill` writes what is in it."""
    remove_leftovers(Path(path).parent, Path(path).name)
    with published_file(Path(path), overwrite=overwrite) as part, new_hdf5(part) as file:
        put_attribute(file, "format", kind.name)
        put_attribute(file, "format_version", kind.version)
        put_attribute(file, "imer_version", __version__)
        fill(file)
        digest = content_digest(file)
        put_attribute(file, DIGEST, digest)
    return digest


@contextmanager
def opened(path: Path, kind: Format, *, verify: bool = True) -> Iterator[h5py.File]:
    """Open a file of ours for reading, after checking its format and (unless told not to) its content digest.

    Raises
    ------
    InvalidInput
        The file is missing, not HDF5, of another format or a newer version, unsafe, damaged or changed.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(
            f"{path} is a folder; expected an HDF5 file."
            if path.is_dir()
            else f"{path} does not exist or is not a file."
        )
    with open(path, "rb") as raw:
        if (begins := raw.read(len(_SIGNATURE))) and begins != _SIGNATURE:
            raise InvalidInput(
                f"{path} is no HDF5 file, as a feature store or a mask of imer is, or its beginning is damaged."
            )
    with reading(path):
        file = h5py.File(path, "r")
    try:
        with reading(path):
            found = format_of(file)
            if found != kind.name:
                raise InvalidInput(f"{path} is not an {kind.name} file (its format is {found or 'not stated'!r}).")
            version = read_attribute(file, "format_version", 0)
            if version != kind.version:
                raise InvalidInput(
                    f"{path} has format version {version}, but this imer {__version__} reads version {kind.version}."
                )
            if verify and content_digest(file) != read_attribute(file, DIGEST, ""):
                raise InvalidInput(f"{path} is damaged or was changed: its content digest does not match.")
        yield file
    finally:
        file.close()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever the HDF5 library says of a broken file into one sentence, an InvalidInput.

    The library reports damage as OSError, RuntimeError, KeyError, ValueError, TypeError or UnicodeDecodeError,
    depending on which byte is wrong. What the system refuses (too many open files) is no damage, and stays an OSError.
    """
    try:
        yield
    except InvalidInput:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        refused = system_error(error, path, path)
        if refused is not None and refused.errno in _NOT_DAMAGE:
            raise refused from error
        raise InvalidInput(
            f"{path} is not a readable HDF5 file of imer: it is damaged or cut short ({error})."
        ) from error


def write_small(
    path: Path,
    kind: Format,
    datasets: Mapping[str, np.ndarray],
    attributes: Mapping[str, str | int | float],
    *,
    overwrite: bool = False,
) -> str:
    """Publish a flat file: a few datasets and root attributes. Return its content digest."""

    def fill(file: h5py.File) -> None:
        for name, value in attributes.items():
            put_attribute(file, name, value)
        for name, values in datasets.items():
            put(file, name, values)

    return publish(path, kind, fill, overwrite=overwrite)


def read_small(path: Path, kind: Format) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read back what `write_small` wrote, verified."""
    with opened(path, kind) as file, reading(path):
        datasets = {name: file[name][...] for name in sorted(file.keys())}
        return datasets, {name: read_attribute(file, name) for name in guards.attribute_names(file)}
