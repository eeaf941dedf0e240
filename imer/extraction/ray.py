"""The engine on Ray Data: the same tasks as the local engine's, done by actors on one machine or on a cluster.

Every actor guards its clips as the local engine does, by a worker process of its own: a clip that kills or hangs its
worker is judged by the same rules. What travels is plain: task numbers one way, JSON and float32 bytes the other.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from imer.core import errors
from imer.core.errors import ImerError, MissingDependency
from imer.core.processes import is_alive, process_entry, start_ticks
from imer.core.types import Verdict
from imer.extraction.engines import Outcome
from imer.extraction.local import LocalEngine
from imer.extraction.plan import Task, TextTask
from imer.extraction.recipe import Recipe
from imer.extraction.work import CellResult
from imer.extractors.base import Extracted

OBJECT_STORE_BYTES = 75 << 20  # the least that Ray accepts; what does not fit goes to disk
FAREWELL_S = 5.0  # for Ray's processes to end by themselves
CONNECT_S = 10.0  # within which a cluster must answer
MAX_FOLDER_LENGTH = 20  # Ray's sockets lie some 80 characters deeper, and a socket's name has 103 at most
TEXTS_PER_BLOCK = 10  # text tasks that one actor does in a row, so that few actors load the text model
MAX_BLOCKS = 2000  # of media tasks; Ray spends some milliseconds on each
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


class RayEngine:
    """Actors of a Ray that is started here and ended again, or of a cluster at an address."""

    def __init__(self, recipe: Recipe, workers: int, address: str | None) -> None:
        self._recipe, self._workers, self._address = recipe, workers, address
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

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yield the outcome of every task, as they come.

        Raises
        ------
        ImerError
            An actor says that its models cannot be loaded, or its workers die before they have done anything.
        """
        import pyarrow
        import ray
        import ray.data

        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        blocks = _blocks(tasks)
        on_gpu = self._recipe.device != "cpu"
        rows = ray.data.from_arrow([pyarrow.table({"task": block}) for block in blocks]).map_batches(
            _Station,
            fn_constructor_args=(self._recipe, [ray.put(list(tasks))]),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=max(min(self._workers, len(blocks)), 1)),
            num_cpus=1,
            num_gpus=1 if on_gpu else None,
        )
        for row in rows.iter_rows():
            yield decoded(tasks[row["task"]], row["header"], row["values"])


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
    Node.start_api_server = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Node.start_api_server = before  # type: ignore[method-assign]


class _Station:
    """What an actor runs: a local engine with one worker, kept from task to task."""

    def __init__(self, recipe: Recipe, tasks: list[Any]) -> None:
        import ray

        self._tasks: Sequence[Task] = ray.get(tasks[0])
        # Ray shows an actor its own GPU and no other, whatever its number is on the machine.
        self._engine = LocalEngine(recipe if recipe.device == "cpu" else replace(recipe, device="cuda"), 1)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        number = int(batch["task"][0])
        try:
            found = [encoded(outcome) for outcome in self._engine.run([self._tasks[number]])]
        except ImerError as error:
            found = [(json.dumps({"fatal": [type(error).__name__, str(error)]}), b"")]
        headers, values = zip(*found, strict=True)
        return {"task": [number] * len(found), "header": list(headers), "values": list(values)}


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


def _blocks(tasks: Sequence[Task]) -> list[list[int]]:
    """Return task numbers by block: what an actor takes at a time. Texts are together, clips apart."""
    texts = [number for number, task in enumerate(tasks) if isinstance(task, TextTask)]
    media = [number for number, task in enumerate(tasks) if not isinstance(task, TextTask)]
    step = -(-len(media) // MAX_BLOCKS) or 1
    cut = [texts[i : i + TEXTS_PER_BLOCK] for i in range(0, len(texts), TEXTS_PER_BLOCK)]
    return cut + [media[i : i + step] for i in range(0, len(media), step)]


def encoded(outcome: Outcome) -> tuple[str, bytes]:
    """Return an outcome as (JSON, the float32 values of all its cells one after the other); of its task the rows only."""
    cells: list[dict[str, Any]] = []
    values: list[bytes] = []
    for cell in outcome.cells:
        array = cell.result.values_TD
        cells.append({
            "row": cell.row, "modality": cell.modality, "file": cell.file, "elapsed_s": cell.elapsed_s,
            "verdict": cell.result.verdict.name, "message": cell.result.message, "code": cell.result.code,
            "shape": None if array is None else list(array.shape),
        })  # fmt: skip
        if array is not None:
            values.append(np.ascontiguousarray(array, dtype="<f4").tobytes())
    rows = outcome.task.rows if isinstance(outcome.task, TextTask) else None  # of a part, where a worker was lost
    header = {
        "rows": rows,
        "cells": cells,
        "stage_s": outcome.stage_s,
        "code": outcome.code,
        "message": outcome.message,
    }
    return json.dumps(header), b"".join(values)


def decoded(task: Task, header: str, values: bytes) -> Outcome:
    """Undo `encoded`; `task` is the one that was given, of which the outcome may concern a part.

    Raises
    ------
    ImerError
        The header says that no task can ever work where it comes from.
    """
    facts = json.loads(header)
    if "fatal" in facts:
        name, sentence = facts["fatal"]
        raise getattr(errors, name)(sentence)
    cells: list[CellResult] = []
    first = 0
    for cell in facts["cells"]:
        array = None
        if cell["shape"] is not None:
            count = int(np.prod(cell["shape"]))
            array = np.frombuffer(values, "<f4", count, first).reshape(cell["shape"]).astype(np.float32)
            first += 4 * count
        result = Extracted(Verdict[cell["verdict"]], array, cell["message"], cell["code"])
        cells.append(CellResult(cell["row"], cell["modality"], result, cell["file"], cell["elapsed_s"]))
    if isinstance(task, TextTask):
        task = task.only(facts["rows"])
    return Outcome(task, cells, facts["stage_s"], facts["code"], facts["message"])
