"""Every kind of model trains, answers and is read back on a device that is not the CPU, wherever no GPU is, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_everything_is_put_where_it_belongs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.on_another_device", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr[-3000:]
