"""Shards put together: the whole, to the byte of its content; or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import InvalidInput, OutputExists
from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.store.columns import as_numbers, column_kinds, number_text
from imer.store.merging import merge_stores
from imer.store.reader import FeatureStore
from imer.store.writer import FeatureBlock, Part, write_store

N = 40
SPEC = FeatureSpec("audio", "test/audio", "1", "frame", 5, hop_s=0.1, dim_names=tuple("abcde"))


def utterance(row: int) -> Utterance:
    labels = {
        "emotion": ("joy", "fear", "")[row % 3],
        "mixed": f"0{row}" if row < 20 else "word",
        "score": "" if row % 5 else f"{row / 7!r}",
        "story": "long " * 80 if row == 31 else f"short {row}",
    }
    times = (None, None) if row % 4 else (row * 1.5, row * 1.5 + 1)
    return Utterance(
        f"u{row:02d}", f"d{row % 6}", row // 6, line=row + 2, speaker=f"s{row % 2}", split="train" if row % 2 else "test",
        start_s=times[0], end_s=times[1], text=f"Sätze {row}" * (row % 3), labels=labels,
    )  # fmt: skip


WHOLE = [utterance(row) for row in range(N)]


def frames(row: int) -> np.ndarray:
    """None, 1 to 3 or, now and then, thousands of frames."""
    n = 0 if row % 7 == 3 else (3000 if row % 11 == 0 else 1 + row % 3)
    return np.random.default_rng(row).normal(size=(n, SPEC.dim)).astype(np.float32)


def write(path: Path, rows: Sequence[int], *, shard: str | None = None, spec: FeatureSpec = SPEC,
          manifest: str = "m.csv", change: int | None = None, n_whole: int = N,
          absent: Verdict = Verdict.silent, with_sources: bool = True) -> Path:  # fmt: skip
    values = [frames(row) + (1 if row == change else 0) for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])])
    present = np.array([row % 7 != 3 for row in rows])
    write_store(
        path, [WHOLE[row] for row in rows], [FeatureBlock(spec, offsets, present, [v for v in values if len(v)])],
        {"audio": np.where(present, Verdict.ok, absent)}, provenance={"manifest": manifest},
        columns=column_kinds(WHOLE),
        sources={"audio": [f"{row:x}" * (row % 3) for row in rows]} if with_sources else None,
        part=None if shard is None else Part(np.array(rows), n_whole, (shard,)),
    )  # fmt: skip
    return path


def shards(folder: Path, count: int = 3) -> list[Path]:
    return [
        write(folder / f"{i}.h5", [row for row in range(N) if row * 7 % count == i % count], shard=f"{i}/{count}")
        for i in range(1, count + 1)
    ]


def test_the_whole_is_that_of_an_extraction_that_was_never_split(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.h5", range(N))
    parts = shards(tmp_path)
    merged = merge_stores(parts[::-1], tmp_path / "merged.h5")
    with FeatureStore.open(whole) as store, FeatureStore.open(tmp_path / "merged.h5") as other:
        assert merged.content_sha256 == store.content_sha256 == other.content_sha256
        assert other.part is None
        assert other.specs == store.specs
        assert other.feature("audio").of(11).shape == (3000, 5)
    assert (merged.n_utterances, merged.shards, merged.n_repeated) == (N, ("1/3", "2/3", "3/3"), 0)


def test_missing_shards_are_named_and_may_come_later(tmp_path: Path) -> None:
    parts = shards(tmp_path, 4)
    with pytest.raises(InvalidInput, match=r"20 of 40 utterances are missing: no file holds shard 2/4, 4/4;"):
        merge_stores([parts[0], parts[2]], tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()
    some = merge_stores([parts[2], parts[0]], tmp_path / "some.h5", allow_missing=True)
    assert some.n_utterances == 20
    whole = write(tmp_path / "whole.h5", range(N))
    merged = merge_stores([parts[3], tmp_path / "some.h5", parts[1]], tmp_path / "merged.h5")
    with FeatureStore.open(whole) as store:
        assert merged.content_sha256 == store.content_sha256


def test_what_is_there_twice_must_be_the_same(tmp_path: Path) -> None:
    parts = shards(tmp_path)
    half = write(tmp_path / "half.h5", range(0, N, 2), shard="2/2")
    assert merge_stores([*parts, half, parts[0]], tmp_path / "m.h5").n_repeated == 20 + len(range(1, N, 3))
    other = write(tmp_path / "other.h5", range(0, N, 2), shard="2/2", change=14)
    with pytest.raises(InvalidInput, match=r"overlap, and differ in utterance u14: its audio values"):
        merge_stores([*parts, other], tmp_path / "m2.h5")
    heard = write(tmp_path / "heard.h5", range(0, N, 2), shard="2/2", absent=Verdict.no_stream)  # the same values: none
    with pytest.raises(InvalidInput, match=r"differ in utterance u10: its audio has another verdict"):
        merge_stores([*parts, heard], tmp_path / "m2.h5")
    assert not (tmp_path / "m2.h5").exists()


@pytest.mark.parametrize("silent", [0, 1])
def test_what_only_some_parts_say_of_their_sources_is_kept(tmp_path: Path, silent: int) -> None:
    halves = [range(20), range(20, N)]
    parts = [
        write(tmp_path / f"{i}.h5", rows, shard=f"{i + 1}/2", with_sources=i != silent) for i, rows in enumerate(halves)
    ]
    merge_stores(parts, tmp_path / "whole.h5")
    with FeatureStore.open(tmp_path / "whole.h5") as store:
        told = ["" if row in halves[silent] else f"{row:x}" * (row % 3) for row in range(N)]
        assert store.sources["audio"].tolist() == told


@pytest.mark.parametrize("turn", [1, -1])
def test_of_what_is_in_several_parts_the_one_that_says_its_source_is_kept(tmp_path: Path, turn: int) -> None:
    parts = [
        write(tmp_path / "1.h5", range(25), shard="1/2", with_sources=False),
        write(tmp_path / "2.h5", range(15, N), shard="2/2"),
    ]
    assert merge_stores(parts[::turn], tmp_path / "whole.h5").n_repeated == 10
    with FeatureStore.open(tmp_path / "whole.h5") as store:
        assert store.sources["audio"].tolist() == ["" if row < 15 else f"{row:x}" * (row % 3) for row in range(N)]


def test_parts_of_different_extractions_are_refused(tmp_path: Path) -> None:
    parts = shards(tmp_path)
    out = tmp_path / "m.h5"
    other = FeatureSpec("audio", "test/audio", "2", "frame", 5, hop_s=0.1)
    version = write(tmp_path / "version.h5", [1], shard="2/3", spec=other)
    with pytest.raises(InvalidInput, match="audio by test/audio was made with different settings or versions"):
        merge_stores([parts[0], version], out)
    another = write(tmp_path / "another.h5", [1], shard="2/3", spec=FeatureSpec("audio", "b", "1", "frame", 5))
    with pytest.raises(InvalidInput, match="one holds audio by test/audio, the other audio by b"):
        merge_stores([parts[0], another], out)
    elsewhere = write(tmp_path / "elsewhere.h5", [1], shard="2/3", manifest="other.csv")
    with pytest.raises(InvalidInput, match="they differ in manifest; extract all shards from the same manifest"):
        merge_stores([parts[0], elsewhere], out)
    longer = write(tmp_path / "longer.h5", [1], shard="2/3", n_whole=N + 1)
    with pytest.raises(InvalidInput, match="they differ in number of utterances"):
        merge_stores([parts[0], longer], out)
    whole = write(tmp_path / "whole.h5", range(N))
    with pytest.raises(InvalidInput, match=r"whole store, not a shard.*--add"):
        merge_stores([parts[0], whole], out)
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    with pytest.raises(InvalidInput, match="damaged"):
        merge_stores(parts, out)
    assert not out.exists()


def test_an_existing_output_is_kept_unless_told(tmp_path: Path) -> None:
    parts = shards(tmp_path)
    out = tmp_path / "m.h5"
    out.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="--overwrite"):
        merge_stores(parts, out)
    assert out.read_bytes() == b"mine"
    merge_stores(parts, out, overwrite=True)
    assert merge_stores(parts, parts[0], overwrite=True).n_utterances == N  # even onto one of its parts


def test_a_part_whose_places_make_no_sense_is_refused(tmp_path: Path) -> None:
    for rows in ([3, 1], [-1, 2], [0, 0], [4, N]):
        write_store(
            tmp_path / "f.h5", WHOLE[:2], [], {}, sources={}, part=Part(np.array(rows), N, ("1/2",)), overwrite=True
        )
        with pytest.raises(InvalidInput, match="ascending places below 40"):
            merge_stores([tmp_path / "f.h5"], tmp_path / "m.h5")
    write_store(tmp_path / "f.h5", WHOLE[:2], [], {}, sources={"audio": ["only one"]}, overwrite=True)
    with pytest.raises(InvalidInput, match="2 digests"):
        FeatureStore.open(tmp_path / "f.h5")


def test_numbers_go_through_texts_unchanged() -> None:
    values = [-0.0, 0.0, 2.0, 0.1, -1e-300, 1e12]
    back = as_numbers([number_text(value) for value in values])
    assert np.asarray(back).tobytes() == np.array(values).tobytes()
