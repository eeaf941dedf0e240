"""What is written comes back; what is damaged, foreign or hostile is refused."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.core.errors import InvalidInput, OutputExists
from imer.core.types import FeatureSpec, Utterance
from imer.store import profile
from imer.store.columns import as_numbers
from imer.store.describe import describe
from imer.store.reader import FeatureStore
from imer.store.writer import FeatureBlock, vector_block, write_store
from tests.stores import write_small_store


def spec(modality: str = "audio", dim: int = 2, level: str = "utterance") -> FeatureSpec:
    return FeatureSpec(
        modality, f"test/{modality}", "1", level, dim, config={"k": 1}, dim_names=tuple(f"x{i}" for i in range(dim))
    )


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)


@settings(max_examples=25)
@given(st.lists(st.tuples(texts, texts, st.booleans()), min_size=1, max_size=8), st.integers(1, 5))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list, dim: int) -> None:
    path = tmp_path_factory.mktemp("store") / "f.h5"
    utterances = [
        Utterance(f"u{i}", f"d{i // 2}", i % 2, i + 2, i, text=text, start_s=i * 0.5, labels={"a/b .": label.strip()})
        for i, (text, label, _) in enumerate(rows)
    ]
    present = np.array([here for _, _, here in rows])
    values = np.arange(len(rows) * dim, dtype=np.float32).reshape(len(rows), dim)
    write_store(path, utterances, [vector_block(spec(dim=dim), values, present)], {"audio": np.zeros(len(rows))})
    with FeatureStore.open(path) as store:
        assert store.utterance_ids.tolist() == [u.utterance_id for u in utterances]
        assert store.texts.tolist() == [u.text for u in utterances]
        assert store.start_s.tolist() == [u.start_s for u in utterances]
        assert np.isnan(store.end_s).all()
        assert store.specs["audio"]["test/audio"] == spec(dim=dim)
        back, here = store.vectors("audio")
        assert (here == present).all()
        assert (back[present] == values[present]).all()
        assert np.isnan(back[~present]).all()
        numbers = as_numbers([u.labels["a/b ."] for u in utterances])
        if numbers is None:
            assert store.columns["a/b ."].tolist() == [u.labels["a/b ."] for u in utterances]
        else:
            assert np.array_equal(store.labels["a/b ."].values, numbers, equal_nan=True)


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    digests = {hashlib.sha256(write_small_store(tmp_path / name).read_bytes()).hexdigest() for name in ("a.h5", "b.h5")}
    assert len(digests) == 1


def test_frame_level_features_are_averaged_per_utterance(tmp_path: Path) -> None:
    utterances = [Utterance(f"u{i}", "d", i, i + 2) for i in range(4)]
    values = np.array([[1, 1], [3, 5], [7, 7], [9, 9], [11, 11]], dtype=np.float32)
    block = FeatureBlock(
        spec(level="frame"), np.array([0, 2, 2, 3, 5]), np.array([True, False, True, True]), [values[:3], values[3:]]
    )
    write_store(tmp_path / "f.h5", utterances, [block], {"audio": np.zeros(4)})
    with FeatureStore.open(tmp_path / "f.h5") as store:
        vectors, present = store.vectors("audio")
    assert present.tolist() == [True, False, True, True]
    assert vectors[present].tolist() == [[2, 3], [7, 7], [10, 10]]


@pytest.mark.parametrize("present", [[True, False, True], [True, True, True]])
def test_values_and_presence_that_contradict_each_other_are_refused(tmp_path: Path, present: list[bool]) -> None:
    """The frames of who is not there would be taken for those of the utterance before."""
    utterances = [Utterance(f"u{i}", "d", i, i + 2) for i in range(3)]
    counts = [2, int(not present[1]), 1]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    block = FeatureBlock(spec(level="frame"), offsets, np.array(present), [np.ones((sum(counts), 2), np.float32)])
    write_store(tmp_path / "f.h5", utterances, [block], {"audio": np.zeros(3)})
    with pytest.raises(InvalidInput, match="values of every utterance that is present, and of no other"):
        FeatureStore.open(tmp_path / "f.h5")


@pytest.mark.parametrize(
    "cells",
    [
        ["1234567", "1234568", "-0.25"],  # numbers of more than six digits, as grouping needs them
        ["01_02", "102", "1"],  # Python reads the first as 102
        ["007", "7", "-0.5"],  # codes of subjects
        ["9007199254740992", "9007199254740993", "1"],  # one number in float64
        ["", "0.1", "1e-07"],
    ],
)
def test_a_column_of_names_that_look_like_numbers_keeps_them_apart(tmp_path: Path, cells: list[str]) -> None:
    utterances = [Utterance(f"u{i}", "d", i, i + 2, labels={"video": cell}) for i, cell in enumerate(cells)]
    write_store(tmp_path / "f.h5", utterances, [], {})
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.columns["video"].tolist() == cells


def test_long_cells_are_kept_as_text(tmp_path: Path) -> None:
    utterances = [Utterance(f"u{i}", "d", i, i + 2, labels={"note": "x" * (300 * i)}) for i in range(3)]
    write_store(tmp_path / "f.h5", utterances, [], {})
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.columns["note"].tolist() == ["", "x" * 300, "x" * 600]
        assert "note" not in store.labels


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (lambda: FeatureBlock(spec(), np.arange(3), np.ones(2), [np.zeros((2, 2))]), "2 rows for 3 utterances"),
        (lambda: FeatureBlock(spec(), np.arange(4), np.ones(3), [np.zeros((2, 2))]), "2 rows of values came for 3"),
        (lambda: FeatureBlock(spec(), np.arange(4), np.ones(3), [np.zeros((3, 5))]), "does not fit"),
        (lambda: FeatureBlock(spec(), np.arange(4), np.ones(3), [np.full((3, 2), np.nan)]), "NaN or infinite"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_and_nothing_is_left(tmp_path: Path, block, words: str) -> None:
    utterances = [Utterance(f"u{i}", "d", i, i + 2) for i in range(3)]
    with pytest.raises(InvalidInput, match=words):
        write_store(tmp_path / "f.h5", utterances, [block()], {})
    assert list(tmp_path.iterdir()) == []


def test_existing_store_is_kept_unless_told(tmp_path: Path) -> None:
    path = write_small_store(tmp_path / "f.h5")
    with pytest.raises(OutputExists, match="--overwrite"):
        write_store(path, [Utterance("u", "d", 0, 2)], [], {})


def test_describe_counts(tmp_path: Path) -> None:
    with FeatureStore.open(write_small_store(tmp_path / "f.h5")) as store:
        facts = describe(store)
        assert facts["present"] == dict(zip(store.modalities, store.present_NM().sum(axis=0).tolist(), strict=True))
        assert sum(facts["patterns"].values()) == sum(facts["splits"].values()) == store.n == 120
        assert facts["labels"]["emotion"]["labelled"] == facts["labels"]["sentiment"]["labelled"] == 107
        assert facts["quality"]["audio"]["ok"] == facts["present"]["audio"]
    json.dumps(facts)


@pytest.mark.parametrize("content", [b"", b"not hdf5", b"\x89HDF\r\n\x1a\n" + b"\x00" * 40])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"x\.h5"):
        FeatureStore.open(tmp_path / "x.h5")


def test_newer_format_and_missing_file_say_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        FeatureStore.open(tmp_path / "none.h5")
    profile.write_small(tmp_path / "new.h5", profile.Format("imer-features", 99), {}, {})
    with pytest.raises(InvalidInput, match="version 99"):
        FeatureStore.open(tmp_path / "new.h5")


def test_what_the_system_refuses_is_not_called_damage(tmp_path: Path) -> None:
    path = write_small_store(tmp_path / "f.h5", n_dialogues=3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(path, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 1, hard))
    try:
        with suppress(OSError):
            while True:  # take what numbers are free below
                held.append(os.dup(held[0]))
        with pytest.raises(OSError, match="Too many open files") as caught:
            FeatureStore.open(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
    assert caught.value.filename == str(path)
