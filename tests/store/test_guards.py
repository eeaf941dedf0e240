"""Foreign and hostile HDF5: refused by what it declares, before anything of it is read, and no other file is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t, h5z

from imer.core.errors import InvalidInput
from imer.masks.table import MaskTable
from imer.store import guards, profile
from imer.store.reader import FeatureStore
from imer.store.verify import verify_any
from tests.campaigns import calls
from tests.stores import write_small_store

Spoil = Callable[[h5py.File], object]


def hostile(path: Path, spoil: Spoil, kind: profile.Format = profile.STORE) -> Path:
    """A file that says it is ours, with something in it that is not."""
    with h5py.File(path, "w") as file:
        profile.put_attribute(file, "format", kind.name)
        profile.put_attribute(file, "format_version", kind.version)
        spoil(file)
        if profile.DIGEST not in file.attrs:
            profile.put_attribute(file, profile.DIGEST, "0" * 64)
    return path


def virtual(file: h5py.File, maxshape: tuple[int | None, ...] | None = None) -> None:
    layout = h5py.VirtualLayout((4,), "f8", maxshape=maxshape)
    layout[:] = h5py.VirtualSource(str(Path(file.filename).with_name("other.h5")), "d", (4,))
    file.create_virtual_dataset("x", layout)


def filtered(number: int, *values: int) -> Spoil:
    """A dataset whose chunks need this filter, which no HDF5 here knows."""

    def spoil(file: h5py.File) -> None:
        created = h5p.create(h5p.DATASET_CREATE)
        created.set_chunk((4,))
        created.set_filter(number, h5z.FLAG_OPTIONAL, values)
        h5d.create(file.id, b"x", h5t.NATIVE_INT32, h5s.create_simple((4,)), created)

    return spoil


def chunked(**options: object) -> Spoil:
    return lambda file: file.create_dataset("x", fletcher32=True, **options)


def cycle(file: h5py.File) -> None:
    group = file.create_group("a/b")
    group["back"] = file["a"]


def root_again(file: h5py.File) -> None:
    file["root"] = file["/"]


def two_to_the_thirty(file: h5py.File) -> None:
    """Thirty groups, each with two paths to the next: a billion paths to the last."""
    group = file.create_group("g")
    for _ in range(30):
        after = group.create_group("a")
        group["b"] = after
        group = after


def many_attributes(file: h5py.File) -> None:
    for i in range(guards.MAX_ATTRIBUTES + 1):
        file.attrs.create(f"a{i}", np.int64(i))


def long_attribute(file: h5py.File) -> None:
    with h5py.File(file.filename + ".new", "w", libver="latest") as other:  # dense storage has no limit of its own
        profile.put_attribute(other, "format", "imer-features")
        profile.put_attribute(other, "format_version", 1)
        other.attrs.create("long", np.zeros(1 << 20, dtype=np.uint8))
        profile.put_attribute(other, profile.DIGEST, "0" * 64)


def null_attribute(file: h5py.File) -> None:
    file.attrs["nothing"] = h5py.Empty("f8")


HOSTILE: list[tuple[str, Spoil, str]] = [
    ("external link", lambda f: f.__setitem__("x", h5py.ExternalLink("other.h5", "/d")), "external link"),
    ("soft link", lambda f: f.__setitem__("x", h5py.SoftLink("/format")), "soft link"),
    ("soft link to itself", lambda f: f.__setitem__("x", h5py.SoftLink("/x")), "soft link"),
    ("a link on the way", lambda f: f.create_group("a/b").__setitem__("x", h5py.SoftLink("/")), "soft link"),
    ("external link on the way", lambda f: f.create_group("features").__setitem__(
        "audio", h5py.ExternalLink("other.h5", "/")), "external link"),
    ("cyclic groups", cycle, "another path"),
    ("the root inside itself", root_again, "another path"),
    ("a billion paths", two_to_the_thirty, "another path|too deep"),
    ("deep groups", lambda f: f.create_group("/".join("abcdefghijklmnopq")), "too deep"),
    ("named type", lambda f: f.__setitem__("x", np.dtype("f8")), "neither a group nor a dataset"),
    ("external storage", lambda f: f.create_dataset("x", (4,), "u1", external=[("secret", 0, 4)]), "another file"),
    ("virtual dataset", virtual, "another file"),
    ("virtual dataset without end", lambda f: virtual(f, (None,)), "another file"),
    ("contiguous", lambda f: f.create_dataset("x", data=np.zeros(4)), "not stored in chunks"),
    ("shape bomb", chunked(shape=(10**12,), dtype="f4", chunks=(1024,)), "declares 4000000000000 bytes"),
    ("rows of nothing", chunked(shape=(1 << 62, 0), maxshape=(None, None), dtype="f4", chunks=(1, 1)), "declares"),
    ("chunk bomb", chunked(shape=(4,), maxshape=(None,), dtype="f4", chunks=(1 << 28,)), "chunks of more than"),
    ("element bomb", chunked(shape=(1,), dtype="S134217728", chunks=(1,)), "chunks of more than"),
    ("scalar", lambda f: f.create_dataset("x", data=1.0), "not stored in chunks"),
    ("null", lambda f: f.create_dataset("x", data=h5py.Empty("f4")), "not stored in chunks"),
    ("three dimensions", chunked(shape=(2, 2, 2), dtype="f4", chunks=(2, 2, 2)), "one or 2 dimensions"),
    ("gzip", chunked(shape=(4,), dtype="f4", compression="gzip"), "filters"),
    ("lzf", chunked(shape=(4,), dtype="f4", compression="lzf"), "filters"),
    ("scale-offset", lambda f: f.create_dataset("x", (4,), "i4", scaleoffset=2, chunks=(4,)), "filters"),
    ("unknown filter", filtered(32_000, 1, 2, 3), "filters"),
    ("no checksum", lambda f: f.create_dataset("x", (4,), "f4", chunks=(4,)), "filters"),
    ("variable length", lambda f: f.create_dataset("x", data=["a"], chunks=(1,)), "variable-length"),
    ("variable arrays", lambda f: f.create_dataset("x", (2,), h5py.vlen_dtype("i4"), chunks=(2,)), "variable-length"),
    ("compound", chunked(shape=(2,), dtype=[("a", "i4"), ("b", "f4")], chunks=(2,)), "neither numbers"),
    ("array type", chunked(shape=(2,), dtype=[("a", "i4", (3,))], chunks=(2,)), "neither numbers"),
    ("enumeration", chunked(shape=(2,), dtype=h5py.enum_dtype({"a": 1}, "i4"), chunks=(2,)), "neither numbers"),
    ("opaque", chunked(shape=(2,), dtype="V8", chunks=(2,)), "neither numbers"),
    ("object reference", chunked(shape=(2,), dtype=h5py.ref_dtype, chunks=(2,)), "neither numbers"),
    ("region reference", chunked(shape=(2,), dtype=h5py.regionref_dtype, chunks=(2,)), "neither numbers"),
    ("variable attribute", lambda f: f.attrs.__setitem__("note", "text"), "variable-length"),
    ("reference attribute", lambda f: f.attrs.create("note", f.ref, dtype=h5py.ref_dtype), "neither numbers"),
    ("compound attribute", lambda f: f.attrs.create("note", np.zeros(1, [("a", "i4")])), "neither numbers"),
    ("null attribute", null_attribute, "is empty"),
    ("many attributes", many_attributes, "more than 64 attributes"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), [(s, w) for _, s, w in HOSTILE], ids=[name for name, _, _ in HOSTILE])
def test_hostile_files_are_refused_by_every_reader(tmp_path: Path, spoil: Spoil, words: str) -> None:
    (tmp_path / "secret").write_bytes(b"1234")
    path = hostile(tmp_path / "x.h5", spoil)
    for read in (FeatureStore.open, verify_any):
        with pytest.raises(InvalidInput, match=words):
            read(path)
    with pytest.raises(InvalidInput, match=words):
        MaskTable.read(hostile(tmp_path / "mask.h5", spoil, profile.MASK))


def test_a_long_attribute_is_refused_unread(tmp_path: Path) -> None:
    hostile(tmp_path / "x.h5", long_attribute)
    with pytest.raises(InvalidInput, match="longer than 64 KiB"):
        FeatureStore.open(tmp_path / "x.h5.new")


@pytest.mark.parametrize("name", ["format", "format_version", profile.DIGEST])
def test_what_is_read_first_is_guarded_too(tmp_path: Path, name: str) -> None:
    def spoil(file: h5py.File) -> None:
        file.attrs[name] = "of any length"

    with pytest.raises(InvalidInput, match="variable-length"):
        FeatureStore.open(hostile(tmp_path / "x.h5", spoil))


@pytest.mark.skipif(not calls.available(), reason="the system lets no process watch another's calls")
def test_no_other_file_is_opened(tmp_path: Path) -> None:
    """All that point elsewhere, read in a process whose every file call is seen."""
    (tmp_path / "secret").write_bytes(b"1234")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["d"] = np.zeros(4)
    elsewhere = [(name, spoil) for name, spoil, _ in HOSTILE if "external" in name or "virtual" in name]
    assert len(elsewhere) >= 5
    paths = [hostile(tmp_path / f"x{i}.h5", spoil) for i, (_, spoil) in enumerate(elsewhere)]

    def read() -> int:
        refused = 0
        for path in paths:
            try:
                FeatureStore.open(path)
            except InvalidInput:
                refused += 1
        return refused

    seen = calls.watched(read, tmp_path)
    assert seen.code == len(paths), seen.err
    assert {Path(call.path).name for call in seen.calls} == {path.name for path in paths}
    assert not any(call.writes for call in seen.calls)


def rewritten(path: Path, change: Spoil) -> Path:
    """A whole store with something changed by someone who also made its digest right."""
    write_small_store(path, n_dialogues=3)
    with h5py.File(path, "a") as file:
        change(file)
        del file.attrs[profile.DIGEST]
        profile.put_attribute(file, profile.DIGEST, profile.content_digest(file))
    return path


def replaced(name: str, values: np.ndarray) -> Spoil:
    def change(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        dataset = profile.put(file, name, values)
        for key, value in attributes.items():
            dataset.attrs.create(key, value)

    return change


def feature(file: h5py.File) -> str:
    return next(iter(file["features/audio"].values())).name


def swapped(offsets: np.ndarray) -> np.ndarray:
    """Two offsets in the middle change places: the first and the last are as they should be."""
    middle = next(i for i in range(1, len(offsets) - 2) if offsets[i] < offsets[i + 1])
    offsets[[middle, middle + 1]] = offsets[[middle + 1, middle]]
    return offsets


def in_feature(part: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(file: h5py.File) -> None:
        name = f"{feature(file)}/{part}"
        replaced(name, change(file[name][...]))(file)

    return spoil


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (in_feature("offsets", lambda a: a[::-1].copy()), "ascend"),
        (in_feature("offsets", lambda a: a + 1), "ascend"),
        (in_feature("offsets", swapped), "ascend"),
        (in_feature("offsets", lambda a: a.astype(np.float64)), "ascend"),
        (in_feature("present", lambda a: a[:-1]), "15 times 0 or 1"),
        (in_feature("present", lambda a: a + 7), "15 times 0 or 1"),
        (in_feature("values", lambda a: a[:, 0]), "one row a vector"),
        (in_feature("values", lambda a: a[:-1]), "ascend"),
        (replaced("labels/emotion", np.full(15, 3)), "indices of 3 classes"),
        (replaced("labels/emotion", np.full(15, -2)), "indices of 3 classes"),
        (replaced("labels/emotion", np.zeros(14, dtype=np.int64)), "15 indices"),
        (lambda f: f.__delitem__("classes/emotion"), "15 numbers"),
        (replaced("quality/audio", np.full(15, 200, dtype=np.uint8)), "15 verdicts"),
        (replaced("index/position", np.zeros(3, dtype=np.int64)), "15 numbers"),
        (replaced("index/utterance_id", np.full(15, b"same")), "no two alike"),
        (replaced("index/text_offsets", np.full(16, -1)), "ascend"),
        (lambda f: f.attrs.modify("n_utterances", np.int64(1 << 40)), "strings"),
        (lambda f: f.__delitem__("index"), "index"),
    ],
)
def test_parts_that_do_not_fit_are_refused_although_the_digest_is_right(
    tmp_path: Path, change: Spoil, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        FeatureStore.open(rewritten(tmp_path / "x.h5", change))


@pytest.mark.parametrize(("group", "name", "old", "new"), [
    (feature, "spec", b"test/audio", b"test/radio"), (lambda file: "labels/emotion", "name", b"emotion", b"emotive"),
])  # fmt: skip
def test_a_changed_attribute_of_an_inner_group_is_noticed(
    tmp_path: Path, group: Callable[[h5py.File], str], name: str, old: bytes, new: bytes
) -> None:
    path = write_small_store(tmp_path / "x.h5", n_dialogues=3)
    with h5py.File(path, "a") as file:
        attributes = file[group(file)].attrs
        before = bytes(attributes[name])
        attributes.modify(name, np.bytes_(before.replace(old, new)))
        assert bytes(attributes[name]) != before
    with pytest.raises(InvalidInput, match="damaged"):
        FeatureStore.open(path)
