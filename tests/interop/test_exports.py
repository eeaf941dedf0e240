"""What is handed to other tools: everything is in it, and what comes back is what went out."""

from __future__ import annotations

import csv
import errno
import json
import os
import pickle
import pickletools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.interop.exports import EXPORTS, export_features
from imer.interop.feature_tables import import_csv
from imer.interop.gcnet import import_gcnet
from imer.interop.mmsa import import_mmsa
from imer.interop.outgoing import save_array
from imer.interop.verdicts import take_verdicts
from imer.store.reader import FeatureStore
from imer.store.writer import FeatureBlock, vector_block, write_store
from tests.conftest import Finished
from tests.stores import write_small_store

RNG = np.random.default_rng(7)
NAMES = ('a,"b"', "plain", "zwei\nZeilen", "ünï", "five")  # ids and texts that a table must put in quotes
FRAMES = (3, 0, 1, 2, 4)


def utterances(ids: tuple[str, ...] = NAMES, splits: tuple[str, ...] = ("train", "train", "val", "test", "")) -> Any:
    return [
        Utterance(
            name, f"d{min(i, 3)}", max(i - 3, 0), line=i + 2, row=i, split=splits[i], speaker="s", text=f"says {name}",
            start_s=0.5 * i,
            labels={"sentiment": "" if i == 1 else f"{i / 7 - 0.3:.17g}", "emotion": "sad" if i % 2 else "glad"},
        )
        for i, name in enumerate(ids)
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Five utterances: frame-level audio of 0 to 4 frames, utterance-level visual with one that is absent."""
    return make_store(tmp_path / "f.h5", utterances())


def make_store(path: Path, rows: list[Utterance]) -> Path:
    audio = FeatureSpec("audio", "test/frames", "1", "frame", 2, hop_s=0.25, dim_names=("pitch", "loud,ness"))
    visual = FeatureSpec("visual", "test/vectors", "1", "utterance", 3)
    present_N = np.array(FRAMES) > 0
    offsets = np.concatenate([[0], np.cumsum(FRAMES)]).astype(np.int64)
    values_TD = RNG.normal(size=(sum(FRAMES), 2)).astype(np.float32) * np.float32(1e-3)
    seen_N = np.array([True, True, True, False, True])
    blocks = [
        FeatureBlock(audio, offsets, present_N, [values_TD]),
        vector_block(visual, RNG.normal(size=(5, 3)), seen_N),
    ]
    quality = {
        "audio": np.where(present_N, Verdict.ok, Verdict.silent),
        "visual": np.where(seen_N, Verdict.ok, Verdict.no_face),
    }
    write_store(path, rows, blocks, quality, overwrite=True)
    return path


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_tables_hold_every_digit_and_say_what_is_absent(store: Path, tmp_path: Path) -> None:
    export_features("csv", store, tmp_path / "csv")
    said = table(tmp_path / "csv" / "utterances.csv")
    assert [row["utterance_id"] for row in said] == list(NAMES)
    assert [row["text"] for row in said] == [f"says {name}" for name in NAMES]
    assert [row["audio_verdict"] for row in said] == ["ok", "silent", "ok", "ok", "ok"]
    assert [row["start"] for row in said] == ["0", "0.5", "1", "1.5", "2"]
    assert {row["end"] for row in said} == {""}
    with FeatureStore.open(store) as features:
        seconds = np.array([np.nan if row["sentiment"] == "" else float(row["sentiment"]) for row in said])
        assert np.array_equal(seconds, features.labels["sentiment"].values, equal_nan=True)
        frames = table(tmp_path / "csv" / "audio.csv")
        assert list(frames[0]) == ["utterance_id", "frame", "time_s", "pitch", "loud,ness"]
        expected = [(NAMES[i], str(t), t * 0.25) for i, n in enumerate(FRAMES) for t in range(n)]
        assert [(row["utterance_id"], row["frame"], float(row["time_s"])) for row in frames] == expected
        values = np.array([[np.float32(row["pitch"]), np.float32(row["loud,ness"])] for row in frames])
        assert np.array_equal(values, features.ragged("audio")[0])
        seen = table(tmp_path / "csv" / "visual.csv")
        assert list(seen[0]) == ["utterance_id", "visual_0", "visual_1", "visual_2"]
        assert list(seen[3].values()) == [NAMES[3], "", "", ""]
        kept = np.array([[np.float32(row[f"visual_{i}"] or "nan") for i in range(3)] for row in seen])
        assert np.array_equal(kept, features.vectors("visual")[0], equal_nan=True)
        origin = json.loads((tmp_path / "csv" / "store.json").read_text())
        assert origin["content_sha256"] == features.content_sha256
        assert origin["path"] == "f.h5"


@pytest.mark.parametrize(
    ("kind", "manifest", "suffix"), [("arrays", "manifest.csv", "npy"), ("csv", "utterances.csv", "csv")]
)
def test_arrays_and_tables_come_back_as_they_went(
    imer: Callable[..., Finished], tmp_path: Path, kind: str, manifest: str, suffix: str
) -> None:
    write_small_store(tmp_path / "f.h5", n_dialogues=6)
    assert imer("data", "export", kind, "f.h5", "-o", "out", "--json", cwd=tmp_path).code == 0
    pairs = [word for m in ("audio", "text", "visual") for word in ("--features", f"{m}=out/{m}.{suffix}")]
    again = imer("data", "import", kind, "--manifest", f"out/{manifest}", *pairs, "-o", "again.h5", cwd=tmp_path)
    assert again.code == 0, again.err
    with FeatureStore.open(tmp_path / "f.h5") as one, FeatureStore.open(tmp_path / "again.h5") as other:
        for name in ("utterance_ids", "dialogue_ids", "positions", "speakers", "sessions", "splits", "texts"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
        assert one.columns.keys() == other.columns.keys()
        assert all(one.columns[name].tolist() == other.columns[name].tolist() for name in one.columns)
        for modality in one.modalities:
            assert np.array_equal(one.vectors(modality)[0], other.vectors(modality)[0], equal_nan=True)
            assert np.array_equal(one.vectors(modality)[1], other.vectors(modality)[1])
            assert np.array_equal(one.quality[modality], other.quality[modality])


def test_arrays_of_frames_say_where_each_utterance_begins(store: Path, tmp_path: Path) -> None:
    made = export_features("arrays", store, tmp_path / "out")
    assert "audio_offsets.npy" in made.notes[0]
    offsets = np.load(tmp_path / "out" / "audio_offsets.npy")
    assert np.diff(offsets).tolist() == list(FRAMES)
    assert len(np.load(tmp_path / "out" / "audio.npy")) == sum(FRAMES)


@pytest.mark.parametrize("kind", ["mmsa", "gcnet"])
@pytest.mark.parametrize(
    ("splits", "lacking"),
    [
        (("train", "train", "train", "test", ""), "val"),
        (("test",) * 5, "train or val"),
        (("train", "", "val", "test", ""), ""),
    ],
)
def test_a_part_that_is_empty_is_told(tmp_path: Path, kind: str, splits: tuple[str, ...], lacking: str) -> None:
    """Whoever reads the file would find out after the first epoch."""
    store = make_store(tmp_path / "f.h5", utterances(ids=tuple("abcde"), splits=splits))
    notes = " ".join(export_features(kind, store, tmp_path / "out").notes)
    assert (
        f"no utterance with a sentiment has the split {lacking}, and" in notes if lacking else "the split" not in notes
    )


def test_mmsa_comes_back_as_it_went(store: Path, tmp_path: Path) -> None:
    made = export_features("mmsa", store, tmp_path / "out.pkl")
    assert made.n_utterances == 3  # one has no label, one no split
    assert "2 of 5 utterances" in made.notes[0]
    assert "no text" in made.notes[1]
    assert made.notes[2] == "this format has room for one label; not in it: emotion."
    import_mmsa(tmp_path / "out.pkl", tmp_path / "again.h5")
    rows = [0, 2, 3]
    with FeatureStore.open(store) as one, FeatureStore.open(tmp_path / "again.h5") as other:
        assert other.utterance_ids.tolist() == [f"{one.dialogue_ids[i]}$_${one.utterance_ids[i]}" for i in rows]
        assert other.splits.tolist() == ["train", "val", "test"]
        assert other.dialogue_ids.tolist() == ["d0", "d2", "d3"]
        assert other.texts.tolist() == one.texts[rows].tolist()
        wanted = one.labels["sentiment"].values[rows].astype(np.float32)
        assert np.array_equal(other.labels["sentiment"].values.astype(np.float32), wanted)
        assert other.columns["annotation"].tolist() == ["Negative", "Negative", "Positive"]
        for modality in ("audio", "visual"):
            mine, theirs = one.feature(modality), other.feature(modality)
            assert theirs.present.tolist() == mine.present[rows].tolist()
            assert all(np.array_equal(mine.of(row), theirs.of(i)) for i, row in enumerate(rows))


def test_an_mmsa_pickle_is_one_that_old_installations_read(store: Path, tmp_path: Path) -> None:
    export_features("mmsa", store, tmp_path / "out.pkl")
    content = (tmp_path / "out.pkl").read_bytes()
    named = {str(argument) for opcode, argument, _ in pickletools.genops(content) if opcode.name == "GLOBAL"}
    assert named == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    read = pickle.loads(content)
    assert read["train"]["audio"].shape == (1, 3, 2)
    assert read["test"]["vision"].tolist() == [[[0, 0, 0]]]
    assert read["test"]["vision_lengths"] == [1]  # MMSA packs sequences, and cannot pack none
    assert read["config"]["imer"]["features"][0]["extractor"] == "test/frames"


def test_gcnet_comes_back_as_it_went(tmp_path: Path) -> None:
    ids = ("u0", "u1", "u2", "u3", "u4")
    store = make_store(tmp_path / "f.h5", utterances(ids, ("train", "train", "val", "test", "test")))
    made = export_features("gcnet", store, tmp_path / "CMU")
    assert made.n_utterances == 4
    assert (tmp_path / "CMU" / "CMU_features_raw_2way.pkl").is_file()
    assert not (tmp_path / "CMU" / "features" / "visual-UTT" / "u3.npy").exists()
    folders = {"audio": "audio-FRA", "visual": "visual-UTT"}
    import_gcnet(tmp_path / "CMU", folders, tmp_path / "again.h5")
    rows = [0, 2, 3, 4]
    with FeatureStore.open(store) as one, FeatureStore.open(tmp_path / "again.h5") as other:
        assert other.utterance_ids.tolist() == ["u0", "u2", "u3", "u4"]
        assert other.positions.tolist() == [0, 0, 0, 1]
        assert other.splits.tolist() == ["train", "val", "test", "test"]
        assert other.labels["sentiment"].values.tolist() == one.labels["sentiment"].values[rows].tolist()
        for modality in folders:
            mine, theirs = one.feature(modality), other.feature(modality)
            assert all(np.array_equal(mine.of(row), theirs.of(i)) for i, row in enumerate(rows))


@pytest.mark.parametrize("kind", ["gcnet", "mmsa"])
def test_an_utterance_without_a_dialogue_stays_alone(tmp_path: Path, kind: str) -> None:
    """Though a dialogue has its name: u0 and u0_ are alone, u1 and u4 in the dialogue u0."""
    rows = utterances(("u0", "u1", "u2", "u0_", "u4"), ("train",) * 5)
    dialogues, labelled = ("", "u0", "", "", "u0"), {"sentiment": "0.5"}
    rows = [replace(row, dialogue_id=name, labels=labelled) for row, name in zip(rows, dialogues, strict=True)]
    out = tmp_path / ("out.pkl" if kind == "mmsa" else "CMU")
    export_features(kind, make_store(tmp_path / "f.h5", rows), out)
    if kind == "mmsa":
        import_mmsa(out, tmp_path / "again.h5")
    else:
        import_gcnet(out, {"visual": "visual-UTT"}, tmp_path / "again.h5")
    with FeatureStore.open(tmp_path / "again.h5") as store:
        by_dialogue: dict[str, set[str]] = {}
        for name, dialogue in zip(store.utterance_ids, store.dialogue_ids, strict=True):
            by_dialogue.setdefault(dialogue, set()).add(name.rpartition("$_$")[2])
    assert sorted(map(sorted, by_dialogue.values())) == [["u0"], ["u0_"], ["u1", "u4"], ["u2"]]


def test_what_cannot_be_written_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"emotion is a class.*has the numbers sentiment"):
        export_features("mmsa", store, tmp_path / "o", label="emotion")
    with pytest.raises(UsageError, match="no label 'arousal'; it has emotion, sentiment"):
        export_features("gcnet", store, tmp_path / "o", label="arousal")
    with pytest.raises(UsageError, match="writes all labels"):
        export_features("csv", store, tmp_path / "o", label="sentiment")
    with pytest.raises(UsageError, match=r"no exporter 'cvs'.*csv"):
        export_features("cvs", store, tmp_path / "o")
    with pytest.raises(UsageError, match="is an input of this command"):
        export_features("csv", store, store, overwrite=True)
    path_like = make_store(tmp_path / "p.h5", utterances(("../u0", "u1", "u2", "u3", "u4")))
    with pytest.raises(InvalidInput, match=r"which these cannot be: \.\./u0"):
        export_features("gcnet", path_like, tmp_path / "o")
    torn = make_store(tmp_path / "t.h5", utterances(tuple("abcde"), ("train", "val", "test", "train", "test")))
    with pytest.raises(InvalidInput, match="in several: d3"):
        export_features("gcnet", torn, tmp_path / "o")
    nowhere = make_store(tmp_path / "n.h5", utterances(tuple("abcde"), ("",) * 5))
    with pytest.raises(InvalidInput, match="no utterance with both a sentiment and a split"):
        export_features("mmsa", nowhere, tmp_path / "o")
    assert not (tmp_path / "o").exists()
    assert not list(tmp_path.glob(".o.*"))


def test_no_folder_is_replaced_but_an_earlier_export(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "list").write_text("a file")
    for out in ("thesis", "list", "."):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(OutputExists, match="no export of features"):
            export_features("csv", store, Path(out), overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    export_features("csv", store, tmp_path / "csv")
    inside = store.rename(tmp_path / "csv" / "f.h5")
    with pytest.raises(UsageError, match="lies in"):
        export_features("csv", inside, tmp_path / "csv", overwrite=True)
    assert inside.is_file()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    export_features("csv", inside, Path("."))
    assert (tmp_path / "empty" / "utterances.csv").is_file()


def test_a_column_of_the_manifest_keeps_its_name_and_comes_back(tmp_path: Path) -> None:
    rows = [replace(row, labels={**row.labels, "audio_verdict": "mine\rand yours"}) for row in utterances()]
    export_features("csv", make_store(tmp_path / "f.h5", rows), tmp_path / "csv")
    said = table(tmp_path / "csv" / "utterances.csv")
    assert {row["audio_verdict"] for row in said} == {"mine\rand yours"}
    assert [row["imer_audio_verdict"] for row in said] == ["ok", "silent", "ok", "ok", "ok"]
    import_csv(tmp_path / "csv/utterances.csv", {"audio": tmp_path / "csv/audio.csv"}, tmp_path / "again.h5")
    with FeatureStore.open(tmp_path / "again.h5") as again:
        assert again.quality["audio"].tolist() == [Verdict.ok, Verdict.silent, Verdict.ok, Verdict.ok, Verdict.ok]
        assert set(again.columns) == {"audio_verdict", "emotion", "sentiment", "visual_verdict"}


@pytest.mark.parametrize("told", ["ok silent ok ok silent", "ok well ok ok ok", "ok ok ok ok ok"])
def test_verdicts_that_are_not_those_of_the_values_stay_a_column_of_the_user(tmp_path: Path, told: str) -> None:
    found = {"audio": np.array([Verdict.ok, Verdict.no_stream, Verdict.ok, Verdict.ok, Verdict.ok])}
    rows = [replace(row, labels={"audio_verdict": one}) for row, one in zip(utterances(), told.split(), strict=True)]
    assert take_verdicts(rows, found) == (rows, found)


def test_what_is_no_number_is_not_called_silent() -> None:
    found = {"audio": np.array([Verdict.ok, Verdict.non_finite, Verdict.no_stream, Verdict.ok, Verdict.ok])}
    told = ("ok", "silent", "too_short", "ok", "ok")
    rows = [replace(row, labels={"audio_verdict": one}) for row, one in zip(utterances(), told, strict=True)]
    left, verdicts = take_verdicts(rows, found)
    assert verdicts["audio"].tolist() == [Verdict.ok, Verdict.non_finite, Verdict.too_short, Verdict.ok, Verdict.ok]
    assert [row.labels for row in left] == [{}] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "audio.npy"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        save_array(path, np.zeros(100_000))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_output_that_exists_is_kept(kind: str, tmp_path: Path, imer: Callable[..., Finished]) -> None:
    write_small_store(tmp_path / "f.h5", n_dialogues=6)
    words = ("data", "export", kind, "f.h5", "-o", "out", "--json")
    first = imer(*words, cwd=tmp_path)
    assert first.code == 0
    assert first.json["outputs"][0]["bytes"] > 1000
    assert first.json["kind"] == kind
    assert imer(*words, cwd=tmp_path).code == 6
    again = imer(*words, "--overwrite", cwd=tmp_path)
    assert again.code == 0
    assert again.json["outputs"] == first.json["outputs"]


def test_a_split_without_utterances_comes_back_from_mmsa(tmp_path: Path) -> None:
    path = write_small_store(tmp_path / "f.h5", n_dialogues=6)
    export_features("mmsa", path, tmp_path / "all.pkl")
    with open(tmp_path / "all.pkl", "rb") as file:
        parts = pickle.load(file)
    parts["test"] = {key: values[:0] for key, values in parts["test"].items()}
    (tmp_path / "fewer.pkl").write_bytes(pickle.dumps(parts))
    import_mmsa(tmp_path / "fewer.pkl", tmp_path / "again.h5")
    with FeatureStore.open(tmp_path / "again.h5") as store:
        assert set(store.splits.tolist()) == {"train", "val"}


def test_ids_that_are_one_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On most disks of macOS and Windows the second of two names that differ in capitals takes the first's place."""
    exists = Path.exists

    def in_any_capitals(path: Path) -> bool:
        beside = os.listdir(path.parent) if exists(path.parent) else []
        return path.name.casefold() in {name.casefold() for name in beside}

    alike = utterances(("v", "w", "u1", "x", "U1"), ("train",) * 5)
    rows = [replace(utterance, labels={"sentiment": "1"}) for utterance in alike]
    store = make_store(tmp_path / "f.h5", rows)
    export_features("gcnet", store, tmp_path / "told apart")
    monkeypatch.setattr(Path, "exists", in_any_capitals)
    with pytest.raises(InvalidInput, match="'U1' has that of another"):
        export_features("gcnet", store, tmp_path / "one")
    assert not (tmp_path / "one").exists()
