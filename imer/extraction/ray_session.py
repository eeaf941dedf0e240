"""A Ray that is started here and ends without a trace, or a cluster that is joined and left."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imer.core.errors import MissingDependency
from imer.core.processes import is_alive, process_entry, start_ticks

OBJECT_STORE_BYTES = 75 << 20  # the least that Ray accepts; what does not fit goes to disk
FAREWELL_S = 5.0  # for Ray's processes to end by themselves
CONNECT_S = 10.0  # within which a cluster must answer
MAX_FOLDER_LENGTH = 20  # Ray's sockets lie some 80 characters deeper, and a socket's name has 103 at most
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report to its makers
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of its statistics; what fails in the work is raised here
}
# Of a Ray that is started here, and not of a cluster that is joined.
_AT_HOME = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # read when Ray is imported: it then listens on this machine's loopback alone
    "RAY_AUTH_MODE": "token",
}


class RaySession:
    """Within: Ray runs with so many workers here, or is that at an address; one that runs already is left as it is.

    Raises
    ------
    MissingDependency
        No cluster can be joined at the address.
    """

    def __init__(self, workers: int, address: str | None) -> None:
        self._workers, self._address = workers, address
        self._folder: str | None = None
        self._started = False
        self._before: dict[str, str | None] = {}  # variables of the environment that are put back

    def __enter__(self) -> Self:
        os.environ.update(_QUIET)
        if self._address is None:
            token = {} if _has_token() else {"RAY_AUTH_TOKEN": secrets.token_hex(32)}  # Ray would keep one in ~/.ray
            self._before = {name: os.environ.get(name) for name in (*_AT_HOME, *token)}
            os.environ.update(_AT_HOME | token)
        import ray

        if ray.is_initialized():
            return self
        self._started = True
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        stopped_by = 0
        try:
            with _silenced():
                if self._address is None:
                    self._start_here(ray)
                else:
                    self._join(ray, self._address)
        except SystemExit:  # Ray's own answer to SIGTERM, which it takes for itself while it starts
            stopped_by = signal.SIGTERM
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        finally:
            for number, handler in handlers.items():
                with suppress(ValueError):  # not in the main thread: then Ray has not changed them either
                    signal.signal(number, handler)
        if stopped_by:
            self.__exit__(None, None, None)
            os.kill(os.getpid(), stopped_by)  # and now the program's own
        return self

    def _start_here(self, ray: Any) -> None:
        usual = tempfile.gettempdir()
        self._folder = tempfile.mkdtemp(prefix="imer-ray-", dir=usual if len(usual) <= MAX_FOLDER_LENGTH else "/tmp")
        with _without_api_server():
            ray.init(
                address="local",
                num_cpus=self._workers,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _temp_dir=self._folder,
            )

    def _join(self, ray: Any, address: str) -> None:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            if host and port.isdecimal():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            why = str(error).splitlines()[0].split(". ")[0].rstrip(".")
            raise MissingDependency(
                f"No Ray cluster can be joined at {address} ({why}); one that was started with a token wants it here, too: "
                "RAY_AUTH_MODE=token, with the head's ~/.ray/auth_token."
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            import ray

            started = _processes_of(self._folder) if self._folder is not None else {}
            ray.shutdown()
            _see_off(started)
            for pid in started:  # what joblib made in a worker that was killed before it could clear up
                for semaphore in Path("/dev/shm").glob(f"sem.loky-{pid}-*"):
                    semaphore.unlink(missing_ok=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _has_token() -> bool:
    return any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))


@contextmanager
def _without_api_server() -> Iterator[None]:
    """Start Ray without the server of its dashboard, which nobody asked for: it looks for the cloud's metadata address.

    It does so whether it may report its use or not, and no setting of Ray keeps it from that.
    """
    from ray._private.node import Node

    before = getattr(Node, "start_api_server", None)
    if before is None:  # another Ray, which has no such server
        yield
        return
    # A method is replaced, which no type checker likes: Ray has no setting for it.
    Node.start_api_server = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Node.start_api_server = before  # type: ignore[method-assign]


def _processes_of(folder: str) -> dict[int, str | None]:
    """Return the processes of a Ray that lives in a folder, and all that they started, each with its start time."""
    children: dict[int, list[int]] = {}
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):  # it has just ended
            pid = int(entry.name)
            parent = int(process_entry(pid)[1])
            children.setdefault(parent, []).append(pid)
            if folder in (entry / "cmdline").read_text(errors="replace") and parent == os.getpid():
                found.append(pid)
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return {pid: start_ticks(pid) for pid in found}


def _see_off(processes: Mapping[int, str | None]) -> None:
    """Wait for processes to end, and end those that do not: Ray's own are on their way, but nobody waits for them."""
    deadline = time.monotonic() + FAREWELL_S
    for pid, started in processes.items():
        while _runs(pid, started) and time.monotonic() < deadline:
            time.sleep(0.05)
        if _runs(pid, started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _runs(pid: int, started: str | None) -> bool:
    """Say whether that very process is there and is more than an entry that waits for its parent."""
    with suppress(OSError, IndexError):
        return process_entry(pid)[0] != "Z" and is_alive(pid, started)
    return False


@contextmanager
def _silenced() -> Iterator[None]:
    """Send stderr nowhere: Ray's C++ part writes to it past every logger while it starts."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
