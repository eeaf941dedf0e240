"""Tables of features become a store, by utterance, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import InvalidInput
from imer.interop.exports import export_features
from imer.interop.feature_tables import import_csv
from imer.store.reader import FeatureStore
from tests.stores import write_small_store

MANIFEST = "utterance_id,emotion\na,sad\nb,glad\nc,sad\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "m.csv").write_text(MANIFEST)
    return tmp_path / "m.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_vectors_by_utterance_in_any_order(manifest: Path, tmp_path: Path, encoding: str) -> None:
    """A spreadsheet's semicolons and commas, a column of words, a row of somebody else, an utterance without a row."""
    table = "f0;file;utterance_id;jitter\n1,5;b.wav;b;2\n-3;a.wav;a;NA\n9;x.wav;x;9\n"
    (tmp_path / "voice.csv").write_text(table, encoding=encoding)
    made = import_csv(manifest, {"audio": tmp_path / "voice.csv"}, tmp_path / "f.h5")
    assert made.n_mended == 1
    assert made.notes == (
        "audio: columns without numbers are left out: file.",
        "audio: 1 row is of utterances that the manifest does not have: x.",
    )
    with FeatureStore.open(tmp_path / "f.h5") as store:
        values, present = store.vectors("audio")
        assert present.tolist() == [True, True, False]
        assert values[:2].tolist() == [[-3.0, 0.0], [1.5, 2.0]]
        (spec,) = store.specs["audio"].values()
        assert (spec.level, spec.dim_names) == ("utterance", ("f0", "jitter"))


def test_a_folder_with_a_table_for_each_utterance(manifest: Path, tmp_path: Path) -> None:
    """As OpenFace writes them: blanks after commas, frames with their times."""
    folder = tmp_path / "openface"
    folder.mkdir()
    for name, n in (("a", 3), ("c", 2)):
        rows = [f"{i + 1}, 0, {i * 0.04:.3f}, 0.98, 1, {i / 2}, 1" for i in range(n)]
        (folder / f"{name}.csv").write_text(
            "\n".join(["frame, face_id, timestamp, confidence, success, AU01_r, AU02_c", *rows, ""])
        )
    (folder / "b.csv").write_text("frame, face_id, timestamp, confidence, success, AU01_r, AU02_c\n")  # no face at all
    import_csv(manifest, {"visual": folder}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        (spec,) = store.specs["visual"].values()
        assert (spec.level, spec.hop_s) == ("frame", 0.04)
        assert spec.dim_names == ("confidence", "success", "AU01_r", "AU02_c")
        values, offsets, present = store.ragged("visual")
        assert (offsets.tolist(), present.tolist()) == ([0, 3, 3, 5], [True, False, True])
        assert values[:3, 2].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_tables_of_a_folder_are_set_apart_as_each_is(manifest: Path, tmp_path: Path, mark: str) -> None:
    folder = tmp_path / "praat"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.csv").write_text(mark.join(("f0", "jitter")) + "\n" + mark.join(("120", "0.5")) + "\n")
    import_csv(manifest, {"audio": folder}, tmp_path / "f.h5")
    with FeatureStore.open(tmp_path / "f.h5") as store:
        values, present = store.vectors("audio")
        assert (values[:2].tolist(), present.tolist()) == ([[120, 0.5]] * 2, [True, True, False])


def test_broken_rows_of_the_manifest_are_told(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("utterance_id,start\na,0\nb,soon\n")
    (tmp_path / "audio.csv").write_text("utterance_id,f0\na,120\nb,130\n")
    made = import_csv(tmp_path / "m.csv", {"audio": tmp_path / "audio.csv"}, tmp_path / "f.h5")
    assert made.n_utterances == 1
    assert made.notes[0].startswith("1 row of the manifest is broken and left out: line 3: b: start 'soon'")


def test_what_goes_out_comes_back(tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "f.h5")
    export_features("csv", store, tmp_path / "out")
    with FeatureStore.open(store) as before:
        tables = {modality: tmp_path / "out" / f"{modality}.csv" for modality in before.modalities}
        import_csv(tmp_path / "out" / "utterances.csv", tables, tmp_path / "again.h5")
        with FeatureStore.open(tmp_path / "again.h5") as after:
            for modality in before.modalities:
                mine, theirs = before.vectors(modality), after.vectors(modality)
                assert np.array_equal(mine[1], theirs[1])
                assert np.array_equal(mine[0], theirs[0], equal_nan=True)
            assert after.splits.tolist() == before.splits.tolist()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("name,f0\na,1\n", "has no column utterance_id; it has name, f0"),
        ("utterance_id,f0\na,1\nb,loud\n", "line 3: f0 'loud' is not a number"),
        ("utterance_id,word\na,yes\n", "has no column with numbers"),
        ("utterance_id,f0\nx,1\n", "numbers for no utterance"),
        ('utterance_id,f0\na,"1\n', "are its quotes closed"),
    ],
)
def test_what_cannot_be_used_is_refused(manifest: Path, tmp_path: Path, table: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(InvalidInput, match=words):
        import_csv(manifest, {"audio": tmp_path / "t.csv"}, tmp_path / "f.h5")
    assert not (tmp_path / "f.h5").exists()


def test_no_table_outside_its_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("utterance_id\n../secret\na\n")
    (tmp_path / "secret.csv").write_text("f0\n1\n")
    (tmp_path / "tables").mkdir()
    with pytest.raises(InvalidInput, match="has a table for no utterance"):
        import_csv(tmp_path / "m.csv", {"audio": tmp_path / "tables"}, tmp_path / "f.h5")
