"""errors.jsonl: outputs of one folder share it, whoever writes at the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from imer.core.json_lines import read_json_lines
from imer.extraction.failures import write_errors

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
