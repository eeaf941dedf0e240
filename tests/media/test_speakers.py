"""Names before what is said are speakers, where a transcript has them throughout."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.media.speakers import LEAST_NAMED, named_speakers
from imer.media.transcripts import read_cues

WORDS = ["good morning", "how are you", "it is 10:30 now", "so: let us begin", "yes", "no"]


@pytest.mark.parametrize(
    ("first", "second", "name", "other"),
    [
        ("Ann: ", "Ben Lee: ", "Ann", "Ben Lee"),
        ("- Ann: ", "- Ben: ", "Ann", "Ben"),
        ("[SPEAKER_00]: ", "[SPEAKER_01]: ", "SPEAKER_00", "SPEAKER_01"),
        ("Speaker 1: ", "Speaker 2: ", "Speaker 1", "Speaker 2"),
        ("Frau Dr. Müller-Lüdenscheidt: ", "K: ", "Frau Dr. Müller-Lüdenscheidt", "K"),
        ("王老师：", "学生：", "王老师", "学生"),
    ],
)
def test_names_throughout(first: str, second: str, name: str, other: str) -> None:
    texts = [f"{(first, second)[i % 2]}{words}" for i, words in enumerate(WORDS)]
    assert named_speakers(texts) == [((name, other)[i % 2], words) for i, words in enumerate(WORDS)]


@pytest.mark.parametrize(
    "texts",
    [
        ["Ann: hello", "Ben: hello", "Ann: bye"],  # too few to tell
        ["Note: rain", *WORDS],
        [f"{word}: said once" for word in ("first", "then", "next", "last", "so", "and")],
        ["10:30 is late"] * 5,
        ["https://a.org and more"] * 5,
        ["this is what I have always told you all: no"] * 5,
    ],
)
def test_a_colon_alone_names_nobody(texts: list[str]) -> None:
    assert named_speakers(texts) == [("", text) for text in texts]


def test_a_cue_of_two_people_is_nobodys_and_keeps_its_words() -> None:
    texts = ["Ann: one", "Ben: two", "Ann: three Ben: four", "Ben: five", "Ann: six"]
    assert named_speakers(texts)[2] == ("", texts[2])


@given(st.lists(st.text(st.sampled_from("Aa :：[-)"), max_size=12), max_size=12))
def test_no_word_is_lost(texts: list[str]) -> None:
    for text, (name, words) in zip(texts, named_speakers(texts), strict=True):
        assert text.endswith(words)
        assert name in text
        assert bool(name) == (words != text)


def test_a_transcript_as_meeting_programs_write_it(tmp_path: Path) -> None:
    cues = [
        f"{i + 1}\n00:00:0{i}.000 --> 00:00:0{i}.900\n{('Ann', 'Ben')[i % 2]}: {WORDS[i]}\n" for i in range(LEAST_NAMED)
    ]
    (tmp_path / "call.vtt").write_text("\n".join(["WEBVTT\n", *cues]))
    read = read_cues(tmp_path / "call.vtt").cues
    assert [(cue.speaker, cue.text) for cue in read] == [
        ("Ann", WORDS[0]),
        ("Ben", WORDS[1]),
        ("Ann", WORDS[2]),
        ("Ben", WORDS[3]),
    ]
