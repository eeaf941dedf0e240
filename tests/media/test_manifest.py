"""The front door: every broken row is reported with its line, every other row is used."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from imer.core.errors import InvalidInput
from imer.media.manifest import read_manifest


def manifest(tmp_path: Path, text: str, name: str = "m.csv", encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_columns_paths_and_labels(tmp_path: Path) -> None:
    text = (
        "utterance_id,media,audio,start,end,text,dialogue_id,position,speaker,session,split,emotion,mood\n"
        'u1,a.mp4,,0.5,2,"one, two",d1,3,ann,s1,valid,happy,3\n'
        "u2,a.mp4,b.wav,,,,,,,,,,\n"
    )
    read = read_manifest(manifest(tmp_path, text))
    one, two = read.utterances
    assert (one.audio, one.visual) == (tmp_path / "a.mp4", tmp_path / "a.mp4")
    assert (one.start_s, one.end_s, one.text, one.position, one.split) == (0.5, 2.0, "one, two", 3, "val")
    assert one.labels == {"emotion": "happy", "mood": "3"}
    assert (two.audio, two.visual, two.dialogue_id, two.text) == (tmp_path / "b.wav", tmp_path / "a.mp4", "u2", "")
    assert not read.problems
    assert read.n_rows == 2


@pytest.mark.parametrize("name", ["m.tsv", "m.jsonl"])
def test_the_other_formats_say_the_same(tmp_path: Path, name: str) -> None:
    rows = {
        "m.tsv": "utterance_id\ttext\tsentiment\nu1\thé \u2028 \x85 you\t1.5\n",
        "m.jsonl": '{"utterance_id": "u1", "text": "hé \u2028 \x85 you", "sentiment": 1.5}\n\n',
    }
    (utterance,) = read_manifest(manifest(tmp_path, rows[name], name)).utterances
    assert (utterance.text, utterance.labels) == ("hé \u2028 \x85 you", {"sentiment": "1.5"})
    assert utterance.audio is None


def test_every_broken_row_is_reported_with_its_line(tmp_path: Path) -> None:
    text = (
        "utterance_id,media,start,end,position,split,sentiment\n"
        "good,a.wav,,,,,\n"  # 2
        ",a.wav,,,,,\n"
        "good,a.wav,,,,,\n"
        "u5,../up.wav,,,,,\n"
        "u6,http://host/a.wav,,,,,\n"
        "u7,a.wav,2,1,,,\n"
        "u8,a.wav,-1,,,,\n"
        "u9,a.wav,,,1.5,,\n"
        "u10,a.wav,,,,dev2,\n"
        "u11,a.wav,,,,,nice\n"
        "u12,a.wav\n"  # 12
        "u13,concat:a|b,,,,,\n"
        "u14,a.wav,nan,,,,\n"
        "u15,a\x00b,,,,,\n"
        "last,,,,,,\n"  # 16
    )
    read = read_manifest(manifest(tmp_path, text))
    assert [u.utterance_id for u in read.utterances] == ["good", "last"]
    assert [p.line for p in read.problems] == list(range(3, 16))
    words = ["is empty", "already on line 2", "outside", "URL", "not after", "not a time", "whole number", "train, val, test",
             "not a number", "2 cells where the header has 7", "protocol", "not a time", "NUL"]  # fmt: skip
    for problem, word in zip(read.problems, words, strict=True):
        assert word in problem.message
    assert read.n_rows == 15
    assert [u.row for u in read.utterances] == [0, 14]


def test_a_path_may_leave_its_root_when_allowed(tmp_path: Path) -> None:
    path = manifest(tmp_path, "utterance_id,media\nu1,../up.wav\n")
    (utterance,) = read_manifest(path, allow_outside=True).utterances
    assert utterance.audio == tmp_path / "../up.wav"


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    path = manifest(root, "utterance_id,media\nu1,link/up.wav\nu2,ok.wav\n")
    assert [p.utterance_id for p in read_manifest(path).problems] == ["u1"]


def test_a_circle_of_links_costs_its_row(tmp_path: Path) -> None:
    (tmp_path / "circle.wav").symlink_to("circle.wav")
    path = manifest(tmp_path, "utterance_id,media\nu1,circle.wav\nu2,ok.wav\n")
    read = read_manifest(path)
    assert [p.utterance_id for p in read.problems] == ["u1"]
    assert "cannot be followed" in read.problems[0].message


def test_a_number_has_no_underscores(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("utterance_id,text,start,end\na,x,1_0,2_0\nb,x,1,2\n")
    table = read_manifest(tmp_path / "m.csv")
    assert [u.utterance_id for u in table.utterances] == ["b"]
    assert "'1_0' is not a time" in str(table.problems[0])


@pytest.mark.parametrize(
    ("text", "name", "encoding", "words"),
    [
        ("", "m.csv", "utf-8", "empty"),
        ("utterance_id,text\n", "m.csv", "utf-8", "no rows"),
        ("id,text\nu,x\n", "m.csv", "utf-8", "no column utterance_id, which every manifest needs; it has id, text[.]"),
        ("utterance_id,a,a\nu,1,2\n", "m.csv", "utf-8", "more than once"),
        ("utterance_id\nü\n", "m.csv", "latin-1", "not UTF-8 text .line 2."),
        ("utterance_id\n", "m.csv", "utf-16", "no rows"),
        ("utterance_id\nu\n", "m.xlsx", "utf-8", "expected a .csv, .tsv or .jsonl"),
        ("utterance_id\ttext\nu\thello\n", "m.txt", "utf-8", "set apart by tabs is a .tsv: rename it"),
        ("utterance_id,split\nu,x\nv,y\n", "m.csv", "utf-8", "no usable row"),
        ('["a"]\n', "m.jsonl", "utf-8", "no column utterance_id"),
    ],
)
def test_faults_of_the_whole_file(tmp_path: Path, text: str, name: str, encoding: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_manifest(manifest(tmp_path, text, name, encoding))


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(InvalidInput, match="not a file"):
        read_manifest(tmp_path / "d.csv")


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = manifest(tmp_path, "\ufeffutterance_id,text\r\nu1,hello\r\n")
    assert read_manifest(path).utterances[0].text == "hello"


def test_unicode_text_of_excel(tmp_path: Path) -> None:
    path = manifest(tmp_path, "utterance_id\ttext\tstart\r\nu1\tgrüß dich\t1.5\r\n", "m.tsv", "utf-16")
    (utterance,) = read_manifest(path).utterances
    assert (utterance.text, utterance.start_s) == ("grüß dich", 1.5)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("00:00:00.400", 0.4),
        ("00:03:33.041", 213.041),
        ("1:02:03", 3723.0),
        ("00:01:02,5", 62.5),
        ("3:33.041", 213.041),
        ("03:33,0", 213.0),
        ("123:00:00", 442800.0),
    ],
)
def test_clock_times_are_the_same_numbers_as_seconds(written: str, seconds: float, tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text(f"utterance_id\tmedia\tstart\nu1\ta.wav\t{written}\n")
    (utterance,) = read_manifest(tmp_path / "m.tsv").utterances
    assert utterance.start_s == seconds


@pytest.mark.parametrize(
    "written",
    [
        "1:02",
        "0:60:00",
        "0:00:60",
        "0:0:0:1",
        "-0:00:01",
        "0:00:1.5",
        "1:02:03 PM",
        ":01.5",
        "0:01:",
        "0:00:01;12",
        "٠:٠١:٠٢",
    ],
)
def test_what_may_be_several_times_is_none(written: str, tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text(f"utterance_id\ttext\tstart\nu1\thi\t{written}\nu2\tho\t\n")
    (problem,) = read_manifest(tmp_path / "m.tsv").problems
    assert problem.message == (
        f"u1: start {written!r} is not a time in seconds; write hours, minutes and seconds as 0:01:02.5"
    )


def test_paths_as_windows_and_macos_write_them(tmp_path: Path) -> None:
    """Where no file is called so to the letter."""
    (tmp_path / "day").mkdir()
    for name in ("day/a.wav", "day\\b.wav", "day/b.wav", "day/gr\u00fcn.wav", "day/blau\u0308.wav"):
        (tmp_path / name).touch()
    names = ["day\\a.wav", "day\\b.wav", "day\\gru\u0308n.wav", "day/bla\u00fc.wav", "day\\none.wav", "..\\up.wav"]
    (tmp_path / "m.tsv").write_text(
        "\n".join(["utterance_id\tmedia", *(f"u{i}\t{name}" for i, name in enumerate(names))])
    )
    read = read_manifest(tmp_path / "m.tsv")
    found = [u.audio.relative_to(tmp_path).as_posix() for u in read.utterances if u.audio]
    assert found[:5] == ["day/a.wav", names[1], "day/gr\u00fcn.wav", "day/blau\u0308.wav", names[4]]
    (tmp_path.parent / "up.wav").touch()
    (problem,) = read_manifest(tmp_path / "m.tsv").problems
    assert "lies outside the manifest's folder" in problem.message


@pytest.mark.real
@pytest.mark.parametrize(
    ("corpus", "n"), [("grid", 11), ("emodb", 535), ("ravdess", 1440), ("mosi", 2199), ("meld", 3716)]
)
def test_real_manifests(shared_data: Path, corpus: str, n: int) -> None:
    read = read_manifest(shared_data / corpus / "manifest.csv")
    assert (len(read.utterances), read.problems) == (n, ())


def test_labels_that_are_not_available_are_empty(tmp_path: Path) -> None:
    """As R and pandas write them."""
    path = tmp_path / "m.csv"
    path.write_text("utterance_id,text,emotion,sentiment\na,NA,NA,nan\nb,hi,joy,0.5\n")
    first, second = read_manifest(path).utterances
    assert (first.text, first.labels) == ("", {"emotion": "", "sentiment": ""})
    assert second.labels == {"emotion": "joy", "sentiment": "0.5"}


def test_what_is_not_available_is_empty_in_every_column(tmp_path: Path) -> None:
    text = (
        "utterance_id,media,start,end,text,dialogue_id,position,speaker,split\n"
        "NA,a.wav,NA,N/A,NA,NA,NA,NA,NA\n"
        "u2,nan,,,NA yes,,,,\n"
    )
    read = read_manifest(manifest(tmp_path, text))
    assert not read.problems
    one, two = read.utterances
    assert (one.utterance_id, one.text, one.dialogue_id, one.speaker, one.split) == ("NA", "", "NA", "", "")
    assert (one.start_s, one.end_s) == (None, None)
    assert (two.audio, two.text) == (None, "NA yes")
    (line,) = read_manifest(manifest(tmp_path, '{"utterance_id": "a", "text": NaN}\n', "m.jsonl")).utterances
    assert line.text == ""


def test_columns_are_known_whatever_their_capitals(tmp_path: Path) -> None:
    read = read_manifest(manifest(tmp_path, "Utterance_ID,Media,START,Text,Emotion\nu1,a.wav,1.5,hm,joy\n"))
    (utterance,) = read.utterances
    assert (utterance.start_s, utterance.text, utterance.labels) == (1.5, "hm", {"Emotion": "joy"})
    assert read.columns == ("utterance_id", "media", "start", "text", "Emotion")
    (both,) = read_manifest(manifest(tmp_path, "utterance_id,text,Text\nu1,mine,a label\n")).utterances
    assert (both.text, both.labels) == ("mine", {"Text": "a label"})


def test_the_semicolons_of_spreadsheets(tmp_path: Path) -> None:
    (utterance,) = read_manifest(manifest(tmp_path, 'utterance_id;text\r\nu1;"one, two; three"\r\n')).utterances
    assert utterance.text == "one, two; three"
    (utterance,) = read_manifest(manifest(tmp_path, "utterance_id\ttext\nu1\tone, two\n", "m.csv")).utterances
    assert utterance.text == "one, two"


def test_the_channel_of_a_party(tmp_path: Path) -> None:
    rows = "a,left\nb,Right\nc,3.0\nd,\ne,0\nf,middle\ng,1.5\n"
    read = read_manifest(manifest(tmp_path, "utterance_id,audio_channel\n" + rows))
    assert [(u.utterance_id, u.channel) for u in read.utterances] == [("a", 1), ("b", 2), ("c", 3), ("d", None)]
    assert [p.utterance_id for p in read.problems] == ["e", "f", "g"]
    assert "audio_channel 'middle' is not left, right or a number from 1" in str(read.problems[1])


def test_the_transcript_of_a_long_recording_has_room_in_a_cell(tmp_path: Path) -> None:
    said = "well, " * 100_000
    read = read_manifest(manifest(tmp_path, f'utterance_id,text\nu1,"{said}"\n'))
    assert [u.text for u in read.utterances] == [said]
    assert not read.problems


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = manifest(tmp_path, "utterance_id\nu1\n")

    def failing(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(InvalidInput, match=r"The manifest .*m\.csv cannot be read \(Input/output error\)"):
        read_manifest(path)
