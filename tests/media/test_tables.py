"""A broken row of a table costs only itself, also where a quote is left open."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.core.errors import InvalidInput
from imer.media.manifest import read_manifest
from imer.media.tables import MAX_CELL_LINES, csv_row, table_rows

HEADER = "utterance_id,text\n"


def found(text: str) -> tuple[dict[str, str], list[int]]:
    """Return utterance → text, and the lines of the broken rows."""
    columns, rows = table_rows(text, ",", Path("m.csv"), "utterance_id")
    assert columns == ["utterance_id", "text"]
    good, broken = {}, []
    for line, cells in rows:
        if isinstance(cells, str):
            broken.append(line)
        else:
            good[cells["utterance_id"]] = cells["text"]
    return good, broken


@pytest.mark.parametrize(
    ("rows", "good", "broken"),
    [
        ('a,"unclosed\nb,hi\nc,ho\n', {"b": "hi", "c": "ho"}, [2]),
        ('a,x\nb,"stray\nc,y\nd,"quoted"\n', {"a": "x", "c": "y", "d": "quoted"}, [3]),
        ('"a,x\nb,y\n"c",z\n', {"b": "y", "c": "z"}, [2]),
        ('a,"one\ntwo"\nb,y\n', {"a": "one\ntwo", "b": "y"}, []),
        ('a,"say ""hi"""\r\nb,4" nails\r\n', {"a": 'say "hi"', "b": '4" nails'}, []),
        ("a,x,y\nb\n\nc,z", {"c": "z"}, [2, 3]),
    ],
)
def test_every_other_row_is_read(rows: str, good: dict[str, str], broken: list[int]) -> None:
    assert found(HEADER + rows) == (good, broken)


def test_a_quote_opened_in_a_long_table_is_cheap_and_alone() -> None:
    rows = [f"u{i},{i}" for i in range(5 * MAX_CELL_LINES)]
    for opened in (7, 2000, 4999):
        rows[opened] = f'u{opened},"{opened}'
    good, broken = found(HEADER + "\n".join(rows) + "\n")
    assert broken == [9, 2002, 5001]
    assert len(good) == 5 * MAX_CELL_LINES - 3


@given(st.lists(st.text(st.sampled_from('a,"\n \r;x'), max_size=12), min_size=1, max_size=8), st.integers(0, 7))
def test_what_comes_before_a_broken_row_is_untouched_and_what_comes_after_is_found(cells: list[str], at: int) -> None:
    rows = [f'u{i},"{cell.replace(chr(34), chr(34) * 2)}"' for i, cell in enumerate(cells)]
    expected = {f"u{i}": cell for i, cell in enumerate(cells)}
    assert found(HEADER + "\n".join(rows)) == (expected, [])
    rows.insert(at, 'broken,"x"y')
    good, broken = found(HEADER + "\n".join(rows))
    assert good == expected
    assert len(broken) == 1


def test_the_delimiter_is_the_one_that_sets_the_ids_apart(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('Utterance_ID;text;"note, a"\nu1;hello, you;b\n')
    (utterance,) = read_manifest(path).utterances
    assert (utterance.text, utterance.labels) == ("hello, you", {"note, a": "b"})


def test_a_header_that_is_none() -> None:
    with pytest.raises(InvalidInput, match="line 1, is not a table header"):
        table_rows('"utterance_id,text\na,b\n', ",", Path("m.csv"), "utterance_id")


def test_names_that_are_given_twice_or_too_long(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"utterance_id": "a", "utterance_id": "b"}\n{"utterance_id": "c"}\n')
    read = read_manifest(path)
    assert [u.utterance_id for u in read.utterances] == ["c"]
    assert "utterance_id is named more than once" in read.problems[0].message
    (tmp_path / "m.csv").write_text(f"utterance_id,{'x' * 70_000}\na,1\n")
    with pytest.raises(InvalidInput, match=r"column name x+… is longer than 512 bytes"):
        read_manifest(tmp_path / "m.csv")


def test_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    """A line that names the delimiter, columns that somebody emptied, a comma as the decimal sign."""
    path = tmp_path / "m.csv"
    rows = ["u1;1,5;0,5;1;;", "u2;c;;-1,5; ;", "u3;d;;2,5,1;;x", "u4;e;1.5;;;"]
    path.write_text("\r\n".join(["sep=;", "utterance_id;text;start;sentiment;;", *rows, ""]))
    read = read_manifest(path)
    found = [(u.utterance_id, u.text, u.start_s, u.labels["sentiment"]) for u in read.utterances]
    assert found == [("u1", "1,5", 0.5, "1"), ("u2", "c", None, "-1.5"), ("u4", "e", 1.5, "")]
    assert read.columns == ("utterance_id", "text", "start", "sentiment")
    assert [str(problem) for problem in read.problems] == ["line 5: u3: sentiment '2,5,1' is not a number"]
    path.write_text('utterance_id,text,start\nu1,a,"0,5"\nu2,b,1\n')  # the comma may mean something else here
    (problem,) = read_manifest(path).problems
    assert str(problem) == "line 2: u1: start '0,5' is not a time in seconds; write it with a decimal point"


def test_the_row_numbers_of_r_and_pandas_are_no_column(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(",utterance_id,text\n0,a,b\n1,c,d\n")
    read = read_manifest(tmp_path / "m.csv")
    assert [(u.utterance_id, u.text, u.labels) for u in read.utterances] == [("a", "b", {}), ("c", "d", {})]
    assert read.problems == ()


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), max_size=5))
def test_what_is_written_is_what_is_read(cells: list[list[str]]) -> None:
    """Carriage returns, too, which the `csv` module leaves bare where lines end in a line feed."""
    written = "".join(map(csv_row, cells))
    assert [row for row in csv.reader(io.StringIO(written, newline=""), strict=True) if row] == cells


@pytest.mark.parametrize("text", ["", "sep=,", "sep=,\n"])
def test_a_table_of_nothing(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a table header"):
        table_rows(text, ",", Path("m.csv"), "utterance_id")
