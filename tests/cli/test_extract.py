"""`imer extract` as a user runs it: real clips, real workers, every verdict, every way to end."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from imer.cli.app import app
from imer.cli.extract import extract_command
from imer.extractors.facenet import FaceNet
from imer.extractors.geometry_hog import GeometryHog
from imer.extractors.opensmile import EGeMAPS
from imer.store.reader import FeatureStore
from tests.clips import face, grey, still, voice, write_clip, write_manifest
from tests.conftest import Finished

Imer = Callable[..., Finished]

# clip → the expected verdicts of (audio, text, visual); what fails is in errors.jsonl with the code.
EXPECTED: dict[str, tuple[str, str, str]] = {
    "talk.mp4": ("ok", "ok", "ok"),
    "talk2.mp4": ("ok", "ok", "ok"),
    "voice.flac": ("ok", "ok", "no_stream"),
    "voice.mp3": ("ok", "empty_text", "no_stream"),
    "8k_stereo.wav": ("ok", "ok", "no_stream"),
    "film.mp4": ("no_stream", "ok", "ok"),
    "quiet.mp4": ("silent", "ok", "ok"),
    "click.wav": ("too_short", "ok", "no_stream"),
    "nan.wav": ("non_finite", "ok", "no_stream"),
    "wall.mp4": ("ok", "ok", "no_face"),
    "grey.mkv": ("no_stream", "ok", "ok"),
    "dot.mkv": ("no_stream", "ok", "no_face"),
    "cut.mkv": ("decode_error", "ok", "decode_error"),
    "empty.mp4": ("decode_error", "ok", "decode_error"),
    "noise.mp4": ("decode_error", "ok", "decode_error"),
    "list.m3u8": ("decode_error", "ok", "decode_error"),
    "missing.mp4": ("decode_error", "ok", "decode_error"),
    "folder": ("decode_error", "ok", "decode_error"),
    "": ("no_stream", "ok", "no_stream"),
}
CODES = {
    "nan.wav": "E-NONFINITE", "cut.mkv": "E-TRUNCATED", "empty.mp4": "E-OPEN", "noise.mp4": "E-OPEN",
    "list.m3u8": "E-OPEN", "missing.mp4": "E-NOFILE", "folder": "E-NOFILE",
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    sound = voice(1.0)
    with_nan = sound.copy()
    with_nan[500] = np.nan
    write_clip(folder / "talk.mp4", sound=sound)
    write_clip(folder / "talk2.mp4", sound=voice(1.0, 200), picture=lambda i: face(i + 9))
    write_clip(folder / "voice.flac", picture=None, sound=sound, audio_codec="flac")
    write_clip(folder / "voice.mp3", picture=None, sound=sound, audio_codec="mp3")
    write_clip(folder / "8k_stereo.wav", picture=None, sound=np.stack([voice(1.0, rate=8000)] * 2), rate=8000,
               audio_codec="pcm_u8")  # fmt: skip
    write_clip(folder / "film.mp4")
    write_clip(folder / "quiet.mp4", sound=sound * 0)
    write_clip(folder / "click.wav", picture=None, sound=sound[:400], audio_codec="pcm_s16le")
    write_clip(folder / "nan.wav", picture=None, sound=with_nan, audio_codec="pcm_f32le")
    write_clip(folder / "wall.mp4", picture=grey, sound=sound)
    write_clip(folder / "grey.mkv", video_codec="ffv1", pixels="gray")
    write_clip(folder / "dot.mkv", picture=still(np.zeros((1, 1, 3), np.uint8)), video_codec="ffv1", pixels="bgr0")
    whole = write_clip(folder / "cut.mkv", seconds=2, sound=voice(2.0), audio_codec="flac").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)))
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\ntalk.mp4\n#EXT-X-ENDLIST\n")
    (folder / "folder").mkdir()
    rows: list[dict[str, object]] = [
        {"utterance_id": clip or "nothing", "media": clip, "text": "" if text == "empty_text" else f"This is {clip}."}
        for clip, (_, text, _) in EXPECTED.items()
    ]
    rows.append({"utterance_id": "outside", "media": "../outside.mp4", "text": "x"})
    write_manifest(folder / "manifest.csv", rows)
    return folder


@pytest.fixture(scope="module")
def extracted(corpus: Path, tmp_path_factory: pytest.TempPathFactory, imer: Imer) -> tuple[Finished, Path]:
    out = tmp_path_factory.mktemp("out") / "features.h5"
    return imer("extract", corpus / "manifest.csv", "-o", out, "--workers", "1", "--json"), out


def test_every_verdict(extracted: tuple[Finished, Path]) -> None:
    done, out = extracted
    assert done.code == 3, done.err
    with FeatureStore.open(out) as store:
        names = [name if name != "nothing" else "" for name in store.utterance_ids]
        found = {
            name: tuple(_name(store.quality[m][i]) for m in ("audio", "text", "visual")) for i, name in enumerate(names)
        }
        assert found == EXPECTED
        assert store.present_NM().sum() == sum(verdict == "ok" for row in EXPECTED.values() for verdict in row)
        for modality in store.modalities:
            values, present = store.vectors(modality)
            assert np.isfinite(values[present]).all()
            assert np.isnan(values[~present]).all()


def _name(value: int) -> str:
    from imer.core.types import Verdict

    return Verdict(int(value)).name


def test_failures_are_listed_and_absences_are_not(extracted: tuple[Finished, Path]) -> None:
    done, out = extracted
    lines = [json.loads(line) for line in (out.parent / "errors.jsonl").read_text().splitlines()]
    assert [line["code"] for line in lines if line["modality"] is None] == ["E-ROW"]
    by_clip = {line["utterance_id"]: line["code"] for line in lines if line["modality"] is not None}
    assert by_clip == CODES
    assert all(line["message"].count("\n") == 0 and line["message"].endswith(".") for line in lines)
    assert all(clip in line["message"] + line["file"] for line in lines if (clip := line["utterance_id"]) in CODES)
    assert "errors.jsonl" in done.err
    assert "Traceback" not in done.err


def test_the_json_document(extracted: tuple[Finished, Path]) -> None:
    done, out = extracted
    document = done.json
    assert document["schema"] == "imer.extract/1"
    assert document["status"] == "partial"
    assert document["counts"]["utterances"] == len(EXPECTED)
    assert document["counts"]["broken_rows"] == 1
    assert document["verdicts"]["audio"]["decode_error"] == 6
    assert [Path(output["path"]).name for output in document["outputs"]] == [out.name, "errors.jsonl"]


def test_good_files_are_the_same_without_the_bad_ones_and_with_two_workers(
    corpus: Path, extracted: tuple[Finished, Path], imer: Imer, tmp_path: Path
) -> None:
    good = ["talk.mp4", "talk2.mp4", "voice.flac", "film.mp4", "wall.mp4"]
    rows: list[dict[str, object]] = [{"utterance_id": clip, "media": clip, "text": f"This is {clip}."} for clip in good]
    write_manifest(corpus / "good.csv", rows[::-1])
    done = imer("extract", corpus / "good.csv", "-o", tmp_path / "good.h5", "--workers", "2")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split("\t") == ["modality", "extractor", "ok", "no_stream", "no_face"]
    with FeatureStore.open(extracted[1]) as all_of, FeatureStore.open(tmp_path / "good.h5") as only_good:
        for modality in only_good.modalities:
            values, _ = only_good.vectors(modality)
            others, _ = all_of.vectors(modality)
            for clip, row in zip(only_good.utterance_ids, values, strict=True):
                other = others[list(all_of.utterance_ids).index(clip)]
                assert row.tobytes() == other.tobytes(), f"{modality} of {clip} depends on other clips"


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voices")
    for i in range(4):
        write_clip(folder / f"{i}.wav", picture=None, sound=voice(20.0, 100 + i), audio_codec="pcm_s16le")
    rows: list[dict[str, object]] = [
        {"utterance_id": f"u{i}-{s}", "audio": f"{i}.wav", "start": s, "end": s + 1}
        for i in range(4)
        for s in range(20)
    ]
    return write_manifest(folder / "manifest.csv", rows)


ONLY_AUDIO = ("--text", "none", "--visual", "none")
# The command line with shards of two items, so that a run of a few seconds passes many commit points.
SMALL_SHARDS = (
    "import imer.extraction.staging as s; s.SHARD_CELLS = 2; from imer.__main__ import main; main()"
)  # fmt: skip


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SMALL_SHARDS, "extract", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_killed_or_interrupted_it_continues_to_the_same_store(voices: Path, tmp_path: Path, imer: Imer) -> None:
    whole = imer("extract", voices, "-o", tmp_path / "whole.h5", *ONLY_AUDIO, "--json", "--workers", "2")
    assert whole.code == 0, whole.err
    out = tmp_path / "killed.h5"
    staging = tmp_path / "killed.h5.staging"
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = len(list(staging.glob("s-*.npz")))
        process = started(voices, "-o", out, *ONLY_AUDIO, "--workers", "1")
        wait_for(lambda before=before: len(list(staging.glob("s-*.npz"))) > before)  # type: ignore[misc]
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert "Traceback" not in said
        assert not out.exists()
    lines = [json.loads(line) for line in (staging / "journal.jsonl").read_text().splitlines()]
    # A shard whose writing was interrupted just before its end is written, and journalled, once more.
    kept = sum({line["shard"]: line["cells"] for line in lines}.values())
    resumed = imer("extract", voices, "-o", out, *ONLY_AUDIO, "--json", "--workers", "1")
    assert resumed.code == 0, resumed.err
    assert "took over the lock" not in resumed.err  # Ctrl-C and SIGTERM give it back
    assert "are done already" in resumed.err
    assert resumed.json["counts"]["reused"] >= kept > 0
    assert resumed.json["content_sha256"] == whole.json["content_sha256"]
    assert not staging.exists()


def test_two_processes_on_one_output(voices: Path, tmp_path: Path, imer: Imer) -> None:
    out = tmp_path / "f.h5"
    process = started(voices, "-o", out, *ONLY_AUDIO, "--workers", "1")
    try:
        wait_for(lambda: (tmp_path / "f.h5.lock").exists() and (tmp_path / "f.h5.staging").exists())
        second = imer("extract", voices, "-o", out, *ONLY_AUDIO)
        assert second.code == 6
        assert "locked" in second.err
    finally:
        process.kill()
        process.communicate()
    plan = imer("extract", voices, "-o", out, *ONLY_AUDIO, "--dry-run", "--json")
    assert plan.code == 0, plan.err
    assert plan.json["counts"]["cells"] == 80
    os.remove(tmp_path / "f.h5.lock")


def test_of_rivals_that_start_together_one_works(voices: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    rivals = [started(voices, "-o", out, *ONLY_AUDIO, "--workers", "1", "--limit", "3") for _ in range(4)]
    told = [rival.communicate(timeout=120)[1] for rival in rivals]
    assert sorted(rival.returncode for rival in rivals) == [0, 6, 6, 6], told
    for rival, text in zip(rivals, told, strict=True):
        assert rival.returncode == 0 or "is locked by" in text or "just been made" in text or "exists already" in text
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


def test_a_plan_says_what_the_run_would_say(voices: Path, tmp_path: Path, imer: Imer) -> None:
    out = tmp_path / "f.h5"
    (tmp_path / "wrong.csv").write_text("utterance_id,media\na,gone.wav\nb,lost.wav\n")
    wrong = imer("extract", tmp_path / "wrong.csv", "-o", out, *ONLY_AUDIO, "--dry-run")
    assert wrong.code == 0
    assert "2 files that the manifest names do not exist: " in wrong.err
    out.write_bytes(b"mine")
    assert imer("extract", voices, "-o", out, *ONLY_AUDIO, "--dry-run").code == 6
    assert imer("extract", voices, "-o", out, *ONLY_AUDIO, "--dry-run", "--overwrite").code == 0
    assert out.read_bytes() == b"mine"


def test_the_defaults_of_the_command_are_those_of_the_extractors() -> None:
    asked = {p.name: p.default for p in inspect.signature(extract_command).parameters.values()}
    for extractor in (FaceNet, GeometryHog, EGeMAPS):
        for name, option in inspect.signature(extractor).parameters.items():
            if option.default is not None:
                assert asked[name] == option.default, name


def test_as_many_frames_are_looked_at_as_are_asked_for(corpus: Path, tmp_path: Path) -> None:
    write_manifest(corpus / "film.csv", [{"utterance_id": "film", "media": "film.mp4"}])
    wishes = ["--fps", "10", "--level", "frame", "--audio", "none", "--text", "none", "--workers", "1"]
    done = CliRunner().invoke(app, ["extract", str(corpus / "film.csv"), "-o", str(tmp_path / "f.h5"), *wishes])
    assert done.exit_code == 0, done.stderr
    with FeatureStore.open(tmp_path / "f.h5") as store:
        (spec,) = store.specs["visual"].values()
        assert (spec.config["frames_per_s"], spec.hop_s) == (10, 0.1)
        assert len(store.feature("visual").of(0)) == 10


def test_wrong_commands(voices: Path, corpus: Path, tmp_path: Path, imer: Imer) -> None:
    out = tmp_path / "f.h5"
    cases = [
        (("--visual", "facenet"), 5, "--face-weights"),
        (("--sentence-model", "somewhere"), 2, "add --text sentence-transformers"),
        (("--face-weights", "w.pt"), 2, "add --visual facenet"),
        (("--face-precision", "bfloat16"), 2, "add --visual facenet"),
        (("--visual", "none", "--fps", "10"), 2, "--fps is of no use to opensmile/egemaps, minilm"),
        (("--engine", "spark"), 2, "engine"),
        (("--fps", "0"), 2, "--fps"),
        (("--audio", "opensmile/egemap"), 2, "opensmile/egemaps"),
    ]
    for extra, code, said in cases:
        done = imer("extract", voices, "-o", out, *extra)
        assert done.code == code, done.err
        assert said in done.err
        assert "Traceback" not in done.err
        assert not out.exists()


@pytest.mark.real
def test_real_talking_faces(shared_data: Path, tmp_path: Path, imer: Imer) -> None:
    done = imer("extract", shared_data / "grid" / "manifest.csv", "-o", tmp_path / "g.h5", "--limit", "2", "--json")
    assert done.code == 0, done.err
    assert done.json["verdicts"] == {m: {"ok": 2} for m in ("audio", "text", "visual")}


@pytest.mark.real
def test_real_speech_without_video(shared_data: Path, tmp_path: Path, imer: Imer) -> None:
    done = imer(
        "extract", shared_data / "emodb" / "manifest.csv", "-o", tmp_path / "e.h5", "--limit", "3", "--json",
        "--audio", "librosa/prosody", "--text", "none",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["verdicts"] == {"audio": {"ok": 3}, "visual": {"no_stream": 3}}
