"""The five public functions, however often they are asked for, and whatever was imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import imer


@pytest.mark.parametrize("before", ["", "import imer.export.bundle", "import imer.export; import imer.export.publish"])
def test_a_public_function_stays_one(before: str, tmp_path: Path) -> None:
    code = f"""
{before}
import imer
from imer import export
for _ in range(2):
    for call in (imer.export, export):
        try:
            call({str(tmp_path / "gone")!r}, "out")
        except Exception as error:
            print(type(error).__name__)
from imer.export.bundle import load_bundle
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["InvalidInput"] * 4


def test_all_of_them_can_be_called() -> None:
    names = [name for name in imer.__all__ if name != "__version__"]
    assert names == ["evaluate", "export", "extract", "make_mask", "train"]
    assert all(callable(getattr(imer, name)) for name in names for _ in range(2))
