"""The network guard of the suite itself."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest


def test_the_guard_stands_in_this_process_and_in_every_child() -> None:
    with pytest.raises(PermissionError, match="no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr
