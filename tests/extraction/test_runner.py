"""`extract`: the same store whatever happens on the way.

Where many runs are needed, tasks are done in this process by the same function that the workers call; a run that is to
be killed is a fork of it, and is killed by SIGKILL at the n-th step that changes the disk.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imer.core.files
from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.core.json_lines import read_json_lines
from imer.core.types import Verdict
from imer.extraction import job, staging
from imer.extraction.job import ExtractSettings
from imer.extraction.runner import extract
from imer.extraction.summary import ExtractSummary, Stopped
from imer.store.reader import FeatureStore
from tests.clips import face, voice, write_clip, write_manifest
from tests.extraction.inline import Inline


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight utterances in five sound files; one is silent, one has no file."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(4):
        sound = voice(0.4, 100 + 20 * i) * (0 if i == 2 else 1)
        write_clip(folder / f"{i}.wav", picture=None, sound=sound, audio_codec="pcm_s16le")
    write_clip(folder / "talk.flac", picture=None, sound=voice(2.0), audio_codec="flac")
    rows: list[dict[str, object]] = [{"utterance_id": f"u{i}", "audio": f"{i}.wav", "emotion": "joy"} for i in range(4)]
    rows += [{"utterance_id": f"t{i}", "audio": "talk.flac", "start": i * 0.5, "end": i * 0.5 + 0.5} for i in range(3)]
    rows.append({"utterance_id": "nothing"})
    return write_manifest(folder / "manifest.csv", rows)


def run(corpus: Path, out: Path, **settings: Any) -> ExtractSummary:
    return extract(corpus, out, text="none", visual="none", settings=ExtractSettings(workers="1", **settings))


def test_verdicts_values_and_order(corpus: Path, tmp_path: Path, inline: None) -> None:
    summary = run(corpus, tmp_path / "f.h5")
    assert summary.verdicts == {"audio": {"ok": 6, "silent": 1, "no_stream": 1}}
    assert summary.failed == 0
    assert summary.errors_file is None
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert list(store.utterance_ids) == ["u0", "u1", "u2", "u3", "t0", "t1", "t2", "nothing"]
        values, present = store.vectors("audio")
        assert present.tolist() == [True, True, False, True, True, True, True, False]
        assert store.quality["audio"][2] == Verdict.silent
        assert not np.array_equal(values[4], values[5])
        assert store.provenance["extractors"] == {"audio": "opensmile/egemaps"}
        assert "research" in store.provenance["licences"]["audio"]
    assert not (tmp_path / "f.h5.staging").exists()
    assert not (tmp_path / "f.h5.lock").exists()


def test_neither_order_nor_shard_size_changes_the_store(
    corpus: Path, tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = run(corpus, tmp_path / "a.h5").content_sha256
    monkeypatch.setattr(Inline, "backwards", True)
    monkeypatch.setattr(staging, "SHARD_CELLS", 1)
    assert run(corpus, tmp_path / "b.h5").content_sha256 == digest


def in_a_fork_killed_at(step: int, corpus: Path, out: Path) -> bool:
    """Run in a fork that kills itself at the n-th step that changes the disk; say whether it got to that step."""
    child = os.fork()
    if child == 0:
        left = [step]

        def kill(name: str) -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        imer.core.files.fault_point = kill
        staging.fault_point = kill
        try:
            run(corpus, out, overwrite=True)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_killed_at_every_step_it_continues_to_the_same_store(corpus: Path, tmp_path: Path, inline: None) -> None:
    digest = run(corpus, tmp_path / "whole.h5").content_sha256
    step = 0
    while True:
        step += 1
        out = tmp_path / f"{step}.h5"
        if not in_a_fork_killed_at(step, corpus, out):
            break
        if out.exists():
            with FeatureStore.open(out) as store:
                assert store.content_sha256 == digest, f"a killed run published something else at step {step}"
        promised = out.with_name(out.name + ".staging") / staging.JOURNAL
        acknowledged = (
            sum(json.loads(line)["cells"] for line in promised.read_text().splitlines()) if promised.exists() else 0
        )
        summary = run(corpus, out, overwrite=True)
        assert summary.content_sha256 == digest
        assert summary.reused >= acknowledged, f"work that was acknowledged was lost at step {step}"
        assert not out.with_name(out.name + ".staging").exists()
    assert step > 12


def test_a_failing_disk_is_a_clear_end_and_the_next_run_continues(corpus: Path, tmp_path: Path, inline: None,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    digest = run(corpus, tmp_path / "whole.h5").content_sha256
    step = 0
    finished = False
    while not finished:
        step += 1
        out = tmp_path / f"{step}.h5"
        left = [step]

        def full(name: str, left: list[int] = left, out: Path = out) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(28, "No space left on device", str(out))

        with monkeypatch.context() as patch:
            patch.setattr(imer.core.files, "fault_point", full)
            patch.setattr(staging, "fault_point", full)
            with suppress(OSError):  # anything else would fail the test
                run(corpus, out, overwrite=True)
                finished = left[0] > 0
        assert run(corpus, out, overwrite=True).content_sha256 == digest
    assert step > 12


def _interrupted_before_packing(corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do all the work of an extraction, but for the store."""

    def refuse(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "pack", refuse)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, out)


def test_only_what_changed_is_done_again(corpus: Path, tmp_path: Path, inline: None,
                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    out = tmp_path / "f.h5"

    _interrupted_before_packing(corpus, out, monkeypatch)
    sound = corpus.parent / "3.wav"
    before = sound.stat()
    write_clip(sound, picture=None, sound=voice(0.4, 300), audio_codec="pcm_s16le")
    os.utime(sound, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    plan = extract(corpus, out, text="none", visual="none", plan_only=True)
    assert (plan.cells, plan.reused, plan.tasks) == (8, 7, 1)
    assert not out.exists()
    other = extract(corpus, out, audio="opensmile/compare", text="none", visual="none", plan_only=True)
    assert other.reused == 0, "another extractor's values are not taken for this one's"
    assert run(corpus, out).reused == 7


def test_failures_are_listed_and_tried_again(tmp_path: Path, inline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "good.wav", picture=None, sound=voice(0.4), audio_codec="pcm_s16le")
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    rows: list[dict[str, object]] = [
        {"utterance_id": "good", "audio": "good.wav"},
        {"utterance_id": "bad", "audio": "bad.wav"},
        {"utterance_id": "late", "audio": "late.wav"},
        {"utterance_id": "good", "audio": "good.wav"},
        {"utterance_id": "x", "audio": "../secret.wav"},
    ]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    out = tmp_path / "f.h5"
    with pytest.raises(Stopped, match="--max-failures 0") as stopped:
        run(manifest, out, max_failures="0")
    assert (stopped.value.summary.failed, stopped.value.summary.errors_file) == (1, tmp_path / "errors.jsonl")
    listed = read_json_lines(tmp_path / "errors.jsonl")
    assert [line["code"] for line in listed][:2] == ["E-ROW", "E-ROW"]
    assert {line["utterance_id"] for line in listed[2:]} & {"bad", "late"}, "what was too much is said"
    assert not out.exists()
    assert out.with_name("f.h5.staging").is_dir()
    summary = run(manifest, out)
    assert summary.failed == 2
    lines = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert [(line["utterance_id"], line["modality"], line["code"]) for line in lines] == [
        ("good", None, "E-ROW"), ("x", None, "E-ROW"), ("bad", "audio", "E-OPEN"), ("late", "audio", "E-NOFILE"),
    ]  # fmt: skip
    assert set(lines[0]) == {
        "utterance_id", "modality", "stage", "code", "message", "file", "elapsed_s", "retryable", "output",
    }  # fmt: skip
    assert "line 5" in lines[0]["message"]
    write_clip(tmp_path / "late.wav", picture=None, sound=voice(0.4), audio_codec="pcm_s16le")
    assert run(manifest, out, overwrite=True).failed == 1
    write_clip(tmp_path / "bad.wav", picture=None, sound=voice(0.4), audio_codec="pcm_s16le")
    write_manifest(tmp_path / "m.csv", rows[:3])
    assert run(manifest, out, overwrite=True).errors_file is None
    assert not (tmp_path / "errors.jsonl").exists()


def test_a_shard_without_utterances_is_no_failure(corpus: Path, tmp_path: Path, inline: None) -> None:
    """An array of jobs may have more tasks than there are clips."""
    said: list[str] = []
    seen = 0
    for index in range(1, 13):
        out = tmp_path / f"{index}.h5"
        settings = ExtractSettings(workers="1", shard=f"{index}/12")
        summary = extract(corpus, out, text="none", visual="none", settings=settings, notice=said.append)
        assert out.exists() == (summary.n_utterances > 0)
        seen += summary.n_utterances
    assert seen == 8
    assert any("holds none of the 8 utterances" in text for text in said)


def test_limit_and_a_modality_that_nobody_has(corpus: Path, tmp_path: Path, inline: None) -> None:
    summary = extract(corpus, tmp_path / "f.h5", text="none", settings=ExtractSettings(limit=2, workers="1"))
    assert summary.verdicts == {"audio": {"ok": 2}, "visual": {"no_stream": 2}}
    with FeatureStore.open(tmp_path / "f.h5") as store:
        assert store.modalities == ("audio", "visual")
        assert store.present_NM().tolist() == [[True, False]] * 2


def test_what_was_not_asked_for_this_time_is_kept(corpus: Path, tmp_path: Path, inline: None,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    out = tmp_path / "f.h5"
    digest = run(corpus, tmp_path / "whole.h5").content_sha256

    _interrupted_before_packing(corpus, out, monkeypatch)
    said: list[str] = []
    settings = ExtractSettings(workers="1", limit=2)
    assert extract(corpus, out, text="none", visual="none", settings=settings, notice=said.append).n_utterances == 2
    assert any("keeps 6 items that are done, but were not asked for this time" in sentence for sentence in said)
    summary = run(corpus, out, overwrite=True)
    assert (summary.reused, summary.content_sha256) == (8, digest)
    assert not out.with_name("f.h5.staging").exists()


def test_broken_rows_are_listed_once_and_where_they_belong(tmp_path: Path, inline: None) -> None:
    write_clip(tmp_path / "a.wav", picture=None, sound=voice(0.4), audio_codec="pcm_s16le")
    rows: list[dict[str, object]] = [{"utterance_id": f"u{i}", "audio": "a.wav"} for i in range(4)]
    manifest = write_manifest(tmp_path / "m.csv", [*rows, {"utterance_id": "u0", "audio": "a.wav"}])
    assert run(manifest, tmp_path / "few.h5", limit=2).errors_file is None
    assert run(manifest, tmp_path / "all.h5").errors_file == tmp_path / "errors.jsonl"
    listed = [run(manifest, tmp_path / f"{i}.h5", shard=f"{i}/3").errors_file for i in (1, 2, 3)]
    assert listed == [tmp_path / "1.errors.jsonl", None, None]


def test_a_list_that_somebody_else_wrote_is_kept_beside(tmp_path: Path, inline: None) -> None:
    (tmp_path / "errors.jsonl").write_text("my own notes\nof years\n")
    manifest = write_manifest(tmp_path / "m.csv", [{"utterance_id": "u", "audio": "nowhere.wav"}])
    for _ in range(2):
        assert run(manifest, tmp_path / "f.h5", overwrite=True).failed == 1
    assert (tmp_path / "errors.jsonl.1").read_text() == "my own notes\nof years\n"
    assert not (tmp_path / "errors.jsonl.2").exists()


def test_wrong_requests(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    with pytest.raises(UsageError, match="no audio extractor 'opensmile/egemap'"):
        extract(corpus, out, audio="opensmile/egemap")
    with pytest.raises(UsageError, match="no audio extractor 'minilm'"):
        extract(corpus, out, audio="minilm")
    with pytest.raises(UsageError, match="switched off"):
        extract(corpus, out, audio="none", text="none", visual="none")
    with pytest.raises(UsageError, match="--limit"):
        run(corpus, out, limit=0)
    with pytest.raises(UsageError, match="--max-failures"):
        run(corpus, out, max_failures="few")
    with pytest.raises(UsageError, match="device"):
        extract(corpus, out, device="gpu")
    with pytest.raises(InvalidInput, match="does not exist"):
        extract(tmp_path / "none.csv", out)
    with pytest.raises(OutputExists, match="is a folder"):
        extract(corpus, tmp_path, settings=ExtractSettings(overwrite=True))
    out.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="--overwrite"):
        run(corpus, out)
    assert out.read_bytes() == b"mine"
    assert not list(tmp_path.glob("*.staging"))


def test_times_of_frame_level_faces_count_from_the_start_of_the_utterance(tmp_path: Path, inline: None) -> None:
    write_clip(tmp_path / "talk.mp4", picture=face, seconds=2.0)
    rows: list[dict[str, object]] = [{"utterance_id": "u", "visual": "talk.mp4", "start": 1.0, "end": 2.0}]
    manifest, out = write_manifest(tmp_path / "m.csv", rows), tmp_path / "f.h5"
    extract(manifest, out, audio="none", text="none", level="frame", settings=ExtractSettings(workers="1"))
    with FeatureStore.open(out) as store:
        (spec,) = store.specs["visual"].values()
        values, _, present = store.ragged("visual")
    assert present.all()
    time_s = values[:, spec.dim_names.index("time_s")]
    assert np.allclose(time_s, np.arange(5) / 5, atol=0.05)


def test_the_parties_of_a_call_are_told_apart_by_their_channel(tmp_path: Path, inline: None) -> None:
    agent, customer = voice(1.0, 110), voice(1.0, 190)
    for name, sound in (("agent", agent), ("customer", customer), ("call", np.stack([agent, customer]))):
        write_clip(tmp_path / f"{name}.wav", picture=None, sound=sound, audio_codec="pcm_f32le")
    rows: list[dict[str, object]] = [
        {"utterance_id": "one", "audio": "agent.wav"}, {"utterance_id": "left", "audio": "call.wav", "audio_channel": "left"},
        {"utterance_id": "two", "audio": "customer.wav"}, {"utterance_id": "right", "audio": "call.wav", "audio_channel": 2},
        {"utterance_id": "both", "audio": "call.wav"}, {"utterance_id": "none", "audio": "call.wav", "audio_channel": 3},
    ]  # fmt: skip
    found = run(write_manifest(tmp_path / "m.csv", rows), tmp_path / "f.h5")
    assert found.errors_file is not None
    assert [line["code"] for line in read_json_lines(found.errors_file)] == ["E-CHANNEL"]
    with FeatureStore.open(tmp_path / "f.h5") as store:
        values, present = store.vectors("audio")
        assert present.tolist() == [True] * 5 + [False]
        assert np.array_equal(values[0], values[1])
        assert np.array_equal(values[2], values[3])
        assert len({row.tobytes() for row in values[:5]}) == 3
        assert len(set(store.sources["audio"].tolist())) == 6


@pytest.mark.parametrize(("model", "n_said"), [("minilm", 1), ("none", 0)])
def test_texts_that_the_default_model_does_not_know_are_said(
    tmp_path: Path, model: str, n_said: int, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("utterance_id,text,audio\nu1,我很高兴,a.wav\nu2,so glad,b.wav\n", encoding="utf-8")
    extract(manifest, tmp_path / "f.h5", text=model, visual="none", plan_only=True)
    assert [line.partition(",")[0] for line in caplog.messages] == [
        "1 of 2 utterances have a text in another script than Latin"
    ] * n_said
