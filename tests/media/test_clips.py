"""Clips without a manifest become utterances: whole, cue by cue, or in windows."""

from __future__ import annotations

import csv
import errno
import os
import wave
from pathlib import Path
from typing import Any

import pytest

from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.media.clips import Clips, Cutting, cut_clips
from imer.media.listing import write_listing
from imer.media.manifest import read_manifest
from tests.clips import voice, write_clip

CUES = "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n2\n00:00:01,250 --> 00:00:02,000\nthere, you\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.wav", "deep/b.mp4", "notes.md", "a.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"words of a" if name == "a.txt" else b"media")
    return tmp_path


def parts(clips: Clips) -> list[tuple[str, float | None, float | None, str | None]]:
    return [(u.utterance_id, u.start_s, u.end_s, u.text) for u in clips.utterances]


def test_one_clip_that_is_not_there_costs_itself(folder: Path) -> None:
    clips = cut_clips([folder / "a.wav", folder / "gone.wav"], Cutting())
    assert [u.utterance_id for u in clips.utterances] == ["a", "gone"]


def test_a_folder_gives_its_clips_in_order_with_unique_names(folder: Path) -> None:
    clips = cut_clips([folder], Cutting())
    names = [u.utterance_id for u in clips.utterances]
    assert names == ["a", "b", "deep/b"]
    (folder / "b.wav").write_bytes(b"media")  # what comes later renames nobody but its namesake
    again = [u.utterance_id for u in cut_clips([folder], Cutting()).utterances]
    assert again == ["a", "b.mp4", "b.wav", "deep/b"]
    named = cut_clips([folder / "b.mp4", folder / "deep" / "b.mp4", folder / "a.wav"], Cutting()).utterances
    assert [u.utterance_id for u in named] == [str(folder / "b.mp4"), str(folder / "deep" / "b.mp4"), "a"]
    assert all(u.dialogue_id == u.utterance_id and u.audio == u.visual for u in clips.utterances)


def test_what_is_no_clip_is_left_aside_and_told(folder: Path) -> None:
    for name in ("phone.3gp", "letter.docx", "._a.wav", ".hidden/deep.wav", "README"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    clips = cut_clips([folder / "phone.3gp", folder], Cutting())
    assert "phone" in [Path(u.utterance_id).stem for u in clips.utterances]
    assert len(clips.utterances) == 4
    assert clips.notes[0] == (
        "3 files are no clips by their suffix, and left aside: 1 without a suffix, 1 .docx, 1 .md."
    )
    assert cut_clips([folder / "b.mp4"], Cutting()).notes == []


def test_transcripts_in_capitals_and_cues_that_no_clip_has(tmp_path: Path) -> None:
    write_clip(tmp_path / "A.WAV", picture=None, sound=voice(1.5), audio_codec="pcm_s16le")
    (tmp_path / "A.SRT").write_text(CUES + "\n00:00:09,000 --> 00:00:10,000\nlate\n\n00:00:xx --> 00:11\nbroken\n")
    clips = cut_clips([tmp_path], Cutting())
    assert [u.text for u in clips.utterances] == ["hello", "there, you", "late"]
    assert clips.aside == {}
    assert clips.warnings == ["1 cue begins after the end of the clip: is each transcript that of the clip beside it?"]
    assert [problem.message for problem in clips.problems] == [
        f"1 cue of the transcript {tmp_path / 'A.SRT'} cannot be read"
    ]


def test_a_shells_star_takes_no_transcript_for_a_clip(folder: Path) -> None:
    clips = cut_clips(sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".txt")), Cutting())
    assert [(u.utterance_id, u.text) for u in clips.utterances] == [("a", "words of a")]
    assert clips.notes[0] == "1 file is no clip by its suffix, and left aside: 1 .txt."
    (folder / "m.CSV").touch()
    with pytest.raises(
        InvalidInput, match=r"m\.CSV is a table, not a clip; with a column utterance_id, it is a manifest"
    ):
        cut_clips([folder / "m.CSV"], Cutting())
    clips = cut_clips([folder / "m.CSV", folder / "a.wav"], Cutting())
    assert [u.utterance_id for u in clips.utterances] == ["a"]
    with pytest.raises(InvalidInput, match=r"a\.txt is a transcript; name the clip"):
        cut_clips([folder / "a.txt"], Cutting())


def test_links_that_are_not_followed_are_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "all").symlink_to(folder / "deep")
    with pytest.raises(InvalidInput, match=r"holds no clip: .* \(1 link to another folder"):
        cut_clips([tmp_path / "links"], Cutting())


def test_unique_stems_are_the_names(folder: Path) -> None:
    clips = cut_clips([folder / "a.wav", folder / "b.mp4", folder / "a.wav"], Cutting())
    assert [u.utterance_id for u in clips.utterances] == ["a", "b"]


def test_words_come_from_the_flag_or_from_the_file_beside(folder: Path) -> None:
    beside = cut_clips([folder / "a.wav"], Cutting())
    assert (beside.utterances[0].text, beside.transcripts, beside.timed) == ("words of a", 1, 0)
    given = cut_clips([folder / "a.wav"], Cutting(), text="other words")
    assert (given.utterances[0].text, given.transcripts) == ("other words", 0)
    assert cut_clips([folder / "b.mp4"], Cutting()).utterances[0].text is None


def test_each_cue_of_a_timed_transcript_is_an_utterance(folder: Path) -> None:
    (folder / "a.srt").write_text(CUES)
    clips = cut_clips([folder / "a.wav", folder / "b.mp4"], Cutting())
    assert parts(clips) == [("a_1", 0.0, 1.0, "hello"), ("a_2", 1.25, 2.0, "there, you"), ("b", None, None, None)]
    assert [(u.dialogue_id, u.position) for u in clips.utterances] == [("a", 0), ("a", 1), ("b", 0)]
    assert (clips.timed, clips.transcripts) == (1, 0)  # the text file is not needed
    assert parts(cut_clips([folder / "a.wav"], Cutting(whole=True))) == [("a", None, None, "hello there, you")]
    assert parts(cut_clips([folder / "a.wav"], Cutting(), text="other")) == [("a", None, None, "other")]


def test_the_speakers_are_those_of_the_transcript_unless_one_is_named(folder: Path) -> None:
    (folder / "a.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ann>yes</v>\n\n00:01.000 --> 00:02.000\nno\n")
    assert [u.speaker for u in cut_clips([folder / "a.wav"], Cutting()).utterances] == ["Ann", ""]
    assert [u.speaker for u in cut_clips([folder / "a.wav"], Cutting(), speaker="Bob").utterances] == ["Bob", "Bob"]


@pytest.mark.parametrize(
    ("window_s", "expected"),
    [
        (1.0, [(0.0, 1.0), (1.0, 2.0), (2.0, None)]),
        (1.25, [(0.0, 1.25), (1.25, None)]),
        (2.0, [(0.0, 2.0), (2.0, None)]),  # a second is half a window
        (100.0, [(0.0, None)]),
    ],
)
def test_windows_cover_a_clip_without_a_gap(
    tmp_path: Path, window_s: float, expected: list[tuple[float, float | None]]
) -> None:
    write_clip(tmp_path / "c.wav", picture=None, sound=voice(3.01), audio_codec="pcm_s16le")
    (tmp_path / "c.txt").write_text("nobody knows when")
    clips = cut_clips([tmp_path / "c.wav"], Cutting(window_s))
    assert [(u.start_s, u.end_s) for u in clips.utterances] == expected
    whole = len(expected) == 1  # then it is known which window the words belong to
    assert {u.text for u in clips.utterances} == {"nobody knows when" if whole else None}
    assert any("the words of 1 transcripts are not used" in said for said in clips.warnings) != whole


def test_what_cannot_be_opened_stays_whole(folder: Path) -> None:
    assert parts(cut_clips([folder / "b.mp4"], Cutting(5.0))) == [("b", None, None, None)]


def test_a_transcript_that_cannot_be_read_is_reported_and_the_next_is_tried(folder: Path) -> None:
    (folder / "a.srt").write_text("no cue at all")
    clips = cut_clips([folder / "a.wav"], Cutting())
    assert parts(clips) == [("a", None, None, "words of a")]
    assert "a.srt is not what its suffix says" in clips.problems[0].message
    (folder / "b.txt").write_bytes("grüße".encode("latin-1"))
    clips = cut_clips([folder / "b.mp4"], Cutting())
    assert clips.utterances[0].text is None
    assert "b.txt is not UTF-8 text" in clips.problems[0].message


def stereo(path: Path, seconds: float) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(round(seconds * 8_000) * 4))


def test_one_channel_tells_no_parties_apart(tmp_path: Path) -> None:
    write_clip(tmp_path / "call.wav", picture=None, sound=voice(2.0), audio_codec="pcm_s16le")
    both = ("agent", "customer")
    clips = cut_clips([tmp_path / "call.wav"], Cutting(channels=both))
    assert [(u.utterance_id, u.channel, u.speaker) for u in clips.utterances] == [("call", None, "")]
    assert any(said.startswith("1 recordings have fewer channels than --channels names") for said in clips.warnings)
    (tmp_path / "call.srt").write_text(CUES.replace("hello", "Agent: hello"))
    clips = cut_clips([tmp_path / "call.wav"], Cutting(channels=both))
    assert [(u.utterance_id, u.channel, u.speaker, u.text) for u in clips.utterances] == [
        ("call_1", None, "agent", "hello"), ("call_2", None, "", "there, you"),
    ]  # fmt: skip


def test_a_film_without_sound_has_no_fewer_channels(tmp_path: Path) -> None:
    write_clip(tmp_path / "call.mp4", sound=None)
    clips = cut_clips([tmp_path / "call.mp4"], Cutting(channels=("agent", "customer")))
    assert [(u.utterance_id, u.channel) for u in clips.utterances] == [("call_agent", 1), ("call_customer", 2)]
    assert not clips.warnings


def test_what_is_lost_in_a_folder_is_told(folder: Path) -> None:
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    (folder / "linked").symlink_to(folder / "deep")
    clips = cut_clips([folder], Cutting())
    assert [u.utterance_id for u in clips.utterances] == ["a", "b", "deep/b"]
    assert [(one.name, one.code, one.path) for one in clips.problems] == [("gone", "E-NOFILE", folder / "gone.wav")]
    assert "1 link to another folder is not followed; name such folders to take their clips." in clips.notes


def test_a_folder_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refused(path: str | os.PathLike[str]) -> Any:
        if Path(path).name == "deep":  # as for anybody but root, who may read everything
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    clips = cut_clips([folder], Cutting())
    assert [u.utterance_id for u in clips.utterances] == ["a", "b"]
    assert [(one.name, one.code) for one in clips.problems] == [("deep", "E-NOFILE")]
    assert "cannot be read (Permission denied)" in clips.problems[0].message


def test_a_folder_that_may_be_listed_and_not_entered_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def refused(path: Path, **how: Any) -> os.stat_result:
        if path.parent.name == "deep":  # as for anybody but root
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refused)
    clips = cut_clips([folder], Cutting())
    assert [u.utterance_id for u in clips.utterances] == ["a", "b"]
    assert [(one.name, one.code) for one in clips.problems] == [("deep/b", "E-NOFILE")]


def test_a_name_that_is_no_utf8_costs_its_own_clip(folder: Path) -> None:
    bad = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")
    Path(bad).write_bytes(b"media")
    clips = cut_clips([folder], Cutting())
    assert [u.utterance_id for u in clips.utterances] == ["a", "b", "deep/b"]
    (problem,) = clips.problems
    assert (problem.name, problem.code) == (r"caf\udce9", "E-NOFILE")
    with pytest.raises(InvalidInput, match="is not valid UTF-8"):
        cut_clips([Path(bad)], Cutting())


def test_the_parties_of_a_call_are_heard_by_themselves(tmp_path: Path) -> None:
    stereo(tmp_path / "call.wav", 2.0)
    (tmp_path / "call.txt").write_text("words of both")
    both = ("agent", "customer")
    clips = cut_clips([tmp_path / "call.wav"], Cutting(1.0, channels=both))
    said = [(u.utterance_id, u.position, u.start_s, u.channel, u.speaker, u.text) for u in clips.utterances]
    assert said == [
        ("call_1_agent", 0, 0.0, 1, "agent", None), ("call_1_customer", 1, 0.0, 2, "customer", None),
        ("call_2_agent", 2, 1.0, 1, "agent", None), ("call_2_customer", 3, 1.0, 2, "customer", None),
    ]  # fmt: skip
    whole = cut_clips([tmp_path / "call.wav"], Cutting(channels=both))
    assert parts(whole) == [("call_agent", None, None, None), ("call_customer", None, None, None)]
    assert whole.transcripts == 0
    write_listing(clips.utterances, tmp_path / "m.csv")
    read = read_manifest(tmp_path / "m.csv").utterances
    assert [(u.utterance_id, u.channel, u.speaker, u.position) for u in read] == [
        said_[:1] + said_[3:5] + said_[1:2] for said_ in said
    ]


def test_a_cue_is_of_whom_it_names(folder: Path) -> None:
    cues = ["<v Agent>hello", "<v Customer>hi", "<v Bot>wait", "who?"]
    times = [f"00:0{i}.000 --> 00:0{i + 1}.000\n{cue}\n" for i, cue in enumerate(cues)]
    (folder / "a.vtt").write_text("\n".join(["WEBVTT\n", *times]))
    clips = cut_clips([folder / "a.wav"], Cutting(channels=("agent", "customer")))
    assert [(u.utterance_id, u.channel, u.speaker, u.text) for u in clips.utterances] == [
        ("a_1", 1, "agent", "hello"), ("a_2", 2, "customer", "hi"), ("a_3", None, "Bot", "wait"), ("a_4", None, "", "who?"),
    ]  # fmt: skip


def test_words_of_a_whole_call_are_used_where_all_are_heard_together(tmp_path: Path) -> None:
    stereo(tmp_path / "call.wav", 2.0)
    write_clip(tmp_path / "mono.wav", picture=None, sound=voice(1), audio_codec="pcm_s16le")
    write_clip(tmp_path / "note.wav", picture=None, sound=voice(1), audio_codec="pcm_s16le")
    for name in ("call", "mono"):
        (tmp_path / f"{name}.srt").write_text(CUES)
    (tmp_path / "note.txt").write_text("words of both")
    clips = cut_clips([tmp_path], Cutting(whole=True, channels=("agent", "customer")))
    assert [(u.utterance_id, u.text) for u in clips.utterances] == [
        ("call_agent", None), ("call_customer", None), ("mono", "hello there, you"), ("note", "words of both"),
    ]  # fmt: skip
    assert (clips.timed, clips.transcripts, clips.undivided) == (1, 1, 1)
    assert any(warning.startswith("the words of 1 transcripts are not used") for warning in clips.warnings)


def test_subrip_names_who_speaks_before_a_colon(folder: Path) -> None:
    cues = ["AGENT: hello: you", "customer : hi", "Note: agent left", "agents: no"]
    times = [f"{i}\n00:00:0{i},000 --> 00:00:0{i + 1},000\n{cue}\n" for i, cue in enumerate(cues)]
    (folder / "a.srt").write_text("\n".join(times))
    heard = cut_clips([folder / "a.wav"], Cutting(channels=("agent", "customer"))).utterances
    assert [(u.channel, u.speaker, u.text) for u in heard] == [
        (1, "agent", "hello: you"), (2, "customer", "hi"), (None, "", "Note: agent left"), (None, "", "agents: no"),
    ]  # fmt: skip
    assert cut_clips([folder / "a.wav"], Cutting()).utterances[0].text == "AGENT: hello: you"  # nobody said who is who


def test_names_that_all_cues_begin_with_are_speakers_and_that_is_said(folder: Path) -> None:
    cues = ["Ann: hello", "Ben: hi", "Ann: you first", "Ben: no, you"]
    times = [f"{i}\n00:00:0{i},000 --> 00:00:0{i + 1},000\n{cue}\n" for i, cue in enumerate(cues)]
    (folder / "a.srt").write_text("\n".join(times))
    clips = cut_clips([folder / "a.wav"], Cutting())
    assert [(u.speaker, u.text) for u in clips.utterances] == [tuple(cue.split(": ")) for cue in cues]
    assert "the names that their cues begin with say who speaks: Ann, Ben." in clips.notes
    assert cut_clips([folder / "a.wav"], Cutting(whole=True)).utterances[0].text == "hello hi you first no, you"
    heard = cut_clips([folder / "a.wav"], Cutting(channels=("ben", "ann"))).utterances
    assert [(u.channel, u.speaker, u.text) for u in heard][:2] == [(2, "ann", "hello"), (1, "ben", "hi")]


def test_a_cue_of_several_is_nobodys_and_that_is_said(folder: Path) -> None:
    cues = ["- Agent: one", "[Customer] two", "Agent: hello\nCustomer: hi there", "Caller: three"]
    times = [f"{i}\n00:00:0{i},000 --> 00:00:0{i + 1},000\n{cue}\n" for i, cue in enumerate(cues)]
    (folder / "a.srt").write_text("\n".join(times))
    clips = cut_clips([folder / "a.wav"], Cutting(channels=("agent", "customer")))
    assert [(u.channel, u.text) for u in clips.utterances] == [
        (1, "one"), (2, "two"), (None, "Agent: hello Customer: hi there"), (None, "Caller: three"),
    ]  # fmt: skip
    assert "2 cues name nobody of --channels, or several: such are heard in all channels." in clips.notes


def test_what_cannot_be_meant_is_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"none.mp4 does not exist"):
        cut_clips([folder / "none.mp4"], Cutting())
    with pytest.raises(InvalidInput, match="holds no clip"):
        cut_clips([folder / "empty"], Cutting())
    with pytest.raises(UsageError, match="--text gives the words of a single clip, but there are 2"):
        cut_clips([folder / "a.wav", folder / "b.mp4"], Cutting(), text="words")
    with pytest.raises(UsageError, match="contradict each other"):
        Cutting(5.0, whole=True)
    for seconds in (0.0, -1.0, 0.5, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="--window takes a number of seconds from 1 on"):
            Cutting(seconds)
    for names in (("a", "A"), ("a", "")):
        with pytest.raises(UsageError, match="--channels takes who is on each channel"):
            Cutting(channels=names)
    with pytest.raises(UsageError, match="leave out --speaker and --text"):
        cut_clips([folder / "a.wav"], Cutting(channels=("x", "y")), speaker="z")
    (folder / "a.srt").write_text(CUES)
    (folder / "a_1.wav").write_bytes(b"media")
    with pytest.raises(InvalidInput, match="Two utterances would be called a_1"):
        cut_clips([folder / "a.wav", folder / "a_1.wav"], Cutting())


def test_a_transcript_of_many_lines_has_room_in_a_listing(tmp_path: Path) -> None:
    write_clip(tmp_path / "talk.wav", picture=None, sound=voice(1), audio_codec="pcm_s16le")
    (tmp_path / "talk.txt").write_text("a line\n" * 1200)
    (tmp_path / "m.csv.lock").write_text("{}")  # of the listing itself
    clips = cut_clips([tmp_path], Cutting())
    write_listing(clips.utterances, tmp_path / "m.csv")
    (utterance,) = read_manifest(tmp_path / "m.csv").utterances
    assert utterance.text == " ".join(["a line"] * 1200)
    assert not clips.aside


def test_a_listing_is_a_manifest_of_the_same_utterances(folder: Path) -> None:
    (folder / "a.srt").write_text(CUES)
    found = cut_clips([folder], Cutting())
    (folder / "deep" / "lists").mkdir()
    assert write_listing(found.utterances, folder / "m.csv") == 0
    assert write_listing(found.utterances, folder / "deep" / "lists" / "m.csv") == 3  # seen from there, all lie outside
    read = read_manifest(folder / "m.csv").utterances
    for mine, theirs in zip(found.utterances, read, strict=True):
        for name in ("utterance_id", "dialogue_id", "position", "start_s", "end_s", "speaker"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert (mine.text or "") == theirs.text
        assert theirs.audio is not None
        assert theirs.audio.samefile(folder / (mine.audio or ""))
    with open(folder / "m.csv", newline="") as file:
        header = "utterance_id media start end text dialogue_id position speaker split emotion"
        assert next(csv.reader(file)) == header.split()
    with pytest.raises(OutputExists):
        write_listing(found.utterances, folder / "m.csv")
