"""Clips, times and words in columns that nobody reads are noticed, and other columns are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.core.errors import InvalidInput
from imer.media.columns import check_sources, doubts
from imer.media.manifest import read_manifest

BOTH = ("audio", "visual", "text")


def check(folder: Path, columns: str, cells: str, modalities: tuple[str, ...] = BOTH) -> None:
    """Check a manifest of two rows, beside which lies a.mp4."""
    (folder / "a.mp4").touch()
    (folder / "m.csv").write_text(f"utterance_id,text,{columns}\nu0,hello,{cells}\nu1,so glad,{cells}\n")
    check_sources(read_manifest(folder / "m.csv").utterances, folder / "m.csv", modalities)


@pytest.mark.parametrize(
    ("columns", "cells", "modalities", "advice"),
    [
        ("video", "a.mp4", BOTH, "call the column media (to extract without: --audio none --visual none)"),
        ("path,emotion", "./A.MP4,joy", ("audio",), "call the column audio (to extract without: --audio none)"),
        ("audio,video", "a.mp4,a.mp4", BOTH, "no utterance has visual; call the column visual"),
        ("emotion,file", "joy,a.mp4", ("visual", "text"), "call the column visual"),
    ],
)
def test_clips_under_another_name(
    columns: str, cells: str, modalities: tuple[str, ...], advice: str, tmp_path: Path
) -> None:
    (tmp_path / "A.MP4").touch()
    with pytest.raises(InvalidInput) as refused:
        check(tmp_path, columns, cells, modalities)
    assert advice in str(refused.value)


@pytest.mark.parametrize(
    ("columns", "cells", "modalities"),
    [
        ("media,video", "a.mp4,a.mp4", BOTH),
        ("audio,video", "a.mp4,a.mp4", ("audio", "text")),
        ("video", "a.mp4", ("text",)),
        ("video", "elsewhere.mp4", BOTH),
        ("video", "//server/share/a.mp4", BOTH),
        ("video,emotion", "03bSnISJMiM,joy", BOTH),
        ("notes", "a.mp4 is dark", BOTH),
        ("video", "", BOTH),
    ],
)
def test_what_is_no_such_column(columns: str, cells: str, modalities: tuple[str, ...], tmp_path: Path) -> None:
    check(tmp_path, columns, cells, modalities)


def said(folder: Path, text: str, modalities: tuple[str, ...] = BOTH) -> list[str]:
    (folder / "m.csv").write_text(text)
    return doubts(read_manifest(folder / "m.csv").utterances, modalities)


SHARED = "utterance_id,media,StartTime,end_s,text\nu0,a.mp4,0,1,hi\nu1,a.mp4,1,2,ho\nu2,b.mp4,0,1,ha\n"

PARTS = SHARED.replace("StartTime", "start").replace("end_s", "end")


def test_utterances_that_are_each_the_whole_clip(tmp_path: Path) -> None:
    (doubt,) = said(tmp_path, SHARED)
    assert doubt == (
        "2 utterances share their clip with others and have neither start nor end, so each is the whole clip (a.mp4); are "
        "those times in StartTime, end_s? Call them start and end."
    )
    assert said(tmp_path, SHARED, ("text",)) == []
    assert said(tmp_path, PARTS) == []
    (doubt,) = said(tmp_path, "utterance_id,audio,rater,text\nu0,a.wav,x,hi\nu1,a.wav,y,hi\n")
    assert doubt.endswith("each is the whole clip (a.wav).")
    doubt, _ = said(tmp_path, SHARED.replace("end_s", "end"))
    assert doubt == (
        "2 utterances share their clip with others and have no start, so each begins where that does (a.mp4); are those times "
        "in StartTime? Call them start and end."
    )
    assert said(tmp_path, PARTS.replace("a.mp4,0,", "a.mp4,,")) == [], "the first of a clip"
    assert said(tmp_path, "utterance_id,audio,audio_channel,text\nu0,a.wav,left,hi\nu1,a.wav,right,hi\n") == []


def test_words_under_another_name(tmp_path: Path) -> None:
    spoken = "utterance_id,media,Utterance,emotion\nu0,a.mp4,well hello there,joy\nu1,b.mp4,what do you want,anger\n"
    assert said(tmp_path, spoken) == [
        "no utterance has a text; if the column Utterance holds what is said, call it text."
    ]
    assert said(tmp_path, spoken, ("audio", "visual")) == []
    assert said(tmp_path, spoken.replace("Utterance", "text")) == []
    assert said(tmp_path, spoken.replace("well hello there", "").replace("what do you want", "x")) == []
    same = spoken.replace("well hello there", "session one morning").replace("what do you want", "session one morning")
    assert said(tmp_path, same) == []


def test_dialogues_under_another_name(tmp_path: Path) -> None:
    of_video = "utterance_id,audio,text,video_id,emotion\nu0,a.wav,hi,v1,joy\nu1,b.wav,ho,v1,joy\nu2,c.wav,ha,v2,joy\n"
    (doubt,) = said(tmp_path, of_video)
    assert doubt.endswith("if the column video_id says which belong together, call it dialogue_id.")
    assert said(tmp_path, of_video.replace("video_id", "dialogue_id")) == []
    assert said(tmp_path, of_video.replace("audio,text,video_id", "audio,dialogue_id,video_id")) == []
    assert said(tmp_path, of_video.replace("ho,v1", "ho,v3")) == [], "each has a video of its own"


def test_parts_of_one_clip_that_are_no_dialogue(tmp_path: Path) -> None:
    labelled = PARTS.replace("text", "emotion")
    (doubt,) = said(tmp_path, labelled, ("audio",))
    assert doubt == (
        "2 utterances share their clip with others, and each is a dialogue of its own, so training and test may be of one "
        "recording; a column dialogue_id, such as a, tells what belongs together."
    )
    assert said(tmp_path, PARTS) == [], "nothing to learn"
    assert said(
        tmp_path, PARTS.replace("text", "split").replace(",hi", ",test").replace(",ho", ",").replace(",ha", ",")
    )
    named = PARTS.replace("text", "call_id").replace(",hi", ",c1").replace(",ho", ",c1").replace(",ha", ",c2")
    assert said(tmp_path, named, ("audio",)) == [
        "each utterance is a dialogue of its own; if the column call_id says which belong together, call it dialogue_id."
    ]
    assert said(tmp_path, named.replace("call_id", "dialogue_id"), ("audio",)) == []
    assert said(tmp_path, labelled.replace("u1,a.mp4", "u1,c.mp4"), ("audio",)) == [], "a part of each clip"


def test_milliseconds(tmp_path: Path) -> None:
    times = "utterance_id,media,start,end\nu0,a.mp4,0,{}\nu1,b.mp4,400,2043\nu2,c.mp4,3000,3100\n"
    (doubt,) = said(tmp_path, times.format(1500), ("audio",))
    assert doubt == (
        "start and end are in seconds, and most utterances last longer than 300 of them, such as u0 from 0 to 1500; divide "
        "milliseconds by 1000."
    )
    assert said(tmp_path, times.format(300), ("audio",)) == [], "one of three is long"
    assert said(tmp_path, times.format("1500.25"), ("audio",)) == [], "milliseconds have no fraction"
    assert said(tmp_path, times.format(""), ("audio",)) == [], "one of two"
