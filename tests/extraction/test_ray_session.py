"""A Ray that is started here keeps to itself; one of others is joined with its token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Prints which addresses the processes of such a Ray listen on, and what is left in the environment.
STARTED = """
import json, os
from pathlib import Path
from imer.extraction.ray_session import RaySession, _processes_of

def sockets(pid):
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield os.readlink(entry)
        except OSError:
            pass

if __name__ == "__main__":
    with RaySession(1, None) as session:
        pids = list(_processes_of(session._folder))
        theirs = {name[8:-1] for pid in pids for name in sockets(pid) if name.startswith("socket:")}
        lines = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
        heard = [fields[1].partition(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in theirs]
    left = [name for name in os.environ if name.startswith("RAY_AUTH")]
    print(json.dumps({"processes": len(pids), "addresses": sorted(set(heard)), "left": left}))
"""


def _in_a_new_home(folder: Path, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a user whom Ray has never met."""
    (folder / "home").mkdir()
    (folder / "program.py").write_text(program)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **variables}
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), environment.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, folder / "program.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_it_listens_to_this_machine_alone_and_keeps_nothing_at_home(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = _in_a_new_home(tmp_path, STARTED)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["processes"] > 0
    assert set(found["addresses"]) <= {
        "0100007F",
        "0000000000000000FFFF00000100007F",
        "00000000000000000000000001000000",
    }
    assert found["addresses"]
    assert found["left"] == []
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


JOINED = """
from imer.core.errors import MissingDependency
from imer.extraction.ray_session import RaySession
import socket

with socket.create_server(("127.0.0.1", 0)) as head:
    try:
        RaySession(1, f"127.0.0.1:{head.getsockname()[1]}").__enter__()
    except MissingDependency as error:
        print(error)
"""


def test_a_cluster_that_wants_a_token_says_so(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = _in_a_new_home(tmp_path, JOINED, RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stderr
    assert "no authentication token was found); one that" in done.stdout
    assert "~/.ray/auth_token" in done.stdout
