"""Arrays beside a manifest become a store; what does not match is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imer.core.files import sha256_file
from imer.store.reader import FeatureStore


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = "".join(f"u{i},d{i // 2},text {i},{i % 3}\n" for i in range(6))
    (tmp_path / "m.csv").write_text("utterance_id,dialogue_id,text,sentiment\n" + rows)
    audio = np.arange(12, dtype=np.float64).reshape(6, 2)
    audio[1] = np.nan
    audio[2, 0] = np.inf
    np.save(tmp_path / "audio.npy", audio)
    np.save(tmp_path / "text.npy", np.ones((6, 3), dtype=np.float32))
    return tmp_path


def run(imer: Callable, folder: Path, *features: str) -> Any:
    flags = [part for f in features for part in ("--features", f)]
    return imer("data", "import", "arrays", "--manifest", "m.csv", *flags, "-o", "f.h5", "--json", cwd=folder)


def test_rows_of_nan_are_not_present(imer: Callable, corpus: Path) -> None:
    done = run(imer, corpus, "audio=audio.npy", "text=text.npy")
    assert done.code == 0, done.err
    assert done.json["quality"]["audio"] == {"ok": 4, "no_stream": 1, "non_finite": 1}
    with FeatureStore.open(corpus / "f.h5") as store:
        values, present = store.vectors("audio")
        assert present.tolist() == [True, False, False, True, True, True]
        assert values[5].tolist() == [10, 11]
        assert store.labels["sentiment"].values.tolist() == [0, 1, 2, 0, 1, 2]
        arrays = store.provenance["arrays"]
        assert {m: a["name"] for m, a in arrays.items()} == {"audio": "audio.npy", "text": "text.npy"}
        assert arrays["audio"]["sha256"] == sha256_file(corpus / "audio.npy")


def test_dialogues_in_a_column_that_is_not_read_are_asked_about(imer: Callable, corpus: Path) -> None:
    assert run(imer, corpus, "text=text.npy").json["warnings"] == []
    manifest = corpus / "m.csv"
    manifest.write_text(manifest.read_text().replace("dialogue_id", "video"))
    (corpus / "f.h5").unlink()
    (warning,) = run(imer, corpus, "text=text.npy").json["warnings"]
    assert "if the column video says which belong together, call it dialogue_id" in warning


def test_a_value_beyond_float32_makes_its_row_non_finite(imer: Callable, corpus: Path) -> None:
    values = np.load(corpus / "audio.npy").astype(np.float64)
    values[0, 0] = 1e300
    np.save(corpus / "audio.npy", values)
    done = run(imer, corpus, "audio=audio.npy")
    assert done.code == 0
    assert done.err.splitlines() == [f"imer data import: warning: {done.json['warnings'][0]}"], "no warning of NumPy's"
    assert "audio: 2 of 6 rows are NaN or infinite in part" in done.err
    assert done.json["quality"]["audio"]["non_finite"] == 2


def test_a_second_import_of_new_rows_fits_a_model_of_the_first(imer: Callable, corpus: Path) -> None:
    """The fingerprint says what is known of an array, its modality and width, so that new data can be evaluated."""
    assert run(imer, corpus, "audio=audio.npy").code == 0
    with FeatureStore.open(corpus / "f.h5") as store:
        first = store.specs["audio"]["array/audio"].fingerprint
    np.save(corpus / "other.npy", np.ones((6, 2)))
    (corpus / "f.h5").unlink()
    assert run(imer, corpus, "audio=other.npy").code == 0
    with FeatureStore.open(corpus / "f.h5") as store:
        assert store.specs["audio"]["array/audio"].fingerprint == first


@pytest.mark.parametrize(
    ("features", "code", "words"),
    [
        (["audio=gone.npy"], 4, "does not exist"),
        (["audio=m.csv"], 4, "not a .npy file of numbers"),
        (["audio=short.npy"], 4, "5 rows"),
        (["audio=flat.npy"], 4, "[rows, width]"),
        (["audio=objects.npy"], 4, "not a .npy file of numbers"),
        (["audio"], 2, "MODALITY=NAME"),
        (["audio=audio.npy", "audio=audio.npy"], 2, "twice"),
    ],
)
def test_what_does_not_match_is_refused(
    imer: Callable, corpus: Path, features: list[str], code: int, words: str
) -> None:
    np.save(corpus / "short.npy", np.ones((5, 2)))
    np.save(corpus / "flat.npy", np.ones(6))
    np.save(corpus / "objects.npy", np.array([{"a": 1}] * 6, dtype=object), allow_pickle=True)
    done = run(imer, corpus, *features)
    assert (done.code, "Traceback" in done.err) == (code, False)
    assert words in done.err
    assert not (corpus / "f.h5").exists()


def test_broken_manifest_rows_are_refused_since_rows_must_match(imer: Callable, corpus: Path) -> None:
    with open(corpus / "m.csv", "a") as file:
        file.write("u0,d,again,1\n")
    done = run(imer, corpus, "audio=audio.npy")
    assert done.code == 4
    assert "line 8" in done.err


def test_media_may_lie_anywhere_since_nobody_opens_them(imer: Callable, corpus: Path) -> None:
    rows = (corpus / "m.csv").read_text().splitlines()
    (corpus / "m.csv").write_text(
        "\n".join([f"{rows[0]},media", *(f"{row},/data/clips/{i}.mp4" for i, row in enumerate(rows[1:]))])
    )
    assert run(imer, corpus, "audio=audio.npy").code == 0


def test_unknown_importer(imer: Callable, corpus: Path) -> None:
    done = imer("data", "import", "array", "--manifest", "m.csv", "--features", "a=b", "-o", "f.h5", cwd=corpus)
    assert done.code == 2
    assert "did you mean 'arrays'" in done.err
