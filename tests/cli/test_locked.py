"""Two processes on one output: the second says so at once, whatever the command, and before it looks at anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imer.core.locks import output_lock

COMMANDS = {
    "mask": ("mask", "absent.h5", "--missing-rate", "0.5"),
    "data import": ("data", "import", "arrays", "--manifest", "absent.csv", "--features", "audio=absent.npy"),
    "data merge": ("data", "merge", "absent-1.h5", "absent-2.h5"),
    "export": ("export", "absent"),
    "predict": ("predict", "absent", "absent.mp4"),
    "report": ("report", "absent"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_another_process_makes_is_left_to_it(imer: Callable, tmp_path: Path, name: str) -> None:
    out = tmp_path / ("out.md" if name == "report" else "out.h5")
    with output_lock(out):
        done = imer(*COMMANDS[name], "-o", out)
    assert done.code == 6, done.err
    assert done.err.startswith(f"imer {name}: error: {out} is locked by process ")
    assert [path.name for path in tmp_path.iterdir()] == []
    assert imer(*COMMANDS[name], "-o", out).code == 4  # free again: now it looks at what it is given
    assert [path.name for path in tmp_path.iterdir()] == []
