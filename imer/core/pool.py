"""Worker processes that do one job after the other, such as training a model, and import everything once.

A worker that dies is replaced and its job is tried once more, from wherever it was saved. Workers die with their
parent; what they leave half-done the same command continues.
"""

from __future__ import annotations

import logging
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from imer.core.errors import (
    EXIT_BUG,
    EXIT_INVALID_INPUT,
    EXIT_MISSING_DEPENDENCY,
    EXIT_TERMINATED,
    ImerError,
    InvalidInput,
    MissingDependency,
    OutputExists,
    UsageError,
    lacks_memory,
    refusal,
)
from imer.core.machine import usable_cores
from imer.core.processes import Child, die_with_parent, mute, process_count
from imer.core.registry import fault_of_plug_in

_TRIES = 2  # of a job whose worker died
_MAX_DEATHS = 4  # workers in a row that die without any result between: the machine is at fault, not a job
_FAREWELL_S = 5.0


class Job(Protocol):
    """Something to do in another process, to which it is sent; its results are on the disk."""

    @property
    def name(self) -> str:
        """What tells it from others, and stands in a message about a file that has no name."""
        ...

    def do(self, warn: Callable[[str], None]) -> None:
        """Do it; in the worker."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of a job: nothing to say, or the failure as an exit code, a kind and a sentence."""

    job: Any
    elapsed_s: float
    warnings: tuple[str, ...] = ()
    failure: dict[str, Any] = field(default_factory=dict)


def error_of(outcome: Outcome) -> Exception:
    """Return the error to raise where one failed job is the end of the whole command."""
    failure = outcome.failure
    kinds: dict[str, type[ImerError]] = {
        kind.__name__: kind for kind in (UsageError, InvalidInput, MissingDependency, OutputExists)
    }
    if failure["kind"] in kinds:
        return kinds[failure["kind"]](failure["message"])
    if failure["kind"] == "Bug":
        return RuntimeError(failure["traceback"])
    kind = InvalidInput if failure["kind"] in ("OSError", "OutOfMemory") else ImerError
    return kind(f"{outcome.job.name}: {failure['message']}")


def job_count(text: str) -> int:
    """Read `--jobs`: a number of processes, or `auto` for one a core that this process may use.

    Raises
    ------
    UsageError
        It is neither.
    """
    return process_count(text, "--jobs", usable_cores)


# --- in the child ------------------------------------------------------------------------------------------------------


def serve(pipe: Connection) -> None:
    """Do jobs until the parent says stop or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, _unwind)
    die_with_parent()
    mute()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while (job := pipe.recv()) is not None:
            started = time.monotonic()
            warnings, failure = _do(job)
            pipe.send(Outcome(job, time.monotonic() - started, warnings, failure))


def _unwind(signum: int, frame: FrameType | None) -> None:
    """Leave in order, so that locks and half-written files are cleared away."""
    raise SystemExit(EXIT_TERMINATED)


class _Collector(logging.Handler):
    """Keeps what parts of `imer` log as warnings."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


def _do(job: Job) -> tuple[tuple[str, ...], dict[str, Any]]:
    warnings: list[str] = []
    logger, handler = logging.getLogger("imer"), _Collector(warnings)
    logger.addHandler(handler)
    try:
        job.do(warnings.append)
        failure: dict[str, Any] = {}
    except ImerError as error:
        failure = {"kind": type(error).__name__, "exit_code": error.exit_code, "message": str(error)}
    except OSError as error:
        failure = {"kind": "OSError", "exit_code": EXIT_INVALID_INPUT, "message": refusal(error)}
    except Exception as error:  # noqa: BLE001 - a bug costs this job, and its traceback goes to the parent
        if lacks_memory(error):
            message = f"there is not enough memory for this ({error}); ask for less, or for fewer --jobs."
            failure = {"kind": "OutOfMemory", "exit_code": EXIT_INVALID_INPUT, "message": message}
        elif message := fault_of_plug_in(error):
            failure = {"kind": "MissingDependency", "exit_code": EXIT_MISSING_DEPENDENCY, "message": message}
        else:
            message = f"this is a bug in imer ({type(error).__name__}: {error})."
            failure = {"kind": "Bug", "exit_code": EXIT_BUG, "message": message, "traceback": traceback.format_exc()}
    finally:
        logger.removeHandler(handler)
    return tuple(dict.fromkeys(warnings)), failure


# --- in the parent -----------------------------------------------------------------------------------------------------


class _Worker(Child):
    """One child process and the job that it has."""

    def __init__(self) -> None:
        super().__init__(serve)
        self.job: Job | None = None

    def give(self, job: Job | None) -> None:
        self.job = job
        self.send(job)


class Pool:
    """Worker processes on this machine, each with one thread."""

    def __init__(self, jobs: int) -> None:
        self._wanted = jobs
        self._workers: list[_Worker] = []
        self._deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.job is None:
                worker.give(None)
            else:
                worker.process.terminate()
        for worker in self._workers:
            worker.end(_FAREWELL_S)
        self._workers = []

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Yield the outcome of every job, as they come.

        Raises
        ------
        MissingDependency
            Workers die one after the other before any has done anything.
        """
        waiting = deque(jobs)
        tries: dict[str, int] = {}
        while len(self._workers) < min(self._wanted, len(jobs)):
            self._workers.append(_Worker())
        while True:
            for worker in self._workers:
                if worker.job is None and waiting:
                    worker.give(waiting.popleft())
            busy = [worker for worker in self._workers if worker.job is not None]
            if not busy:
                return
            ready = connection.wait([end for w in busy for end in (w.pipe, w.process.sentinel)])
            for worker in busy:
                if worker.job is None or (worker.pipe not in ready and worker.process.sentinel not in ready):
                    continue
                job = worker.job
                outcome = self._heard(worker)
                if outcome is None:
                    tries[job.name] = tries.get(job.name, 0) + 1
                    how = self._bury(worker)
                    if tries[job.name] < _TRIES:
                        waiting.appendleft(job)
                        continue
                    outcome = _crashed(job, how)
                yield outcome

    def _heard(self, worker: _Worker) -> Outcome | None:
        """Return what a worker says; None where it died."""
        try:
            outcome: Outcome = worker.pipe.recv()
        except (EOFError, OSError):  # perhaps in the middle of a message
            return None
        worker.job, self._deaths = None, 0
        return outcome

    def _bury(self, worker: _Worker) -> str:
        """Replace a worker that died; say how it died."""
        how = worker.death()
        worker.end(_FAREWELL_S)
        self._deaths += 1
        if self._deaths > _MAX_DEATHS * self._wanted:
            self._workers.remove(worker)
            raise MissingDependency(f"Worker processes keep dying ({how}); too little memory? Try --jobs 1.")
        self._workers[self._workers.index(worker)] = _Worker()
        return how


def _crashed(job: Job, how: str) -> Outcome:
    message = (
        f"the worker process died ({how}), and once more when it was tried again; too little memory? Try fewer --jobs."
    )
    return Outcome(job, 0.0, (), {"kind": "Crash", "exit_code": EXIT_BUG, "message": message})
