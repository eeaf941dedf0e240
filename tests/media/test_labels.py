"""A table of labels finds the clips that it names, whatever it calls them, and says what it could not place."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.core.errors import InvalidInput, UsageError
from imer.media.clips import Cutting, cut_clips
from imer.media.labels import Known, read_labels
from imer.media.listing import write_listing
from imer.media.manifest import read_manifest
from imer.media.rows import known_names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day2").mkdir()
    for name in ("day1/a.wav", "day1/b.wav", "day2/a.wav", "day2/c.wav"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "day2/c.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nhi\n\n2\n00:00:01,000 --> 00:00:02,000\nho\n"
    )
    return tmp_path


def _known(folder: Path, table: str, name: str = "labels.csv") -> Known:
    (folder / name).write_text(table)
    return read_labels(folder / name, cut_clips([folder], Cutting()).utterances)


def _emotions(known: Known) -> list[str]:
    return [cells.get("emotion", "") for cells in known.cells]


@pytest.mark.parametrize(
    "table",
    [
        "file,emotion\nday1/a.wav,joy\nb.wav,anger\nday2/a.wav,fear\nc,calm\n",
        "emotion;FILE\njoy;day1/a.wav\nanger;b\nfear;day2\\a.wav\ncalm;c.wav\n",
        "utterance_id\temotion\nday1/a\tjoy\nday1/b\tanger\nday2/a\tfear\nday2/c_1\tcalm\nday2/c_2\tcalm\n",
        "path,emotion\nC:\\data\\Day1\\A.WAV,joy\n/elsewhere/b.wav,anger\nday2/a,fear\nday2/c_2,calm\nc,calm\n",
        "media,emotion\n./day1/a.wav,joy\nday1/../day1/b.wav,anger\nday2/a.wav,fear\nday2/c.wav,calm\n",
    ],
)
def test_clips_are_named_in_many_ways(folder: Path, table: str) -> None:
    known = _known(folder, table)
    assert _emotions(known) == ["joy", "anger", "fear", "calm", "calm"]  # both cues of c
    assert (known.columns, known.strangers, known.problems) == (("emotion",), (), ())


def test_json_lines_name_clips_too(folder: Path) -> None:
    known = _known(folder, '{"clip": "b.wav", "valence": 0.5}\n', "labels.jsonl")
    assert [cells.get("valence") for cells in known.cells] == [None, "0.5", None, None, None]


def test_what_it_could_not_place_is_said(folder: Path) -> None:
    known = _known(
        folder, "file,emotion\na.wav,joy\nb,anger\nday1/b.wav,fear\ngone.wav,calm\nday2/c\nday2/a.wav,calm\n"
    )
    assert _emotions(known) == ["", "anger", "calm", "", ""]
    assert known.strangers == ("gone.wav",)
    assert [str(problem) for problem in known.problems] == [
        "line 2: 'a.wav' may be any of several clips; name it by its path",
        "line 4: 'day1/b.wav' is named on line 3 already",
        "line 6: 1 cells where the header has 2",
    ]


def test_a_listing_takes_what_is_known(folder: Path) -> None:
    known = _known(
        folder, "file,speaker,split,text,arousal\nb.wav,ann,train,well then,0.3\nday2/c.wav,bob,test,hi ho,0.9\n"
    )
    utterances = cut_clips([folder], Cutting()).utterances
    write_listing(utterances, folder / "m.csv", known)
    manifest = read_manifest(folder / "m.csv")
    assert "emotion" not in manifest.columns  # the labels are others
    said = [(u.speaker, u.split, u.text, u.labels["arousal"]) for u in manifest.utterances]
    assert said == [
        ("", "", "", ""), ("ann", "train", "well then", "0.3"), ("", "", "", ""), ("bob", "test", "hi", "0.9"),
        ("bob", "test", "ho", "0.9"),
    ]  # fmt: skip


def test_clips_of_one_conversation_stand_in_their_order(folder: Path) -> None:
    (folder / "day1/a.srt").write_text((folder / "day2/c.srt").read_text())
    known = _known(folder, "file,dialogue_id,emotion\nday1/a.wav,talk,joy\nday2/c.wav,talk,fear\nday1/b.wav,,calm\n")
    write_listing(cut_clips([folder], Cutting()).utterances, folder / "m.csv", known)
    manifest = read_manifest(folder / "m.csv")
    assert not manifest.problems
    talk = [(u.utterance_id, u.position) for u in manifest.utterances if u.dialogue_id == "talk"]
    assert talk == [("day1/a_1", 0), ("day1/a_2", 1), ("day2/c_1", 2), ("day2/c_2", 3)]
    assert {u.dialogue_id for u in manifest.utterances} == {"talk", "day1/b", "day2/a"}


def test_who_speaks_in_a_part_it_says_itself(folder: Path) -> None:
    table = "file,speaker,audio_channel,position,emotion\nday2/c.wav,both,right,7,fear\nb.wav,ann,left,3,joy\n"
    (folder / "day2/c.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nBob: hi\n\n2\n00:00:01,000 --> 00:00:02,000\nho\n"
    )
    (folder / "labels.csv").write_text(table)
    utterances = cut_clips([folder], Cutting(channels=("bob", "eve"))).utterances
    cut = [u for u in utterances if u.audio is not None and u.audio.name in ("b.wav", "c.wav")]
    write_listing(cut, folder / "m.csv", read_labels(folder / "labels.csv", cut))
    read = read_manifest(folder / "m.csv").utterances
    assert [(u.speaker, u.channel, u.position, u.labels["emotion"]) for u in read] == [
        ("bob", 1, 0, "joy"),
        ("eve", 2, 1, "joy"),
        ("bob", 1, 0, "fear"),
        ("both", 2, 1, "fear"),
    ]


def test_an_utterance_is_told_more_by_its_own_row_than_by_that_of_its_clip(folder: Path) -> None:
    rows = ["day2/c_2,calm,ho ho\n", "c,rage,hi ho\n"]
    for table in (rows, rows[::-1]):
        known = _known(folder, "file,emotion,text\n" + "".join(table))
        assert [dict(cells) for cells in known.cells[3:]] == [{"emotion": "rage"}, {"emotion": "calm", "text": "ho ho"}]
        assert not known.problems


def test_no_table_changes_where_a_clip_is(folder: Path) -> None:
    known = _known(folder, "utterance_id,media,emotion\nday1/b,of/another/disk/b.wav,joy\n")
    write_listing(cut_clips([folder], Cutting()).utterances, folder / "m.csv", known)
    (found,) = (u for u in read_manifest(folder / "m.csv").utterances if u.labels["emotion"])
    assert found.audio == folder / "day1/b.wav"


def test_tables_that_cannot_be_meant(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no column that names clips \(one of utterance_id, media, file"):
        _known(folder, "who,emotion\na.wav,joy\n")
    with pytest.raises(
        InvalidInput, match=r"names none of the 5 utterances in its column file \(x, y\); a name is such as 'a.wav'"
    ):
        _known(folder, "file,emotion\nx,joy\ny,joy\n")
    with pytest.raises(InvalidInput, match=r"The table of labels .*gone\.csv does not exist"):
        read_labels(folder / "gone.csv", [])
    with pytest.raises(InvalidInput, match=r"is not a table of labels: .* found a folder\.$"):
        read_labels(folder / "day1", [])
    with pytest.raises(UsageError, match="so it can be the manifest"):
        _known(folder, "file,start,end,emotion\nb.wav,0,1,joy\n")
    with pytest.raises(UsageError, match="and not those of this listing, so it can be the manifest"):
        _known(folder, "utterance_id,start,end,emotion\nday1/b,0,1,joy\nday2/c_1,3,4,joy\n")


def test_an_earlier_listing_that_was_filled_in_is_a_table_of_labels(folder: Path) -> None:
    """So that a folder may grow, and nothing that was written by hand is lost."""
    first = cut_clips([folder], Cutting()).utterances
    write_listing(first, folder / "m.csv")
    header, *rows = (folder / "m.csv").read_text().splitlines()
    spoken = [row.rsplit(",", 3)[0] + f",ann,val,joy{i}" for i, row in enumerate(rows)]
    (folder / "m.csv").write_text("\n".join([header, *spoken]))
    (folder / "day1/aa.wav").write_bytes(b"media")
    more = cut_clips([folder], Cutting()).utterances
    known = read_labels(folder / "m.csv", more)
    assert (known.problems, known.strangers) == ((), ())
    write_listing(more, folder / "m2.csv", known)
    read = {u.utterance_id: u for u in read_manifest(folder / "m2.csv").utterances}
    assert list(read) == [u.utterance_id for u in more]
    for i, before in enumerate(first):
        now = read[before.utterance_id]
        assert (now.labels["emotion"], now.split, now.position) == (f"joy{i}", "val", before.position)
    assert read["day1/aa"].labels["emotion"] == ""
    (folder / "day2/c.srt").write_text("1\n00:00:00,000 --> 00:00:01,500\nhi\n")
    known = read_labels(folder / "m.csv", cut_clips([folder], Cutting()).utterances)
    assert [str(problem) for problem in known.problems] == [
        "line 5: 'day2/c_1' begins or ends at another time here; were the clips cut in another way (--window, --whole)?"
    ]
    assert known.strangers == ("day2/c_2",)


def test_times_in_a_table_are_read_as_in_a_manifest(folder: Path) -> None:
    table = "utterance_id,start,end,emotion\nday2/c_1,NA,0:00:01.0,joy\nday2/c_2,1.0004,x,fear\nday1/b,,NA,calm\n"
    (folder / "day2/c.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhi\n\n2\n00:00:01,000 --> 00:00:02,000\nho\n")
    known = _known(folder, table)
    assert _emotions(known) == ["", "calm", "", "", ""]
    assert [problem.line for problem in known.problems] == [2, 3]
    assert "end 'x' is not a time" in str(known.problems[1])


def test_columns_that_differ_in_capitals_alone_are_two(folder: Path) -> None:
    known = _known(folder, "File,file,Speaker,speaker,emotion\nday1/a.wav,b.wav,Ann,,joy\n")
    assert _emotions(known) == ["", "joy", "", "", ""]  # `file` names clips, `File` is a column of its own
    assert known.cells[1]["Speaker"] == "Ann"
    assert known.cells[1]["speaker"] == ""


def test_a_column_is_ours_with_blanks_and_hyphens_too(folder: Path) -> None:
    assert _emotions(_known(folder, "File Name,emotion\nb.wav,joy\n")) == ["", "joy", "", "", ""]
    assert _emotions(_known(folder, "utterance-id,emotion\nday1/b,joy\n")) == ["", "joy", "", "", ""]


def test_of_two_spellings_of_one_column_neither_is_ours() -> None:
    assert known_names(["SPLIT", "Split", "Speaker"], ["split", "speaker"]) == {"Speaker": "speaker"}


def test_the_exact_path_names_one_of_namesakes(tmp_path: Path) -> None:
    for name in ("A/x.wav", "a/x.wav", "Caf\u0065\u0301.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"media")
    known = _known(tmp_path, "file,emotion\nA/x.wav,sad\nCaf\u00e9.wav,joy\n")
    assert known.problems == known.strangers == ()
    named = {
        u.utterance_id: cells.get("emotion")
        for u, cells in zip(cut_clips([tmp_path], Cutting()).utterances, known.cells, strict=True)
    }
    assert named == {"A/x": "sad", "a/x": None, "Caf\u0065\u0301": "joy"}
