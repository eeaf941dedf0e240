"""What is refused in an HDF5 file before a value of it is read.

A file of ours is plain: groups in a tree, fixed-length numbers and strings, chunks with a checksum. Everything else
that HDF5 can hold may read another file, load a plug-in, need any amount of memory, never end, or crash the library;
so whatever is not plain is refused by its description alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5o, h5s, h5t, h5z

from imer.core.errors import InvalidInput

MAX_DECLARED_RATIO = 1000  # a dataset that declares more than this times its stored bytes is a trap
MAX_CHUNK_BYTES = 64 << 20  # one read takes a whole chunk into memory
MAX_ATTRIBUTE_BYTES = 64 << 10  # what HDF5 itself keeps in an object's header
MAX_ATTRIBUTES = 64  # of one object
MAX_DEPTH = 8
MAX_DIMENSIONS = 2
_PLAIN_TYPES = (h5t.INTEGER, h5t.FLOAT, h5t.STRING)
_LINKS = {h5l.TYPE_SOFT: "soft link", h5l.TYPE_EXTERNAL: "external link"}


def walk(file: h5py.File) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield every group and dataset by sorted path, each guarded before it is yielded.

    Raises
    ------
    InvalidInput
        A link is not a hard one, an object is reached by two paths (a cycle would never end) or is neither group nor
        dataset, groups are nested too deep, or a dataset is not plain (see `check_dataset`).
    """
    seen = {_address(file.id, b".")}
    yield from _below(file, "", seen, MAX_DEPTH)


def _below(group: h5py.Group, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    for name in sorted(group.keys()):
        where = f"{group.file.filename}: {path}/{name}"
        encoded = name.encode()
        kind = group.id.links.get_info(encoded).type
        if kind != h5l.TYPE_HARD:
            raise InvalidInput(f"{where} is a {_LINKS.get(kind, 'user-defined link')}, which is not allowed.")
        address = _address(group.id, encoded)
        if address in seen:
            raise InvalidInput(f"{where} is an object that has another path already, which is not allowed.")
        seen.add(address)
        item = group[name]
        if isinstance(item, h5py.Dataset):
            check_dataset(item, where)
            yield f"{path}/{name}", item
        elif isinstance(item, h5py.Group):
            if depth <= 1:
                raise InvalidInput(f"{where} is nested too deep: {MAX_DEPTH} levels are allowed.")
            yield f"{path}/{name}", item
            yield from _below(item, f"{path}/{name}", seen, depth - 1)
        else:
            raise InvalidInput(f"{where} is neither a group nor a dataset.")


def _address(group: h5py.h5g.GroupID | h5py.h5f.FileID, name: bytes) -> int:
    return int(h5o.get_info(group, name).addr)


def check_dataset(dataset: h5py.Dataset, where: str) -> None:
    """Refuse a dataset that is not plain, by what it declares; nothing of it is read.

    Raises
    ------
    InvalidInput
        It keeps its values in another file, has another layout or filter than ours, holds anything but fixed-length
        numbers and strings, or declares far more than it stores.
    """
    created = dataset.id.get_create_plist()
    layout = created.get_layout()
    if layout == h5d.VIRTUAL or created.get_external_count():
        raise InvalidInput(f"{where} keeps its data in another file, which is not allowed.")
    if layout != h5d.CHUNKED:
        raise InvalidInput(f"{where} is not stored in chunks, as all that imer writes is.")
    kind = dataset.id.get_type()
    _check_type(kind, where)
    filters = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    if filters != [h5z.FILTER_FLETCHER32]:
        raise InvalidInput(f"{where} has the HDF5 filters {filters}; a checksum and nothing else is allowed.")
    space = dataset.id.get_space()
    if space.get_simple_extent_type() != h5s.SIMPLE or not 1 <= space.get_simple_extent_ndims() <= MAX_DIMENSIONS:
        raise InvalidInput(f"{where} is no array of one or {MAX_DIMENSIONS} dimensions.")
    if kind.get_size() * math.prod(created.get_chunk()) > MAX_CHUNK_BYTES:
        raise InvalidInput(f"{where} has chunks of more than {MAX_CHUNK_BYTES >> 20} MiB, which is not allowed.")
    # An empty array counts as one of a single row or column: 2⁶² rows of nothing are a trap too.
    declared = kind.get_size() * math.prod(max(extent, 1) for extent in space.get_simple_extent_dims())
    stored = dataset.id.get_storage_size()
    if declared > MAX_DECLARED_RATIO * max(stored, 1 << 10):
        raise InvalidInput(f"{where} declares {declared} bytes but stores {stored}.")


def _check_type(kind: h5t.TypeID, where: str) -> None:
    if kind.get_class() == h5t.VLEN or (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()):
        raise InvalidInput(f"{where} has variable-length values; only fixed-length ones are allowed.")
    if kind.get_class() not in _PLAIN_TYPES:
        raise InvalidInput(f"{where} holds neither numbers nor fixed-length strings, which is not allowed.")


def attribute_names(item: h5py.Group | h5py.Dataset) -> list[str]:
    """Return the names of an object's attributes, sorted.

    Raises
    ------
    InvalidInput
        There are too many.
    """
    if h5a.get_num_attrs(item.id) > MAX_ATTRIBUTES:
        raise InvalidInput(f"{item.file.filename}: {item.name} has more than {MAX_ATTRIBUTES} attributes.")
    return sorted(item.attrs.keys())


def raw_attribute(item: h5py.Group | h5py.Dataset, name: str) -> np.ndarray:
    """Return an attribute's value as an array, after checking what it declares.

    Raises
    ------
    KeyError
        There is no such attribute.
    InvalidInput
        It is not a short number or fixed-length string, or an array of them.
    """
    where = f"{item.file.filename}: the attribute {name} of {item.name or '/'}"
    if name not in item.attrs:
        raise KeyError(f"the attribute {name} of {item.name or '/'} is missing")
    found = item.attrs.get_id(name)
    kind = found.get_type()
    _check_type(kind, where)
    space = found.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        raise InvalidInput(f"{where} is empty.")
    if kind.get_size() * math.prod(space.get_simple_extent_dims()) > MAX_ATTRIBUTE_BYTES:
        raise InvalidInput(f"{where} is longer than {MAX_ATTRIBUTE_BYTES >> 10} KiB.")
    return np.asarray(item.attrs[name])
