"""Other people's features: each layout by its documentation, with the traps that it is known for."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from imer.core.errors import InvalidInput
from imer.core.types import Verdict
from imer.interop.csd import import_csd
from imer.interop.gcnet import import_gcnet
from imer.interop.mmsa import import_mmsa
from imer.store.reader import FeatureStore
from tests.conftest import Finished

RNG = np.random.default_rng(0)


def mmsa_split(n: int, first: int) -> dict[str, Any]:
    audio = RNG.normal(size=(n, 6, 5)).astype(np.float32)
    lengths = [i % 6 + 1 for i in range(n)]
    for i, length in enumerate(lengths):
        audio[i, length:] = 0
    audio[0, 0, 2] = -np.inf
    vision = RNG.normal(size=(n, 4, 3)).astype(np.float32)
    vision[1] = 0
    text = RNG.normal(size=(n, 3, 7)).astype(np.float32)
    text[2, 2] = 0
    return {
        "raw_text": np.array([f"words {first + i}" for i in range(n)]),
        "audio": audio, "vision": vision, "text": text, "audio_lengths": lengths,
        "id": np.array([f"vid{i % 2}$_${first + i}" for i in range(n)], dtype=object),
        "regression_labels": np.linspace(-3, 3, n, dtype=np.float32), "annotations": ["Negative"] * n,
    }  # fmt: skip


@pytest.fixture
def mmsa(tmp_path: Path) -> Path:
    content = {
        "train": mmsa_split(5, 0),
        "valid": mmsa_split(3, 5),
        "test": mmsa_split(4, 8),
        "config": {"align": None},
    }
    (tmp_path / "unaligned_50.pkl").write_bytes(pickle.dumps(content, protocol=4))
    return tmp_path / "unaligned_50.pkl"


def test_mmsa(mmsa: Path, tmp_path: Path) -> None:
    made = import_mmsa(mmsa, tmp_path / "f.h5")
    assert (made.n_utterances, made.n_mended) == (12, 3)
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.splits.tolist() == ["train"] * 5 + ["val"] * 3 + ["test"] * 4
        assert store.dialogue_ids[:2].tolist() == ["vid0", "vid1"]
        assert store.texts[3] == "words 3"
        assert store.labels["sentiment"].values[:5] == pytest.approx(np.linspace(-3, 3, 5))
        assert np.diff(store.feature("audio").offsets).tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 1, 2, 3, 4]
        assert store.feature("visual").present.tolist() == [i not in (1, 6, 9) for i in range(12)]
        assert len(store.feature("text").of(2)) == 2
        assert store.feature("audio").of(0)[0, 2] == 0
        assert store.specs["audio"]["mmsa/audio"].level == "frame"


@pytest.mark.parametrize("length", [-1, 7])
def test_mmsa_with_impossible_lengths_is_refused(tmp_path: Path, length: int) -> None:
    part = mmsa_split(3, 0)
    part["audio_lengths"][1] = length
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": part}))
    with pytest.raises(
        InvalidInput, match=f"has {length} for utterance 1 of that split, but its sequences have 6 steps"
    ):
        import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"audio_lengths": [1, 2]}, "train/audio_lengths has 2 entries for 3 utterances"),
        ({"id": ["v$_$0", "v$_$1", "v$_$0"]}, r"names an utterance twice: v\$_\$0"),
        ({"id": None}, "train has no list of ids"),
    ],
)
def test_mmsa_whose_parts_do_not_fit_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": mmsa_split(3, 0) | changed}))
    with pytest.raises(InvalidInput, match=said):
        import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5")


@pytest.mark.parametrize("name", ["val", "dev"])
def test_the_validation_part_of_mmsa_may_be_called_otherwise(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": mmsa_split(3, 0), name: mmsa_split(3, 3)}))
    assert import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5").notes == ()
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert list(store.splits) == ["train"] * 3 + ["val"] * 3


def test_parts_of_mmsa_that_are_not_read_are_named(tmp_path: Path) -> None:
    parts = {"train": mmsa_split(3, 0), "test2": mmsa_split(3, 3), "config": {"seed": 1}}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(parts))
    made = import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5")
    assert made.n_utterances == 3
    assert made.notes == ("only train, valid, test, val, dev are read, but there are also utterances in test2.",)


def test_mmsa_with_labels_in_one_split_has_labels(tmp_path: Path) -> None:
    unlabelled = {
        key: values for key, values in mmsa_split(3, 5).items() if key not in ("regression_labels", "annotations")
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": mmsa_split(5, 0), "test": unlabelled}))
    assert import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5").notes == ()
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert np.isnan(store.labels["sentiment"].values).tolist() == [False] * 5 + [True] * 3


def test_a_pickle_of_something_else_is_not_mmsa(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(InvalidInput, match="none of train, valid, test"):
        import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5")
    broken = mmsa_split(3, 0) | {"audio": np.zeros((2, 4, 5))}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": broken}))
    with pytest.raises(InvalidInput, match=r"train/audio must be an array \[3, T, D\], but it is of shape \(2, 4, 5\)"):
        import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5")


@pytest.fixture
def gcnet(tmp_path: Path) -> Path:
    folder = tmp_path / "CMUMOSI"
    ids = {"v1": ["v1_0", "v1_1"], "v2": ["v2_0"], "v3": ["v3_0", "v3_1"]}
    labels = {v: [float(i - 1) for i in range(len(names))] for v, names in ids.items()}
    content = (ids, labels, {v: [""] * len(n) for v, n in ids.items()}, {v: ["said"] * len(n) for v, n in ids.items()},
               {"v1"}, {"v2"}, {"v3"})  # fmt: skip
    (folder / "features" / "wav-UTT").mkdir(parents=True)
    (folder / "features" / "face-UTT").mkdir()
    (folder / "CMUMOSI_features_raw_2way.pkl").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("v1_0", "v1_1", "v2_0", "v3_0"):
        np.save(folder / "features" / "wav-UTT" / f"{name}.npy", RNG.normal(size=(1, 4)))
    np.save(folder / "features" / "wav-UTT" / "v3_1.npy", np.zeros(4))
    (folder / "features" / "face-UTT" / "v1_0").mkdir()
    for i in range(3):
        np.save(folder / "features" / "face-UTT" / "v1_0" / f"{i}.npy", np.full(2, i + 1.0))
    return folder


def test_gcnet(gcnet: Path, tmp_path: Path) -> None:
    import_gcnet(gcnet, {"audio": "wav-UTT", "visual": "face-UTT"}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.utterance_ids.tolist() == ["v1_0", "v1_1", "v2_0", "v3_0", "v3_1"]
        assert store.splits.tolist() == ["train", "train", "val", "test", "test"]
        assert store.present_NM().tolist() == [
            [True, True],
            [True, False],
            [True, False],
            [True, False],
            [False, False],
        ]
        assert store.vectors("visual")[0][0].tolist() == [2, 2]  # the mean over the faces
        assert store.labels["sentiment"].values.tolist() == [-1, 0, -1, -1, 0]
        levels = {modality: spec.level for modality, named in store.specs.items() for spec in named.values()}
        assert levels == {"audio": "utterance", "visual": "frame"}
    with pytest.raises(InvalidInput, match="there are face-UTT, wav-UTT"):
        import_gcnet(gcnet, {"audio": "wav"}, tmp_path / "g.h5")
    with pytest.raises(InvalidInput, match="exactly one file"):
        import_gcnet(tmp_path, {"audio": "wav-UTT"}, tmp_path / "g.h5")


def test_gcnet_frames_of_one_number_are_frames(gcnet: Path, tmp_path: Path) -> None:
    for path in (gcnet / "features" / "wav-UTT").glob("*.npy"):
        np.save(path, np.arange(3.0)[:, None])
    import_gcnet(gcnet, {"audio": "wav-UTT"}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.specs["audio"]["gcnet/wav-UTT"].dim == 1


def test_arrays_of_all_utterances_have_one_width(gcnet: Path, tmp_path: Path) -> None:
    np.save(gcnet / "features" / "wav-UTT" / "v2_0.npy", np.ones(5))
    said = r"gcnet/wav-UTT must have one width for all utterances; found: 4, 5. Other than 4 have v2_0\."
    with pytest.raises(InvalidInput, match=said):
        import_gcnet(gcnet, {"audio": "wav-UTT"}, tmp_path / "f.h5")


def test_gcnet_arrays_of_one_utterance_have_one_width(gcnet: Path, tmp_path: Path) -> None:
    of_utterance = next(path for path in (gcnet / "features" / "face-UTT").iterdir() if path.is_dir())
    np.save(of_utterance / "zz.npy", np.ones((1, 7)))
    with pytest.raises(InvalidInput, match=rf"{of_utterance.name} differ in width: 2, 7"):
        import_gcnet(gcnet, {"visual": "face-UTT"}, tmp_path / "f.h5")


@pytest.mark.parametrize("what", ["text", "cut short", "words", "cube"])
def test_gcnet_names_the_file_that_is_no_array_of_numbers(gcnet: Path, tmp_path: Path, what: str) -> None:
    path = gcnet / "features" / "wav-UTT" / "v2_0.npy"
    if what == "text":
        path.write_text("0.5 0.25")
    elif what == "cut short":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        np.save(path, {"words": np.array(["a", "b"]), "cube": np.ones((2, 2, 2))}[what])
    with pytest.raises(InvalidInput, match=r"wav-UTT/v2_0\.npy (is not a \.npy array|must be a vector or frames)"):
        import_gcnet(gcnet, {"audio": "wav-UTT"}, tmp_path / "f.h5")


@pytest.mark.parametrize("shape", [None, (0,), (0, 4), (1, 0, 4)])
def test_gcnet_file_without_values_costs_its_utterance_alone(
    gcnet: Path, tmp_path: Path, imer: Callable[..., Finished], shape: tuple[int, ...] | None
) -> None:
    """A face or a voice that was looked for and not found; or, of no byte, a program that was interrupted."""
    for path in (gcnet / "features" / "wav-UTT" / "v2_0.npy", gcnet / "features" / "face-UTT" / "v1_0" / "1.npy"):
        path.write_bytes(b"") if shape is None else np.save(path, np.zeros(shape))
    pairs = ("--features", "audio=wav-UTT", "--features", "visual=face-UTT")
    done = imer("data", "import", "gcnet", gcnet, *pairs, "-o", tmp_path / "f.h5", "--json")
    assert done.code == 0, done.err
    said = done.json["warnings"]
    assert [text.partition(" of ")[0] for text in said] == [
        "audio: no value is in v2_0.npy",
        "visual: no value is in v1_0/1.npy",
    ]
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.vectors("audio")[1].tolist() == [True, True, False, True, False]
        assert store.vectors("visual")[0][0].tolist() == [2, 2], "of the first and the last face"


def test_gcnet_tables_that_do_not_fit_each_other_are_refused(gcnet: Path, tmp_path: Path) -> None:
    (labels,) = gcnet.glob("*.pkl")
    content = pickle.loads(labels.read_bytes())
    for table in (1, 2, 3):
        for broken in ({**content[table], "v3": content[table]["v3"][:1]}, {"v1": content[table]["v1"]}):
            labels.write_bytes(pickle.dumps((*content[:table], broken, *content[table + 1 :])))
            with pytest.raises(InvalidInput, match="has not as many labels, speakers and sentences as utterances"):
                import_gcnet(gcnet, {"audio": "wav-UTT"}, tmp_path / "f.h5")


def test_iemocap_has_sessions(tmp_path: Path) -> None:
    ids = {"Ses01F_a": ["Ses01F_a_F0"], "Ses05M_b": ["Ses05M_b_M0"]}
    content = (ids, {v: [3] for v in ids}, {"Ses01F_a": ["F"], "Ses05M_b": ["M"]}, {v: ["x"] for v in ids},
               ["Ses01F_a"], ["Ses05M_b"])  # fmt: skip
    (tmp_path / "features" / "a").mkdir(parents=True)
    (tmp_path / "IEMOCAP_features_raw_4way.pkl").write_bytes(pickle.dumps(content))
    for (name,) in ids.values():
        np.save(tmp_path / "features" / "a" / f"{name}.npy", np.ones((7, 3)))
    import_gcnet(tmp_path, {"audio": "a"}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.sessions.tolist() == ["1", "5"]
        assert store.speakers.tolist() == ["Ses01_F", "Ses05_M"], "the same in every scene of a session"
        assert store.labels["emotion"].classes == ("3",)
        assert store.specs["audio"]["gcnet/a"].level == "frame"


def write_csd(path: Path, entries: dict[str, tuple[Any, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group(f"{path.stem}/data")
        file.create_group(f"{path.stem}/metadata")
        for name, (values, intervals) in entries.items():
            group = data.create_group(name)
            group.create_dataset("features", data=np.asarray(values), compression="gzip", compression_opts=9)
            group.create_dataset("intervals", data=np.asarray(intervals, dtype=float), compression="gzip")
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_csd(
        tmp_path / "Opinion Segment Labels.csd",
        {"vidA": ([[1.5], [-2.0]], [[0, 2], [2, 4]]), "vidB": ([[0.0]], [[1, 3]]), "vidC[4]": ([[3.0]], [[0, 1]])},
    )


def test_csd(labels: Path, tmp_path: Path) -> None:
    steps = np.arange(8) / 2
    audio = write_csd(tmp_path / "COVAREP.csd", {
        "vidA": (np.column_stack([steps, [-np.inf] * 8]), np.column_stack([steps, steps + 0.5])),
        "vidC[4]": ([[7.0, 8.0]], [[0, 1]]),
    })  # fmt: skip
    words = write_csd(
        tmp_path / "words.csd", {"vidB": (np.array([[b"sp"], [b"hello"], [b"you"]]), [[0, 1.5], [1.5, 2], [2, 2.5]])}
    )
    assert import_csd(labels, {"audio": audio, "text": words}, tmp_path / "f.h5").n_mended == 8
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.utterance_ids.tolist() == ["vidA[0]", "vidA[1]", "vidB[0]", "vidC[4]"]
        assert store.dialogue_ids.tolist() == ["vidA", "vidA", "vidB", "vidC"]
        values, present = store.vectors("audio")
        assert present.tolist() == [True, True, False, True]
        assert values[[0, 1, 3]].tolist() == [[0.75, 0], [2.75, 0], [7, 8]]
        assert store.texts.tolist() == ["", "", "hello you", ""]
        assert store.labels["sentiment"].values.tolist() == [1.5, -2, 0, 3]


def test_what_is_no_number_throughout_is_not_present(labels: Path, tmp_path: Path) -> None:
    steps = np.arange(8) / 2
    values = np.where(steps[:, None] < 2, np.nan, steps[:, None])  # vidA[0] was never measured
    audio = write_csd(tmp_path / "COVAREP.csd", {"vidA": (values, np.column_stack([steps, steps + 0.5]))})
    assert import_csd(labels, {"audio": audio}, tmp_path / "f.h5").n_mended == 4
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.feature("audio").present.tolist() == [False, True, False, False]
        found = [Verdict(code) for code in store.quality["audio"].tolist()]
        assert found == [Verdict.non_finite, Verdict.ok, Verdict.no_stream, Verdict.no_stream]
    reversed_ = write_csd(tmp_path / "back.csd", {"vidA": ([[1.0]], [[5, 4]])})
    with pytest.raises(InvalidInput, match="numbers for no utterance"):
        import_csd(labels, {"audio": reversed_}, tmp_path / "g.h5")


@pytest.mark.parametrize(
    ("width", "names"),
    [
        (7, ["anger", "disgust", "fear", "happiness", "sadness", "sentiment", "surprise"]),
        (2, ["label0", "label1"]),
    ],
)
def test_csd_labels_are_called_by_their_number(tmp_path: Path, width: int, names: list[str]) -> None:
    """Seven are CMU-MOSEI's: sentiment, happiness, sadness, anger, surprise, disgust, fear."""
    labels = write_csd(tmp_path / "labels.csd", {"vid": ([np.arange(width) / 2], [[0, 1]])})
    audio = write_csd(tmp_path / "COVAREP.csd", {"vid": ([[1.0]], [[0, 1]])})
    import_csd(labels, {"audio": audio}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert sorted(store.labels) == names
        if width == 7:
            assert {name: store.labels[name].values[0] for name in ("happiness", "fear")} == {
                "happiness": 0.5,
                "fear": 3,
            }


def test_csd_of_another_form_is_refused(labels: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csd"
    for rows, said in ((3, r"has features \(2, 1\) and intervals \(3, 2\)"), (2, "an HDF5 filter other than gzip")):
        with h5py.File(bad, "w") as file:
            group = file.create_group("root/data/vidA")
            group.create_dataset("features", data=np.ones((2, 1)), compression="gzip" if rows == 3 else "lzf")
            group["intervals"] = np.zeros((rows, 2))
        with pytest.raises(InvalidInput, match=said):
            import_csd(labels, {"audio": bad}, tmp_path / "f.h5")
    write_csd(bad, {"vidA": ([[1.0]], [[0, 2]])})
    with h5py.File(bad, "a") as file:
        file.create_group("another")
    with pytest.raises(InvalidInput, match="has 2 top-level groups"):
        import_csd(labels, {"audio": bad}, tmp_path / "f.h5")


def test_hostile_csd_is_refused(labels: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(4.0)
    bad = tmp_path / "bad.csd"
    (tmp_path / "raw").write_bytes(b"\x01" * 64)

    def link(group: h5py.Group) -> None:
        group["features"] = h5py.ExternalLink(str(secret), "/x")

    def external(group: h5py.Group) -> None:
        group.create_dataset("features", (2, 1), "f8", external=[(str(tmp_path / "raw"), 0, 16)])

    def virtual(group: h5py.Group) -> None:
        layout = h5py.VirtualLayout((2, 1), "f8")
        layout[:, 0] = h5py.VirtualSource(str(secret), "x", (4,))[:2]
        group.create_virtual_dataset("features", layout)

    def bomb(group: h5py.Group) -> None:
        group.create_dataset("features", (1 << 36, 8), "f8", chunks=(1024, 8))

    def objects(group: h5py.Group) -> None:
        group.create_dataset("features", data=["a", "b"], dtype=h5py.string_dtype())

    for make, said in ((link, "is missing, or a link"), (external, "another file"), (virtual, "another file"),
                       (bomb, "declares"), (objects, "neither numbers nor words")):  # fmt: skip
        with h5py.File(bad, "w") as file:
            group = file.create_group("root/data/vidA")
            make(group)
            group["intervals"] = np.zeros((2, 2))
        with pytest.raises(InvalidInput, match=f"bad.csd is refused: .*{said}"):
            import_csd(labels, {"audio": bad}, tmp_path / "f.h5")
    bad.write_bytes(b"not HDF5")
    with pytest.raises(InvalidInput, match=r"bad\.csd is refused"):
        import_csd(bad, {"audio": bad}, tmp_path / "f.h5")


def test_the_command_line(mmsa: Path, gcnet: Path, tmp_path: Path, imer: Callable[..., Finished]) -> None:
    out = tmp_path / "f.h5"
    done = imer("data", "import", "mmsa", mmsa, "-o", out, "--json")
    assert done.code == 0, done.err
    assert done.json["counts"]["present"] == {"audio": 12, "text": 12, "visual": 9}
    assert "3 values were no finite numbers" in done.err
    assert imer("data", "import", "gcnet", gcnet, "--features", "audio=wav-UTT", "-o", tmp_path / "g.h5").code == 0
    for arguments, said in (
        (("UNKNOWN",), "valid names: arrays, csd, csv, gcnet, mmsa"),
        (("arrays", "-o", out), "needs --manifest"),
        (("mmsa", "-o", out), "needs the pickle"),
        (("gcnet", gcnet, "-o", out), "needs at least one --features"),
    ):
        done = imer("data", "import", *arguments)
        assert done.code == 2
        assert said in done.err


def test_what_a_kind_does_not_take_is_refused(mmsa: Path, tmp_path: Path, imer: Callable[..., Finished]) -> None:
    done = imer("data", "import", "mmsa", mmsa, "-o", tmp_path / "f.h5", "--features", "audio=x", "--manifest", "m.csv")
    assert done.code == 2
    assert "mmsa takes no --manifest, --features; it takes SOURCE" in done.err


@pytest.mark.parametrize("key", ["regression_labels", "raw_text", "annotations"])
def test_mmsa_with_too_few_of_something_is_refused(tmp_path: Path, key: str) -> None:
    part = mmsa_split(4, 0)
    part[key] = part[key][:3]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": part}))
    with pytest.raises(InvalidInput, match=f"train/{key} has 3 entries for 4 utterances"):
        import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5")


def test_iemocap_shows_each_speakers_own_face(tmp_path: Path) -> None:
    scene = "Ses01F_impro01"
    names = [f"{scene}_F000", f"{scene}_M000"]
    content = ({scene: names}, {scene: [3, 1]}, {scene: ["F", "M"]}, {scene: ["x", "y"]}, [scene], [])
    (tmp_path / "IEMOCAP_features_raw_4way.pkl").write_bytes(pickle.dumps(content))
    for name in names:
        (tmp_path / "features" / "face" / name).mkdir(parents=True)
        for number in range(2):
            np.save(tmp_path / "features" / "face" / name / f"{name}_frame{number}_F.npy", np.ones(2))
            np.save(tmp_path / "features" / "face" / name / f"{name}_frame{number}_M.npy", np.full(2, -3.0))
    import_gcnet(tmp_path, {"visual": "face"}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.vectors("visual")[0].tolist() == [[1, 1], [-3, -3]]


def test_csd_goes_by_time_and_not_by_number(tmp_path: Path) -> None:
    """Labels in any order; features aligned to words, so that their numbers are of words."""
    labels = write_csd(tmp_path / "labels.csd", {"vid": ([[1.0], [2.0], [3.0]], [[20, 30], [0, 10], [10, 20]])})
    starts = np.arange(60) / 2
    words = {f"vid[{i}]": ([[start]], [[start, start + 0.5]]) for i, start in enumerate(starts.tolist())}
    audio = write_csd(tmp_path / "COVAREP.csd", words)
    import_csd(labels, {"audio": audio}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.utterance_ids.tolist() == ["vid[0]", "vid[1]", "vid[2]"]
        assert store.positions.tolist() == [2, 0, 1]
        assert store.vectors("audio")[0][:, 0].tolist() == [24.75, 4.75, 14.75]


def test_csd_aligned_utterances_keep_their_order(tmp_path: Path) -> None:
    parts = {f"vid[{i}]": ([[float(i)]], [[i, i + 1]]) for i in range(12)}
    labels, audio = write_csd(tmp_path / "labels.csd", parts), write_csd(tmp_path / "audio.csd", parts)
    import_csd(labels, {"audio": audio}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.vectors("audio")[0][:, 0].tolist() == store.positions.tolist() == list(range(12))


def test_mmsa_lengths_of_nothing_and_labels_of_others(tmp_path: Path) -> None:
    part = {
        "id": [["v", "4.5", "6"], ["v", "0", "1.5"]],
        "audio": np.ones((2, 5, 3), np.float32),
        "audio_lengths": [0, 2],
        "labels": np.array([[[1.5]], [[-2.0]]]),
    }
    (tmp_path / "mult.pkl").write_bytes(pickle.dumps({"train": part}))
    assert import_mmsa(tmp_path / "mult.pkl", tmp_path / "f.h5").notes == ()
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.ragged("audio")[1].tolist() == [0, 5, 7]
        assert store.labels["sentiment"].values.tolist() == [1.5, -2]
        assert store.positions.tolist() == [1, 0]
        assert (store.start_s.tolist(), store.end_s.tolist()) == ([4.5, 0], [6, 1.5])
    del part["labels"]
    (tmp_path / "none.pkl").write_bytes(pickle.dumps({"train": part}))
    assert "there are no labels" in import_mmsa(tmp_path / "none.pkl", tmp_path / "g.h5").notes[0]
    part["labels"] = np.zeros((2, 1, 4))
    (tmp_path / "many.pkl").write_bytes(pickle.dumps({"train": part}))
    with pytest.raises(InvalidInput, match="labels of an utterance are 4 numbers"):
        import_mmsa(tmp_path / "many.pkl", tmp_path / "h.h5")


def test_mmsa_ids_say_the_place_of_a_clip_whatever_row_it_is_in(tmp_path: Path) -> None:
    part = {"id": ["v$_$2", "v$_$0", "v$_$1"], "audio": np.ones((3, 5, 3), np.float32), "labels": np.zeros((3, 1, 1))}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"train": part}))
    import_mmsa(tmp_path / "x.pkl", tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.positions.tolist() == [2, 0, 1]


def test_a_video_of_two_splits_is_refused(gcnet: Path, tmp_path: Path) -> None:
    (labels,) = gcnet.glob("*.pkl")
    content = list(pickle.loads(labels.read_bytes()))
    content[-2] = [*content[-2], *content[-3]]
    labels.write_bytes(pickle.dumps(tuple(content)))
    with pytest.raises(InvalidInput, match="puts videos into several splits"):
        import_gcnet(gcnet, {"audio": "wav-UTT"}, tmp_path / "f.h5")
