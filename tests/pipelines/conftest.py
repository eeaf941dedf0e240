"""Runs the shipped scripts as a user would, with the `imer` of this environment first on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_script(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pipelines/<name> with one thread a process; the given variables come on top of the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", str(ROOT / "pipelines" / name), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=900,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.fixture(scope="session")
def script() -> Callable[..., subprocess.CompletedProcess[str]]:
    return run_script


SMALL = {"IMER_DEMO_UTTERANCES": "12", "IMER_DEMO_EPOCHS": "1", "IMER_DEMO_MASK_SEEDS": "1"}


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder and the finished process of one small quickstart, which all tests share."""
    folder = tmp_path_factory.mktemp("quickstart") / "demo"
    return folder, run_script("quickstart.sh", folder, **SMALL)
