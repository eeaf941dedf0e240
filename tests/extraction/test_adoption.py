"""`--add`: only what is new is computed, only what is the same is taken over, and the old file stays as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.core.files import sha256_file
from imer.extraction.job import ExtractSettings
from imer.extraction.runner import extract
from imer.extraction.summary import ExtractSummary
from imer.store.reader import FeatureStore
from tests.clips import voice, write_clip, write_manifest
from tests.stores import write_small_store

pytestmark = pytest.mark.usefixtures("inline")
Rows = list[dict[str, object]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    for i in range(5):
        sound = voice(0.3, 100 + 20 * i) * (0 if i == 2 else 1)
        write_clip(tmp_path / f"{i}.wav", picture=None, sound=sound, audio_codec="pcm_s16le")
    rows: Rows = [{"utterance_id": f"u{i}", "audio": f"{i}.wav", "text": f"text {i}"} for i in range(5)]
    return [*rows, {"utterance_id": "gone", "audio": "gone.wav", "text": ""}]


def run(manifest: Path, out: Path, **given: Any) -> ExtractSummary:
    settings = {name: given.pop(name) for name in ("add", "overwrite") if name in given}
    asked = {"visual": "none"} | given
    return extract(manifest, out, settings=ExtractSettings(workers="1", **settings), **asked)


def test_a_file_that_was_changed_in_its_middle_is_read_again(tmp_path: Path, rows: Rows) -> None:
    sound = voice(10.0, 140)
    write_clip(tmp_path / "0.wav", picture=None, sound=sound, audio_codec="pcm_s16le")
    manifest = write_manifest(tmp_path / "m.csv", rows[:2])
    run(manifest, tmp_path / "old.h5", text="none")
    sound[80_000:80_400] = 0.0
    write_clip(tmp_path / "0.wav", picture=None, sound=sound, audio_codec="pcm_s16le")
    assert run(manifest, tmp_path / "new.h5", add=tmp_path / "old.h5").reused == 1


def test_a_file_that_was_replaced_after_it_was_read_is_read_again(tmp_path: Path, rows: Rows) -> None:
    """Its values are of what it was; what it is now must not be said to have made them."""
    manifest = write_manifest(tmp_path / "m.csv", rows[:2])

    def replace_it(stage: str, done: int, total: int) -> None:
        if done:
            write_clip(tmp_path / "0.wav", picture=None, sound=voice(0.3, 300), audio_codec="pcm_s16le")

    run(manifest, tmp_path / "old.h5", text="none", progress=replace_it)
    summary = run(manifest, tmp_path / "new.h5", add=tmp_path / "old.h5")
    assert summary.reused == 1
    assert summary.content_sha256 == run(manifest, tmp_path / "all.h5", text="none").content_sha256


def test_more_utterances(tmp_path: Path, rows: Rows) -> None:
    old, new = tmp_path / "old.h5", tmp_path / "new.h5"
    run(write_manifest(tmp_path / "m.csv", [rows[3], rows[2], rows[5]]), old, text="none")
    before = sha256_file(old)
    grown = write_manifest(tmp_path / "grown.csv", [{**row, "emotion": "joy"} for row in rows])
    plan = extract(grown, new, visual="none", settings=ExtractSettings(add=old), plan_only=True)
    assert (plan.cells, plan.reused, plan.tasks) == (6, 2, 4), "the missing file is tried again; text is not asked for"
    summary = run(grown, new, add=old)
    assert summary.extractors == {"audio": "opensmile/egemaps"}, "as in the store that is added to"
    assert summary.reused == 2
    assert summary.content_sha256 == run(grown, tmp_path / "all.h5", text="none").content_sha256
    assert sha256_file(old) == before


def test_another_modality_into_the_same_file(tmp_path: Path, rows: Rows) -> None:
    manifest = write_manifest(tmp_path / "m.csv", rows)
    out = tmp_path / "f.h5"
    run(manifest, out, audio="none")
    summary = run(manifest, out, audio="librosa/prosody", add=out)
    assert summary.extractors == {"audio": "librosa/prosody", "text": "minilm"}
    assert summary.reused == 5
    both = run(manifest, tmp_path / "both.h5", audio="librosa/prosody")
    assert summary.content_sha256 == both.content_sha256
    with FeatureStore.open(out) as store:
        assert store.modalities == ("audio", "text")


def test_what_has_changed_is_not_taken_over(tmp_path: Path, rows: Rows) -> None:
    manifest = write_manifest(tmp_path / "m.csv", rows)
    old = tmp_path / "old.h5"
    run(manifest, old)
    sound, times = tmp_path / "1.wav", (tmp_path / "1.wav").stat()
    content = bytearray(sound.read_bytes())
    content[-7] ^= 16
    sound.write_bytes(content)
    os.utime(sound, ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "3.wav").rename(tmp_path / "renamed.wav")
    changed = [dict(row) for row in rows]
    changed[0]["text"] = "another text"
    changed[3]["audio"] = "renamed.wav"
    changed[4] |= {"start": 0.1, "end": 0.3}
    plan = extract(
        write_manifest(manifest, changed), tmp_path / "n.h5", settings=ExtractSettings(add=old), plan_only=True
    )
    # Audio: 0, 2 and 3 (of another name, but the same) are taken over, not 1 and 4; text: all five but the first.
    assert plan.reused == 3 + 4


def test_what_cannot_be_added_to(tmp_path: Path, rows: Rows) -> None:
    manifest = write_manifest(tmp_path / "m.csv", rows)
    old, out = tmp_path / "old.h5", tmp_path / "out.h5"
    run(manifest, old, text="none")
    with pytest.raises(UsageError, match="here level 'frame' instead of 'utterance'"):
        run(manifest, out, add=old, level="frame")
    with pytest.raises(OutputExists, match="--overwrite"):
        run(manifest, old)
    out.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="--overwrite"):
        run(manifest, out, add=old)
    out.unlink()
    imported = write_small_store(tmp_path / "imported.h5", modalities=("audio",))
    with pytest.raises(UsageError, match="no audio extractor 'test/audio'"):
        run(manifest, out, add=imported)
    with pytest.raises(InvalidInput, match="does not say what its features were made from"):
        run(manifest, out, add=imported, audio="opensmile/egemaps")
    with pytest.raises(InvalidInput, match="does not exist"):
        run(manifest, out, add=tmp_path / "none.h5")
    old.write_bytes(old.read_bytes()[:-50])
    with pytest.raises(InvalidInput, match="damaged"):
        run(manifest, out, add=old)
    assert not out.exists()
    assert not out.with_name("out.h5.staging").exists()
