"""The engine on this machine: a pool of processes, one a core and of one thread each, with the models loaded once.

A worker that dies is replaced and its task tried once more; one that hangs is killed and replaced. Either way exactly that
file is lost, or that text.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from types import TracebackType
from typing import Any, Self

from imer.core import errors
from imer.core.errors import MissingDependency
from imer.core.processes import Child, queued_s
from imer.extraction.engines import Outcome
from imer.extraction.plan import Task, TextTask
from imer.extraction.recipe import Recipe
from imer.extraction.worker import LOAD_LIMIT_S, serve

_TRIES = 2  # of a task whose worker died
_MAX_IDLE_DEATHS = 3  # workers in a row that die before their models are loaded: the set-up is at fault, not a file
_MAX_DEATHS = 25  # workers in a row that die without any result between: so many files in a row are not at fault
_FAREWELL_S = 5.0
_AWAY_S = 5.0  # workers are looked at once a second; after a longer pause it was not they who were slow
_TEXT_TASKS_PER_OWNER = 10  # of a second each; another worker loads the text model only for more than this many tasks
_CHILD_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class _Worker(Child):
    """One child process and the task that it has."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(serve, recipe, variables=_CHILD_ENVIRONMENT)
        self.task: Task | None = None
        self.deadline = float("inf")
        self.queued_s = 0.0  # of its life, when the deadline was set
        self.knows_text = False

    def give(self, task: Task) -> None:
        self.task = task
        self.knows_text = self.knows_text or isinstance(task, TextTask)
        self.allow(LOAD_LIMIT_S)
        self.send(task)

    def allow(self, limit_s: float) -> None:
        """Set how long the next step may take."""
        self.deadline = time.monotonic() + limit_s
        self.queued_s = queued_s(self.process.pid)

    def is_late(self) -> bool:
        """Say whether its step takes too long; the time for which others had the processors does not count."""
        if time.monotonic() > self.deadline:
            before, self.queued_s = self.queued_s, queued_s(self.process.pid)
            self.deadline += self.queued_s - before
        return time.monotonic() > self.deadline

    def dismiss(self) -> None:
        """Let an idle worker end by itself, so that what its libraries hold is given back."""
        if self.task is None:
            self.send(None)

    def stop(self) -> None:
        self.end(_FAREWELL_S if self.task is None else 0.0)


class LocalEngine:
    """A pool of worker processes on this machine."""

    def __init__(self, recipe: Recipe, workers: int) -> None:
        self._recipe = recipe
        self._wanted = max(workers, 1)
        self._workers: list[_Worker] = []
        self._media: deque[Task] = deque()
        self._texts: deque[Task] = deque()
        self._tries: dict[int, int] = {}
        self._idle_deaths = 0
        self._deaths = 0
        self._looked = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yield the outcome of every task, as they come.

        Raises
        ------
        ImerError
            A worker says that its models cannot be loaded, or workers die before they have done anything.
        """
        self._texts.extend(task for task in tasks if isinstance(task, TextTask))
        self._media.extend(task for task in tasks if not isinstance(task, TextTask))
        self._looked = time.monotonic()
        while len(self._workers) < min(self._wanted, len(tasks)):
            self._workers.append(_Worker(self._recipe))
        while True:
            for worker in self._workers:
                self._employ(worker)
            busy = [worker for worker in self._workers if worker.task is not None]
            if not busy:
                return
            yield from self._wait(busy)

    def _employ(self, worker: _Worker) -> None:
        if worker.task is None and (task := self._next_for(worker)) is not None:
            worker.give(task)

    def _next_for(self, worker: _Worker) -> Task | None:
        """Texts go to the workers that have the text model; another one loads it only where many texts are left."""
        owners = sum(w.knows_text for w in self._workers)
        may_own = not owners or not self._media or len(self._texts) > _TEXT_TASKS_PER_OWNER * owners
        if self._texts and (worker.knows_text or (may_own and (not owners or len(self._texts) > owners))):
            return self._texts.popleft()
        return self._media.popleft() if self._media else None

    def _wait(self, busy: list[_Worker]) -> Iterator[Outcome]:
        self._forgive(busy)
        patience_s = max(min(worker.deadline for worker in busy) - time.monotonic(), 0.0)
        events: list[Any] = [worker.pipe for worker in busy] + [worker.process.sentinel for worker in busy]
        ready = connection.wait(events, timeout=min(patience_s, 1.0))
        for worker in busy:
            if worker.pipe in ready:
                yield from self._hear(worker)
            elif worker.process.sentinel in ready:
                yield from self._bury(worker)
            elif worker.is_late() and not worker.pipe.poll():
                task = worker.task
                self._replace(worker)
                if isinstance(task, TextTask) and len(task.rows) > 1:
                    self._texts.extendleft(task.halves())  # as where a worker dies
                elif task is not None:
                    yield Outcome(task, code="E-TIMEOUT", message="it took longer than a file of its length may take.")

    def _forgive(self, busy: list[_Worker]) -> None:
        """Move the deadlines where nobody has looked for a while: Ctrl-Z, a laptop that slept, a disk that was slow."""
        now = time.monotonic()
        away_s, self._looked = now - self._looked, now
        if away_s > _AWAY_S:
            for worker in busy:
                worker.deadline += away_s

    def _hear(self, worker: _Worker) -> Iterator[Outcome]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):  # it died, perhaps in the middle of a message
            yield from self._bury(worker)
            return
        if message[0] == "limit":
            worker.allow(message[1])
            if message[1] != LOAD_LIMIT_S:  # it has loaded its models
                self._idle_deaths = 0
        elif message[0] == "fatal":
            raise getattr(errors, message[1])(message[2])
        elif worker.task is not None:
            task, worker.task = worker.task, None
            worker.deadline = float("inf")
            self._idle_deaths = self._deaths = 0
            self._tries.pop(id(task), None)
            self._employ(worker)  # before the outcome is written, which takes a sync to the disk
            yield Outcome(task, message[1], message[2])

    def _bury(self, worker: _Worker) -> Iterator[Outcome]:
        """A worker died: replace it, and try its task once more (it may have been killed from outside)."""
        task = worker.task
        how = worker.death()
        self._replace(worker)
        self._idle_deaths += 1
        self._deaths += 1
        if self._idle_deaths > _MAX_IDLE_DEATHS * self._wanted or self._deaths > _MAX_DEATHS * self._wanted:
            fewer = "; try --workers 1" if self._wanted > 1 else ""
            raise MissingDependency(
                f"Extraction workers keep dying ({how}): there is too little memory{fewer}, or this user cannot start "
                f"{sys.executable}."
            )
        if task is None:
            return
        if isinstance(task, TextTask) and len(task.rows) > 1:
            self._texts.extendleft(task.halves())  # the text that is at fault is found by halving, and lost alone
            return
        self._tries[id(task)] = self._tries.get(id(task), 1) + 1
        if self._tries[id(task)] > _TRIES:
            del self._tries[id(task)]  # the number may be another task's later on
            yield Outcome(task, code="E-CRASH", message=f"the worker process died while reading it ({how}).")
        else:
            (self._texts if isinstance(task, TextTask) else self._media).appendleft(task)

    def _replace(self, worker: _Worker) -> None:
        worker.stop()
        self._workers[self._workers.index(worker)] = _Worker(self._recipe)
