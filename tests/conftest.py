"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
GUARD = Path(__file__).parent / "guard"  # its sitecustomize refuses every connection that leaves this machine

SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "imer" / "cli" / "output.schema.json").read_text()))

# How long an example takes says more of what else the machine does than of `imer`.
settings.register_profile("imer", deadline=None)
settings.load_profile("imer")

# A job in the background of a shell starts with Ctrl-C ignored, and its children would too: the tests send it to them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

runpy.run_path(str(GUARD / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH", "")]))
# What `imer` keeps for later in the user's cache is kept apart from what the user has there.
os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.gettempdir()) / f"imer-tests-cache-{os.getuid()}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora beside the checkout; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real corpora are not here")
    return folder


def checked(document: Any) -> Any:
    """Return what `--json` printed, if it is as `imer ls schemas` says."""
    errors = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in SCHEMA.iter_errors(document)]
    assert not errors, errors
    return document


@dataclass
class Finished:
    """A finished run of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document that was printed, which keeps to the shipped schema."""
        return checked(json.loads(self.out))


def run_imer(*arguments: object, cwd: Path | None = None, timeout_s: float = 300, **environment: str) -> Finished:
    """Run the command line as a subprocess, as a shell would, with one thread and no network."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment}
    done = subprocess.run(
        [sys.executable, "-m", "imer", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd or ROOT, env=settings, timeout=timeout_s, check=False,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def imer() -> Callable[..., Finished]:
    return run_imer
