"""First uses of compiled code queue up, and a killed holder does not keep the others waiting."""

from __future__ import annotations

import subprocess
import sys

from imer.extractors.compiling import compiling_alone

_TRY = """
import fcntl, os, tempfile
file = open(os.path.join(tempfile.gettempdir(), f"imer-compiling-{os.getuid()}.lock"), "a")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("free")
except BlockingIOError:
    print("held")
"""


def test_one_process_at_a_time() -> None:
    with compiling_alone():
        assert (
            subprocess.run([sys.executable, "-c", _TRY], capture_output=True, text=True, check=True).stdout == "held\n"
        )
