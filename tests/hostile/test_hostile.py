"""A part of the hostile corpus through the real command line; all of it: `python -m tests.hostile.run`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.encode import Originals
from tests.hostile.generate import Corpus, all_cases, build
from tests.hostile.judge import differing, judge
from tests.hostile.run import extract, faults_of
from tests.hostile.watch import Switchboard, Tripwire

HOW = ("--text", "none", "--workers", "1", "--json")
CASES = [case for case in all_cases() if case.fast]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="devices, pipes and /proc are those of Linux")


@pytest.fixture(scope="module")
def board() -> Iterator[Switchboard]:
    with Switchboard() as board:
        yield board


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, board: Switchboard) -> Iterator[Corpus]:
    corpus = build(tmp_path_factory.mktemp("hostile") / "corpus", board.port, CASES, few_good=True)
    yield corpus
    for folder in [path for path in corpus.root.rglob("*") if path.is_dir() and not path.is_symlink()]:
        folder.chmod(0o700)


def test_the_table_is_large_and_says_one_thing_of_each_file() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases) >= 300
    assert {case.family for case in cases} - {case.family for case in CASES} <= {
        "flipped",
        "misnamed",
        "overwritten",
        "text",
    }
    for case in cases:
        for expected in (case.audio, case.visual, case.text):
            assert len(expected.split("|")) <= 5, f"{case.name}: {expected} says nothing"


def test_the_clips_that_all_is_made_of_are_the_same_every_time(tmp_path: Path) -> None:
    first, again = Originals(tmp_path / "first"), Originals(tmp_path / "again")
    for kind in ("mp4", "webm", "ogg"):
        assert first[kind] == again[kind]


def test_one_bad_file_costs_exactly_that_file(corpus: Corpus, board: Switchboard, tmp_path: Path) -> None:
    """Stopped early by its failures, the same command goes on to every verdict of the table, and nothing else happens."""
    wire = Tripwire(corpus.world.outside)
    out = tmp_path / "all.h5"
    stopped = extract(corpus.manifest, "-o", out, *HOW, "--max-failures", "20", limit_s=300)
    assert faults_of(stopped, "stopped", 3) == []
    assert "--max-failures 20" in stopped.err
    assert not out.exists()
    whole = extract(corpus.manifest, "-o", out, *HOW, limit_s=300)
    assert faults_of(whole, "whole", 3) == []
    assert whole.json["status"] == "partial"
    assert whole.json["counts"]["reused"] > 0
    assert judge(corpus, out, ("audio", "visual")).wrong == []
    assert wire.touched() == []
    assert board.calls() == 0
    alone = extract(corpus.good_manifest, "-o", tmp_path / "good.h5", *HOW, limit_s=300)
    assert faults_of(alone, "good clips alone", 0) == []
    assert differing(tmp_path / "good.h5", out) == []
    wire.close()


def test_the_wire_and_the_board_notice(tmp_path: Path) -> None:
    """What watches over the runs above would see a file that is opened, and a call."""
    import socket

    (tmp_path / "canary").write_text("sings")
    wire = Tripwire(tmp_path)
    assert wire.touched() == []
    (tmp_path / "canary").read_text()
    assert "canary" in wire.touched()
    wire.close()
    with Switchboard() as board:
        assert board.calls() == 0
        with socket.create_connection(("127.0.0.1", board.port), timeout=5):
            assert board.calls() == 1
