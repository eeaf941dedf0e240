"""errors.jsonl: outputs of one folder share it, whoever writes at the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imer.core.errors import UsageError
from imer.core.json_lines import read_json_lines
from imer.extraction.failures import clip_lines, failure_limit, write_errors
from imer.media.finding import ClipProblem

WRITER = """
import sys
from pathlib import Path
from imer.extraction.failures import write_errors
folder, name = Path(sys.argv[1]), sys.argv[2]
for n in range(6):
    write_errors(folder / name, [{"output": name, "n": n}])
"""


def line(output: str, n: int = 0) -> dict[str, object]:
    return {"output": output, "n": n}


def test_lines_of_other_outputs_stay(tmp_path: Path) -> None:
    write_errors(tmp_path / "a.h5", [line("a.h5"), line("a.h5", 1)])
    write_errors(tmp_path / "b.h5", [line("b.h5")])
    assert write_errors(tmp_path / "a.h5", []) is None
    assert read_json_lines(tmp_path / "errors.jsonl") == [line("b.h5")]
    assert write_errors(tmp_path / "b.h5", []) is None
    assert list(tmp_path.iterdir()) == []


def test_commands_that_end_at_the_same_moment_lose_nothing(tmp_path: Path) -> None:
    names = [f"{i}.h5" for i in range(4)]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in names]
    assert [writer.wait() for writer in writers] == [0] * 4
    found = read_json_lines(tmp_path / "errors.jsonl")
    assert sorted(found, key=lambda one: one["output"]) == [line(name, 5) for name in names]
    assert [path.name for path in tmp_path.iterdir()] == ["errors.jsonl"]


def test_a_limit_is_a_number_of_items_or_a_share_of_them() -> None:
    assert failure_limit(None, 150) is None
    limits = {"0": 0, "5": 5, "0%": 0, "2%": 3, "2.5%": 3, "100%": 150}
    assert {text: failure_limit(text, 150) for text in limits} == limits


@pytest.mark.parametrize("text", ["-1", "2.5", "nan", "inf", "-1%", "101%", "nan%", "%", "few", ""])
def test_a_limit_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--max-failures takes .* found"):
        failure_limit(text, 150)


def test_transcripts_are_no_failures_where_no_text_is_wanted(tmp_path: Path) -> None:
    """Of clips that cannot be read, every line says so; a folder that is away may be back another time."""
    problems = [
        ClipProblem("a", "it is no UTF-8", tmp_path / "a.txt"),
        ClipProblem("b", "b cannot be read", tmp_path / "b", "E-NOFILE"),
    ]
    lines = clip_lines(tmp_path / "out.jsonl", problems, text=True)
    told = [(line["utterance_id"], line["modality"], line["code"], line["stage"], line["retryable"]) for line in lines]
    assert told == [("a", "text", "E-TEXT", "decode", False), ("b", None, "E-NOFILE", "decode", True)]
    assert lines[0]["message"] == "it is no UTF-8."
    assert clip_lines(tmp_path / "out.jsonl", problems, text=False) == lines[1:]
