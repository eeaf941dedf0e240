"""Utterances stand in the order that the manifest gives them, whatever it leaves out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from imer.media.manifest import read_manifest


def order(tmp_path: Path, positions: list[str], starts: list[str] | None = None) -> list[str]:
    """Return the utterances of one dialogue in its order; they are named u0, u1 … by their rows."""
    starts = starts or [""] * len(positions)
    rows = [f"u{i},d,{p},{s}" for i, (p, s) in enumerate(zip(positions, starts, strict=True))]
    path = tmp_path / "m.csv"
    path.write_text("\n".join(["utterance_id,dialogue_id,position,start", *rows]) + "\n")
    found = sorted(read_manifest(path).utterances, key=lambda u: u.position)
    return [u.utterance_id for u in found]


@pytest.mark.parametrize(
    ("positions", "starts", "expected"),
    [
        (["", "", ""], None, "012"),
        (["", "", ""], ["5", "1", "3"], "120"),
        (["", "", ""], ["5", "", "3"], "012"),
        (["2", "0", "1"], ["0", "1", "2"], "120"),
        (["-1", "-3", "-2"], None, "120"),
        (["-1", "0", "1e3"], None, "012"),
    ],
)
def test_an_order_without_doubt(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    positions: list[str],
    starts: list[str] | None,
    expected: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert order(tmp_path, positions, starts) == [f"u{digit}" for digit in expected]
    assert not caplog.records


@pytest.mark.parametrize(
    ("positions", "starts", "expected", "words"),
    [
        (["5", "", "4", "2"], None, "0123", "only some utterances of 1 dialogue have a position (d)"),
        (["0", "NA", "2"], ["9", "8", "7"], "210", "only some utterances"),
        (["1", "0", "1"], None, "102", "utterances of 1 dialogue share a position (d)"),
    ],
)
def test_a_doubtful_order_is_said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    positions: list[str],
    starts: list[str] | None,
    expected: str,
    words: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert order(tmp_path, positions, starts) == [f"u{digit}" for digit in expected]
    assert words in caplog.text


def test_positions_follow_start_times_else_the_order_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("utterance_id,dialogue_id,start\nb,d,5\na,d,1\nc,e,\nd,e,0\n")
    positions = {u.utterance_id: u.position for u in read_manifest(path).utterances}
    assert positions == {"a": 0, "b": 1, "c": 0, "d": 1}


def test_a_number_that_is_not_exact_is_no_position(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("utterance_id,position\na,1e300\nb,1\n")
    assert [problem.utterance_id for problem in read_manifest(path).problems] == ["a"]


def test_a_clip_that_is_called_as_a_dialogue_is_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m.csv"
    path.write_text("utterance_id,dialogue_id\ncall7,\na0,call7\na1,call7\nsingle,\n")
    with caplog.at_level(logging.WARNING):
        read_manifest(path)
    assert "1 utterance bears the name of a dialogue (call7)" in caplog.text
