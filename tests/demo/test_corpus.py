"""The corpus as files: what the manifest names is there, plays, and is the same again for the same seed."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from imer.core.errors import OutputExists
from imer.core.files import sha256_file
from imer.core.folders import verify_folder
from imer.demo.corpus import DemoCorpus, make_demo
from imer.media.manifest import read_manifest


def test_manifest_is_read_without_a_problem(small_demo: DemoCorpus) -> None:
    manifest = read_manifest(small_demo.folder / "manifest.csv")
    assert not manifest.problems
    assert [u.utterance_id for u in manifest.utterances] == [line.utterance_id for line in small_demo.lines]
    for utterance, line in zip(manifest.utterances, small_demo.lines, strict=True):
        assert utterance.visual is not None
        assert utterance.visual.is_file()
        assert (utterance.text or "") == line.transcript
        assert utterance.labels["emotion"] == line.emotion
        assert float(utterance.labels["sentiment"]) == line.sentiment


def _decoded(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == "aac"
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return pictures, sound


def test_clips_play(small_demo: DemoCorpus) -> None:
    total_s = 0.0
    for line in (*small_demo.lines, *small_demo.unseen):
        folder = "clips" if line.split else "unseen"
        pictures, sound = _decoded(small_demo.folder / folder / f"{line.utterance_id}.mp4")
        assert pictures[0].shape == (240, 320, 3)
        assert abs(len(pictures) / 25 - len(sound) / 22050) < 0.15
        assert (np.abs(sound).max() < 1e-4) == ("audio" in line.absent)
        total_s += len(pictures) / 25
    assert total_s == pytest.approx(small_demo.duration_s)


def test_cues_are_kept_beside_the_manifest(small_demo: DemoCorpus) -> None:
    with open(small_demo.folder / "cues.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, line in zip(rows, small_demo.lines, strict=True):
        for modality, cue in line.cues.items():
            assert row[modality] == ("absent" if modality in line.absent else cue)


def test_says_that_it_is_synthetic_and_is_whole(small_demo: DemoCorpus) -> None:
    assert "synthetic" in (small_demo.folder / "README.txt").read_text()
    assert len(verify_folder(small_demo.folder)) == 2 * len(small_demo.unseen) + len(small_demo.lines) + 3
    for line in small_demo.unseen:
        assert (small_demo.folder / "unseen" / f"{line.utterance_id}.txt").read_text().strip() == line.words


def test_same_seed_same_bytes(small_demo: DemoCorpus, tmp_path: Path) -> None:
    again = make_demo(tmp_path / "again", n_utterances=len(small_demo.lines), seed=3, workers=1)
    for file in sorted(small_demo.folder.rglob("*")):
        if file.is_file():
            assert sha256_file(file) == sha256_file(again.folder / file.relative_to(small_demo.folder)), file.name


def test_does_not_replace_unasked(small_demo: DemoCorpus) -> None:
    before = sha256_file(small_demo.folder / "manifest.csv")
    with pytest.raises(OutputExists, match="--overwrite"):
        make_demo(small_demo.folder, n_utterances=12)
    assert sha256_file(small_demo.folder / "manifest.csv") == before


def test_never_deletes_what_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(OutputExists, match="was not made by `imer demo`"):
        make_demo(tmp_path, n_utterances=12, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_command(imer: Callable[..., Any], tmp_path: Path) -> None:
    done = imer("demo", tmp_path / "corpus", "--utterances", 12, "--seed", 1, "--json")
    assert done.code == 0, done.err
    assert done.json["counts"] == {"utterances": 12, "unseen": 4}
    assert done.json["synthetic"] is True
    assert sum(done.json["emotions"].values()) == 12
    assert sum(done.json["splits"].values()) == 12
    assert "clips 16/16" in done.err
    again = imer("demo", tmp_path / "corpus", "--utterances", 12)
    assert again.code == 6
    assert "--overwrite" in again.err
    shutil.rmtree(tmp_path / "corpus")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--utterances", "3"), "at least 12"), (("--workers", "none"), "--workers takes a number of processes or auto")],
)
def test_command_refuses(imer: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = imer("demo", tmp_path / "corpus", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "corpus").exists()
