"""First uses of compiled code queue up, and a killed holder does not keep the others waiting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imer.extractors.compiling import compiling_alone

_TRY = """
import fcntl
from imer.extractors.compiling import cache_folder
file = open(cache_folder() / "compiling.lock", "a")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("free")
except BlockingIOError:
    print("held")
"""


def test_without_a_writable_home_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with compiling_alone():
        pass
    with pytest.raises(OSError, match="its own"), compiling_alone():
        raise OSError("its own")


def test_one_process_at_a_time() -> None:
    with compiling_alone():
        assert (
            subprocess.run([sys.executable, "-c", _TRY], capture_output=True, text=True, check=True).stdout == "held\n"
        )


_WITHOUT_A_PLACE = """
from numba.core import caching
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]  # no other folder can be written to
from imer.core.errors import MissingDependency
from imer.extractors.librosa import Prosody
try:
    Prosody().load("cpu")
except MissingDependency as error:
    print(error)
"""


def test_a_system_that_can_only_be_read_is_told_what_to_set() -> None:
    """As in a container: neither the packages nor the home folder can be written to."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_A_PLACE], env=environment, capture_output=True, text=True, check=True
    )
    assert "set NUMBA_CACHE_DIR to a folder" in done.stdout
