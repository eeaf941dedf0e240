"""`imer predict` on real clips from the shell: the same numbers as through `imer extract`, and honest exit codes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from imer.cli.app import app
from imer.core.json_lines import read_json_lines
from imer.export.publish import export
from imer.extraction.job import ExtractSettings
from imer.extraction.runner import extract
from imer.training.train import train
from tests.clips import face, grey, voice, write_clip
from tests.conftest import Finished
from tests.shipped import SMALL, train_small

Imer = Callable[..., Finished]


@dataclass(frozen=True)
class Trained:
    """A bundle that was trained on a few clips, the clips, and their features."""

    folder: Path
    manifest: Path
    store: Path
    bundle: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Eight clips in four dialogues: one shows no face, one says nothing, one has no words."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "clips").mkdir()
    rows = []
    for i in range(8):
        height = ("low", "high")[i % 2]
        sound = np.zeros(9_600, np.float32) if i == 6 else voice(0.6, 110 + 90 * (i % 2) + i)
        write_clip(folder / f"clips/c{i}.mp4", seconds=0.6, picture=grey if i == 5 else face, sound=sound)
        rows.append(
            {
                "utterance_id": f"u{i}", "media": f"clips/c{i}.mp4", "text": "" if i == 3 else f"{height} words, number {i}",
                "dialogue_id": f"d{i // 2}", "position": i % 2, "split": ("train", "train", "val", "test")[i // 2],
                "pitch": height,
            }
        )  # fmt: skip
    with open(folder / "m.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    store = folder / "features.h5"
    extract(folder / "m.csv", store, device="cpu", settings=ExtractSettings(workers="1"))
    train(store, folder / "run", flags={"data": {"label": "pitch"}, "train": {"device": "cpu"}}, assignments=SMALL)
    export(folder / "run", folder / "bundle")
    return Trained(folder, folder / "m.csv", store, folder / "bundle")


def test_raw_clips_are_answered_exactly_as_their_features(imer: Imer, trained: Trained, tmp_path: Path) -> None:
    raw = imer("predict", trained.bundle, trained.manifest, "-o", tmp_path / "raw.jsonl", "--workers", 1, "--json")
    assert (raw.code, raw.json["status"]) == (0, "ok")
    assert raw.json["counts"] == {"utterances": 8, "answered": 8, "all_missing": 0, "failed": 0}
    stored = imer("predict", trained.bundle, trained.store, "-o", tmp_path / "stored.jsonl")
    assert stored.code == 0
    from_clips, from_store = (read_json_lines(tmp_path / name) for name in ("raw.jsonl", "stored.jsonl"))
    assert from_store == [{**line, "media": None} for line in from_clips]  # a store does not know its files
    lines = {line["utterance_id"]: line for line in read_json_lines(tmp_path / "raw.jsonl")}
    assert lines["u5"]["verdicts"] == {"audio": "ok", "text": "ok", "visual": "no_face"}
    assert lines["u6"]["observed"] == ["text", "visual"]
    assert lines["u3"]["verdicts"]["text"] == "empty_text"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw.jsonl", "stored.jsonl"]


KILLED_WHILE = {
    "extracting": (
        "import imer.extraction.staging as staging\nstaging.SHARD_CELLS = 6\nflush = staging.Staging.flush\n"
        "def stop(self):\n    flush(self)\n    len(self.cells) < 12 or os.kill(os.getpid(), 9)\nstaging.Staging.flush = stop\n"
    ),
    "packing": "import imer.extraction.job as job\njob.pack = lambda *a, **k: os.kill(os.getpid(), 9)\n",
    "answering": "import imer.export.predict as p\np.answer_store = lambda *a, **k: os.kill(os.getpid(), 9)\n",
}


@pytest.mark.parametrize("moment", list(KILLED_WHILE))
def test_killed_it_goes_on_to_the_same_answers(imer: Imer, trained: Trained, tmp_path: Path, moment: str) -> None:
    whole = imer("predict", trained.bundle, trained.folder / "clips", "-o", tmp_path / "whole.jsonl", "--workers", 1)
    assert whole.code == 0, whole.err
    again = ["predict", trained.bundle, trained.folder / "clips", "-o", tmp_path / "p.jsonl", "--workers", "1"]
    killed = f"import os\n{KILLED_WHILE[moment]}from imer.__main__ import main\nmain()\n"
    process = subprocess.run([sys.executable, "-c", killed, *map(str, again)], capture_output=True, timeout=120)
    assert process.returncode == -9, process.stderr
    assert not (tmp_path / "p.jsonl").exists()
    resumed = imer(*again)
    assert resumed.code == 0, resumed.err
    said = {
        "extracting": "continuing", "packing": "24 of 24 items are done already", "answering": "took over 16 of 24 items"
    }  # fmt: skip
    assert said[moment] in resumed.err
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl", "whole.jsonl"]


def test_what_was_kept_for_another_model_or_is_damaged_is_made_again(
    imer: Imer, trained: Trained, tmp_path: Path
) -> None:
    whole = imer("predict", trained.bundle, trained.folder / "clips", "-o", tmp_path / "whole.jsonl", "--workers", 1)
    assert whole.code == 0, whole.err
    folder = tmp_path / "p.jsonl.staging"
    folder.mkdir()
    for kept in (trained.store.read_bytes()[:-9], b"no store"):
        (folder / "features.h5").write_bytes(kept)
        done = imer(
            "predict",
            trained.bundle,
            trained.folder / "clips",
            "-o",
            tmp_path / "p.jsonl",
            "--workers",
            1,
            "--overwrite",
        )
        assert done.code == 0, done.err
        assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert not folder.exists()
        folder.mkdir()


def test_a_folder_with_a_bad_clip(imer: Imer, trained: Trained, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    shutil.copy(trained.folder / "clips/c0.mp4", clips / "good.mp4")
    (clips / "good.txt").write_text("low words")
    (clips / "bad.mp4").write_bytes(b"this is no video at all, whatever its name says")
    done = imer("predict", trained.bundle, clips, "-o", tmp_path / "p.jsonl", "--workers", 1)
    assert done.code == 3
    assert "1 utterance has no answer" in done.err
    assert "took the words of 1 clip" in done.err
    (answer,) = read_json_lines(tmp_path / "p.jsonl")
    assert answer["utterance_id"] == "good"
    assert answer["observed"] == ["audio", "text", "visual"]
    failed = read_json_lines(tmp_path / "errors.jsonl")
    assert [(e["utterance_id"], e["modality"], e["code"]) for e in failed] == [
        ("bad", "audio", "E-OPEN"), ("bad", "visual", "E-OPEN"),
    ]  # fmt: skip


def test_a_single_clip_with_its_words(imer: Imer, trained: Trained) -> None:
    clip = trained.folder / "clips/c1.mp4"
    done = imer(
        "predict", trained.folder / "run", clip, "--text", "high words, number 1", "--workers", 1, cwd=trained.folder
    )
    assert done.code == 0
    header, row = (line.split("\t") for line in done.out.splitlines())
    said = dict(zip(header, row, strict=True))
    assert (said["utterance_id"], said["audio"], said["text"], said["visual"]) == (
        "c1",
        "observed",
        "observed",
        "observed",
    )
    assert float(said["p(high)"]) + float(said["p(low)"]) == pytest.approx(1.0, abs=2e-4)
    assert said["pitch"] == max(("high", "low"), key=lambda name: float(said[f"p({name})"]))


def test_a_timed_transcript_makes_a_dialogue_of_a_recording(imer: Imer, trained: Trained, tmp_path: Path) -> None:
    write_clip(tmp_path / "call.mp4", seconds=2.4, picture=face, sound=voice(2.4, 150))
    (tmp_path / "call.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,200\nlow words, number 1\n\n2\n00:00:01,200 --> 00:00:02,400\nhigh words\n"
    )
    words = ("predict", trained.bundle, "--workers", 1)
    cued = imer(*words, tmp_path / "call.mp4", "-o", tmp_path / "cued.jsonl")
    assert cued.code == 0, cued.err
    assert "1 clip has a timed transcript" in cued.err
    listed = imer("data", "manifest", tmp_path, "-o", tmp_path / "m.csv", "--json")
    assert (listed.code, listed.json["counts"]) == (0, {"clips": 1, "utterances": 2, "with_words": 2})
    assert imer(*words, tmp_path / "m.csv", "-o", tmp_path / "rows.jsonl").code == 0
    assert (tmp_path / "cued.jsonl").read_bytes() == (tmp_path / "rows.jsonl").read_bytes()
    lines = read_json_lines(tmp_path / "cued.jsonl")
    assert [(line["utterance_id"], line["start_s"], line["end_s"]) for line in lines] == [
        ("call_1", 0.0, 1.2), ("call_2", 1.2, 2.4),
    ]  # fmt: skip
    assert all(line["observed"] == ["audio", "text", "visual"] for line in lines)
    assert {line["media"] for line in lines} == {str(tmp_path / "call.mp4")}
    assert imer(*words, "call.mp4", "--speaker", "ann", "-o", "cued.csv", cwd=tmp_path).code == 0
    with open(tmp_path / "cued.csv", newline="") as file:
        rows = [[row[name] for name in ("media", "speaker", "start_s")] for row in csv.DictReader(file)]
    assert rows == [["call.mp4", "ann", "0.0"], ["call.mp4", "ann", "1.2"]]
    windows = imer(*words, tmp_path / "call.mp4", "--window", 1, "--json")
    assert len(windows.json["predictions"]) == 2  # its cues, which say more than a clock
    (tmp_path / "call.srt").unlink()
    windows = imer(*words, tmp_path / "call.mp4", "--window", 1)
    rows = [line.split("\t")[:3] for line in windows.out.splitlines()]
    assert rows == [["utterance_id", "start_s", "end_s"], ["call_1", "0.0000", "1.0000"], ["call_2", "1.0000", "–"]]


def test_a_listing_says_which_transcripts_it_could_not_use(imer: Imer, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"media")
    (tmp_path / "a.vtt").write_text("no header")
    done = imer("data", "manifest", tmp_path / "a.wav", "-o", tmp_path / "m.csv", "--json")
    assert (done.code, done.json["status"]) == (3, "partial")
    assert "a.vtt is not what its suffix says" in done.json["warnings"][0]
    assert (tmp_path / "m.csv").read_text().splitlines()[1] == "a,a.wav,,,,a,0,,,"
    assert imer("data", "manifest", tmp_path / "a.wav", "-o", tmp_path / "m.csv").code == 6


def test_a_transcript_that_cannot_be_read_is_a_failure(imer: Imer, trained: Trained, tmp_path: Path) -> None:
    clip = tmp_path / "c1.mp4"
    clip.write_bytes((trained.folder / "clips/c1.mp4").read_bytes())
    (tmp_path / "c1.txt").write_bytes("gr\xfc\xdfe".encode("latin-1"))
    done = imer("predict", trained.folder / "run", clip, "-o", tmp_path / "p.jsonl", "--workers", 1, "--json")
    assert done.code == 3
    (error,) = done.json["errors"]
    assert (error["utterance_id"], error["modality"], error["code"]) == ("c1", "text", "E-TEXT")
    assert "c1.txt is not UTF-8 text" in error["message"]
    assert (error["output"], done.json["counts"]["answered"]) == ("p.jsonl", 1)
    assert "without words" not in done.err
    nowhere = imer("predict", trained.folder / "run", clip, "--workers", 1, "--json")
    assert (nowhere.code, nowhere.json["errors"]) == (3, [{**error, "output": None}])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["{bundle}", "{clips}/c0.mp4", "--text", "words", "--window", "2"],
            2,
            "--text gives the words of a whole clip, which --window cuts",
        ),
        (
            ["{bundle}", "{clips}/c0.mp4", "{clips}/c1.mp4", "--text", "words"],
            2,
            "words of a single clip, but there are 2",
        ),
        (["{bundle}", "{clips}/none.mp4"], 4, "none.mp4 does not exist"),
        (["{bundle}/none", "{clips}/c0.mp4"], 4, "There is no model at"),
        (["{bundle}", "{clips}/c0.mp4", "-o", "errors.jsonl"], 2, "is where failures are listed"),
        (["{bundle}", "{store}", "-o", "{store}"], 6, "exists already"),
        (["{bundle}", "{store}", "--mask", "none.h5"], 4, "none.h5 does not exist"),
        (["{foreign}", "{store}", "--fold", "3"], 2, "a single model, without folds"),
        (["{bundle}", "{manifest}", "--speaker", "anna"], 2, "--speaker says who speaks in named clips"),
        (["{tampered}", "{store}"], 4, "model.safetensors was changed or damaged"),
        (["{foreign}", "{clips}/c0.mp4"], 4, "cannot read raw clips"),
        (["{foreign}", "{store}"], 4, "are not those that the model was trained on"),
    ],
)
def test_exit_codes(
    trained: Trained, foreign: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    tampered = Path(shutil.copytree(trained.bundle, tmp_path / "tampered"))
    weights = bytearray((tampered / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tampered / "model.safetensors").write_bytes(weights)
    places = {
        "bundle": trained.bundle, "clips": trained.folder / "clips", "store": trained.store, "tampered": tampered,
        "foreign": foreign, "manifest": trained.manifest,
    }  # fmt: skip
    done = CliRunner().invoke(app, ["predict", *(a.format(**places) for a in arguments), "--json"])
    assert done.exit_code == code
    assert message in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on features that no extractor makes."""
    return train_small(tmp_path_factory.mktemp("foreign"), label="emotion")[0]


def test_a_listing_with_labels_is_ready_for_training(imer: Imer, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "labels.csv").write_text("filename,emotion,speaker\na.wav,joy,ann\nb,anger,bob\nz.wav,joy,ann\n")
    listing = ("data", "manifest", ".", "-o", "m.csv", "--labels", "labels.csv")
    done = imer(*listing, "--json", cwd=tmp_path)
    assert (done.code, done.json["counts"]) == (0, {"clips": 3, "utterances": 3, "with_words": 0, "with_labels": 2})
    assert "1 row of labels.csv names no clip that was given (z.wav)" in done.json["warnings"][0]
    with open(tmp_path / "m.csv", newline="") as file:
        rows = [(row["utterance_id"], row["emotion"], row["speaker"]) for row in csv.DictReader(file)]
    assert rows == [("a", "joy", "ann"), ("b", "anger", "bob"), ("c", "", "")]
    (tmp_path / "labels.csv").write_text("filename,emotion\na.wav,joy\na.wav,anger\n")
    assert imer(*listing, "--overwrite", cwd=tmp_path).code == 3
    assert (
        imer("data", "manifest", ".", "-o", "labels.csv", "--labels", "labels.csv", "--overwrite", cwd=tmp_path).code
        == 2
    )
