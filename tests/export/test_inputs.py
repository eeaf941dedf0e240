"""What `imer predict` can be pointed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.core.errors import UsageError
from imer.export.clips import write_clip_manifest
from imer.export.inputs import is_store, read_clips
from imer.media.clips import Cutting
from imer.media.manifest import read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.mp4", "f.h5"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "m.csv").write_text("utterance_id\nu\n")
    (tmp_path / "a.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nhello\n")
    return tmp_path


def test_a_manifest_gives_its_rows(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("utterance_id,media,text,dialogue_id\nu1,x.mp4,hello,d\nu2,y.mp4,,d\n,z.mp4,,d\n")
    clips = read_clips([manifest])
    assert [(u.utterance_id, u.dialogue_id, u.position) for u in clips.utterances] == [("u1", "d", 0), ("u2", "d", 1)]
    assert clips.problems == []  # broken rows are the extraction's to list


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["m.csv"], {"text": "words"}, "stand in the column text"),
        (["m.csv"], {"speaker": "anna"}, "stands in the column speaker"),
        (["m.csv"], {"cutting": Cutting(5.0)}, "has the columns start, end and audio_channel"),
        (["m.csv", "a.wav"], {}, "m.csv alone"),
        (["a.wav", "f.h5"], {}, "f.h5 alone"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder: Path, names: list[str], options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_clips([folder / name for name in names], **options)


def test_only_a_single_file_is_a_store(tmp_path: Path) -> None:
    assert is_store([tmp_path / "f.h5"])
    assert not is_store([tmp_path / "f.h5", tmp_path / "g.h5"])
    (tmp_path / "odd.h5").mkdir()
    assert not is_store([tmp_path / "odd.h5"])


def test_what_is_known_of_clips_reaches_their_extraction(folder: Path) -> None:
    clips = read_clips([folder / "a.wav", folder / "b.mp4"], speaker="anna")
    write_clip_manifest(clips.utterances, folder / "clips.jsonl")
    written = read_manifest(folder / "clips.jsonl", allow_outside=True).utterances
    assert [(u.utterance_id, u.speaker, u.start_s, u.end_s, u.text) for u in written] == [
        ("a_1", "anna", 0.5, 1.0, "hello"), ("b", "anna", None, None, None),
    ]  # fmt: skip
