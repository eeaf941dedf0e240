"""What `imer predict` can be pointed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.core.errors import InvalidInput, UsageError
from imer.export.clips import write_clip_manifest
from imer.export.inputs import is_store, read_clips
from imer.media.manifest import read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.wav", "deep/b.mp4", "notes.md", "a.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"words of a" if name == "a.txt" else b"media")
    return tmp_path


def test_one_clip_that_is_not_there_costs_itself(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"media")
    clips = read_clips([tmp_path / "a.wav", tmp_path / "gone.wav"])
    assert [u.utterance_id for u in clips.utterances] == ["a", "gone"]


def test_a_folder_gives_its_clips_in_order_with_unique_names(folder: Path) -> None:
    clips = read_clips([folder])
    names = [u.utterance_id for u in clips.utterances]
    assert len(names) == len(set(names)) == 3
    assert names[0].endswith("a.wav")
    assert all(u.dialogue_id == u.utterance_id and u.audio == u.visual for u in clips.utterances)


def test_unique_stems_are_the_names(folder: Path) -> None:
    clips = read_clips([folder / "a.wav", folder / "b.mp4", folder / "a.wav"])
    assert [u.utterance_id for u in clips.utterances] == ["a", "b"]


def test_words_come_from_the_flag_or_from_the_file_beside(folder: Path) -> None:
    beside = read_clips([folder / "a.wav"])
    assert beside.utterances[0].text == "words of a"
    assert beside.transcripts == 1
    given = read_clips([folder / "a.wav"], text="other words")
    assert given.utterances[0].text == "other words"
    assert given.transcripts == 0
    assert read_clips([folder / "b.mp4"]).utterances[0].text is None


def test_a_transcript_that_is_no_text_is_reported(folder: Path) -> None:
    (folder / "b.txt").write_bytes(b"\xff\xfe\xff")
    clips = read_clips([folder / "b.mp4"])
    assert clips.utterances[0].text is None
    assert "b.txt cannot be read" in clips.problems[0].message


def test_a_manifest_gives_its_rows(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("utterance_id,media,text,dialogue_id\nu1,x.mp4,hello,d\nu2,y.mp4,,d\n,z.mp4,,d\n")
    clips = read_clips([manifest])
    assert [(u.utterance_id, u.dialogue_id, u.position) for u in clips.utterances] == [("u1", "d", 0), ("u2", "d", 1)]
    assert [p.line for p in clips.problems] == [4]


@pytest.mark.parametrize(
    ("names", "text", "error", "message"),
    [
        (["none.mp4"], None, InvalidInput, "none.mp4 does not exist"),
        (["empty"], None, InvalidInput, "holds no clip"),
        (["a.wav", "b.mp4"], "words", UsageError, "--text gives the words of a single clip, but there are 2"),
        (["m.csv"], "words", UsageError, "stand in the column text"),
        (["m.csv", "a.wav"], None, UsageError, "m.csv alone"),
        (["a.wav", "f.h5"], None, UsageError, "f.h5 alone"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path, names: list[str], text: str | None, error: type[Exception], message: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "m.csv").write_text("utterance_id\nu\n")
    (folder / "f.h5").write_bytes(b"")
    with pytest.raises(error, match=message):
        read_clips([folder / name for name in names], text=text)


def test_only_a_single_file_is_a_store(tmp_path: Path) -> None:
    assert is_store([tmp_path / "f.h5"])
    assert not is_store([tmp_path / "f.h5", tmp_path / "g.h5"])
    (tmp_path / "odd.h5").mkdir()
    assert not is_store([tmp_path / "odd.h5"])


def test_who_speaks_in_the_clips_may_be_said(folder: Path, tmp_path: Path) -> None:
    clips = read_clips([folder], speaker="anna")
    assert {utterance.speaker for utterance in clips.utterances} == {"anna"}
    write_clip_manifest(clips.utterances, tmp_path / "clips.jsonl")
    written = read_manifest(tmp_path / "clips.jsonl", allow_outside=True)
    assert [u.speaker for u in written.utterances] == ["anna"] * len(clips.utterances)
    with pytest.raises(UsageError, match="in a manifest it stands in the column speaker"):
        read_clips([tmp_path / "clips.jsonl"], speaker="anna")
