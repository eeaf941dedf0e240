"""Timed transcripts as people's tools write them, and as they break."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.core.errors import InvalidInput
from imer.media.transcripts import MAX_BYTES, Cue, Transcript, read_cues

SRT = """1
00:00:03,250 --> 00:00:04,000
<i>second</i> line
goes on

2
00:00:01,000 --> 00:00:02,500
first

3
00:00:05,000 --> 00:00:05,000
takes no time

4
00:00:06,000 --> 00:00:07,000
<b></b>

5
01:00:00,000 --> 01:00:01,001
an hour later
"""
VTT = """WEBVTT

NOTE of somebody

intro
00:01.000 --> 00:02.500 align:start position:10%
<v.loud Mary Jones>Rock &amp; <b>roll</b></v>

00:00:03.000 --> 00:00:04.000
nobody's
"""


def test_subrip_in_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(SRT)
    assert read_cues(tmp_path / "a.srt").cues == (
        Cue(1.0, 2.5, "first"), Cue(3.25, 4.0, "second line goes on"), Cue(3600.0, 3601.001, "an hour later"),
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_webvtt_says_who_speaks(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.VTT").write_text(VTT, encoding=encoding)
    found = (Cue(1.0, 2.5, "Rock & roll", "Mary Jones"), Cue(3.0, 4.0, "nobody's"))
    assert read_cues(tmp_path / "a.VTT") == Transcript(found)


def test_what_players_take_is_taken(tmp_path: Path) -> None:
    """A blank first line, no numbers, the other format's comma, times without hours or milliseconds, places on the screen."""
    cues = "00:00:00,000 --> 00:00:01.000\nfirst\n\n00:02,5 --> 00:03\n{\\an8}second\n\n-00:00:01,0 --> 00:09\nbad\n"
    for name, head in (("a.srt", "\n"), ("a.vtt", "WEBVTT\n\n")):
        (tmp_path / name).write_text(head + cues)
        read = read_cues(tmp_path / name)
        assert read.cues == (Cue(0.0, 1.0, "first"), Cue(2.5, 3.0, "second"))
        assert read.unread == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1\n{0}\nHello\n2\n{1}\nBye\n", ["Hello", "Bye"]),  # no blank line between
        ("1\n{0}\nHello\n \n2\n{1}\nBye\n", ["Hello", "Bye"]),  # one that holds a blank
        ("1\n\n{0}\n\nHello\n\n2\n\n{1}\n\nBye\n", ["Hello", "Bye"]),  # one after every line
        ("1\n{0}\nI think so\n\nbut I am not sure\n\n2\n{1}\nBye\n", ["I think so but I am not sure", "Bye"]),
        ("1\n{0}\nHow old are you?\n\n2\n{1}\n30\n", ["How old are you?", "30"]),
        ("{0}\n30\n\n{1}\n31\n", ["30", "31"]),  # no numbers
        ("1\n{0}\nI <3 U, 5 > 4 --> so\n\n2\n{1}\nR&D &notit &amp; &lt;b&gt;\n", ["I <3 U, 5 > 4 --> so", "R&D &notit & <b>"]),
        ("1\n{0}\nHello\u2028there\n\n2\n00:00:02,000 -> 00:00:03,000\nBye\n", ["Hello there", "Bye"]),
    ],
)  # fmt: skip
def test_no_word_of_subrip_is_lost(tmp_path: Path, written: str, read: list[str]) -> None:
    times = ("00:00:01,000 --> 00:00:02,000", "00:00:02,000 --> 00:00:03,000")
    (tmp_path / "a.srt").write_text(written.format(*times))
    found = read_cues(tmp_path / "a.srt")
    assert [(cue.start_s, cue.end_s, cue.text) for cue in found.cues] == [(1.0, 2.0, read[0]), (2.0, 3.0, read[1])]
    assert found.unread == 0


def test_who_says_the_same_again_is_not_taken_for_captions_that_roll_up(tmp_path: Path) -> None:
    said = ["No.", "No.\nI said no.", "Yes.", "Yes.", "Well.\nYes.", "So.\nDone."]
    cues = [
        f"00:{i:02}.000 --> 00:{i + 1:02}.000\n{words}\n" for i, words in zip((1, 2, 8, 14, 15, 16), said, strict=True)
    ]
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n" + "\n".join(cues))
    assert [cue.text for cue in read_cues(tmp_path / "a.vtt").cues] == [words.replace("\n", " ") for words in said]


def test_a_cue_of_two_voices_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(
        "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Anna>Hi there\n<v Bob>Hello\n\n00:02.000 --> 00:03.000\n- <v R&amp;B>Bye</v>\n"
    )
    assert read_cues(tmp_path / "a.vtt").cues == (Cue(1.0, 2.0, "Hi there Hello"), Cue(2.0, 3.0, "- Bye", "R&B"))


def test_webvtt_under_the_other_name(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(VTT)
    assert [cue.speaker for cue in read_cues(tmp_path / "a.srt").cues] == ["Mary Jones", ""]


def test_of_captions_that_roll_up_each_line_counts_once(tmp_path: Path) -> None:
    """As they are made from live speech: a line comes, stays for an instant, and rolls up while the next one comes."""
    lines, cues = ["well", "yes", "yes", "no more"], ["00:00.000 --> 00:02.000\n \nwell<00:01.000><c> then</c>"]
    lines[0] = "well then"
    for i, (before, now) in enumerate(itertools.pairwise(lines), start=1):
        cues.append(f"00:0{2 * i}.000 --> 00:0{2 * i}.010\n{before}\n ")
        cues.append(f"00:0{2 * i}.010 --> 00:0{2 * i + 2}.000\n{before}\n{now}")
    (tmp_path / "a.vtt").write_text("WEBVTT\nKind: captions\n\n" + "\n\n".join(cues))
    found = read_cues(tmp_path / "a.vtt")
    assert [cue.text for cue in found.cues] == lines
    assert found.unread == 0
    (tmp_path / "b.srt").write_text("1\n00:00:00,0 --> 00:00:01,0\nyes\n\n2\n00:00:01,0 --> 00:00:02,0\nyes\n")
    assert [cue.text for cue in read_cues(tmp_path / "b.srt").cues] == ["yes", "yes"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.srt", b"", "not what its suffix says"),
        ("a.srt", b"just some words\nof somebody", "not what its suffix says"),
        ("a.vtt", SRT.encode(), "not what its suffix says"),
        ("a.vtt", b"WEBVTT\n\n", "or has no cue"),
        ("a.srt", b"1\n00:00:02,000 --> 00:00:01,000\nbackwards\n", "has no cue with words"),
        ("a.srt", SRT.replace("first", "gr\xfc\xdfe").encode("latin-1"), "is not UTF-8 text"),
        ("a.srt", b"1" * (MAX_BYTES + 1), "more than 16 MiB"),
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read_cues(tmp_path / name)


@given(st.binary(max_size=300), st.sampled_from(["a.srt", "a.vtt"]), st.booleans())
def test_any_bytes_give_cues_or_a_sentence(content: bytes, name: str, headed: bool) -> None:
    head = b"WEBVTT\n\n00:01.000 --> 00:02.000\n" if headed else b"1\n00:00:01,000 --> 00:00:02,000\n"
    with TemporaryDirectory() as folder, suppress(InvalidInput):
        (Path(folder) / name).write_bytes(head + content)
        assert all(cue.text and cue.end_s > cue.start_s >= 0 for cue in read_cues(Path(folder) / name).cues)
