"""The engine on this machine: a pool of processes, one a core and of one thread each, with the models loaded once.

A worker that dies is replaced and its task tried once more; one that hangs is killed and replaced. Either way exactly that
file is lost, or that text. One that dies or hangs before it has looked at its task costs that task nothing. On a GPU a
worker takes several clips at a time, so that faces go through the network in full batches; if it is lost, they are done
one by one.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from types import TracebackType
from typing import Any, Self

from imer.core.errors import MissingDependency, error_named
from imer.core.processes import Child, queued_s
from imer.extraction.engines import Outcome
from imer.extraction.plan import Task, TextTask
from imer.extraction.recipe import Recipe
from imer.extraction.worker import LOAD_LIMIT_S, Preparation, serve

_MAX_IDLE_DEATHS = 3  # workers in a row that are lost before they have begun a task: the set-up is at fault, not a file
_MAX_DEATHS = 25  # workers in a row that die without any result between: so many files in a row are not at fault
_FAREWELL_S = 5.0
_AWAY_S = 5.0  # workers are looked at once a second; after a longer pause it was not they who were slow
_TEXT_TASKS_PER_OWNER = 10  # of a second each; another worker loads the text model only for more than this many tasks
CLIPS_ON_CUDA = 8  # that a worker takes at a time: of ten seconds and five frames/s, three batches of faces
_ROUNDS_LEFT = 2  # fewer at a time towards the end, so that no worker has to wait long for another
_CHILD_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class _Worker(Child):
    """One child process and the tasks that it has."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(serve, recipe, variables=_CHILD_ENVIRONMENT)
        self.tasks: deque[Task] = deque()
        self.is_shared = False  # between several tasks: which one is at fault, nobody can say
        self.has_begun = False  # with its tasks; it loads models first
        self.deadline = float("inf")
        self.queued_s = 0.0  # of its life, when the deadline was set
        self.knows_text = False

    def prepare(self, modalities: tuple[str, ...]) -> None:
        self.knows_text = "text" in modalities
        self.send(Preparation(modalities))

    def give(self, tasks: Sequence[Task]) -> None:
        self.tasks, self.has_begun, self.is_shared = deque(tasks), False, len(tasks) > 1
        self.knows_text = self.knows_text or isinstance(tasks[0], TextTask)
        self.allow(LOAD_LIMIT_S)
        self.send(tasks)

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
        if not self.tasks:
            self.send(None)

    def stop(self, *, at_once: bool = False) -> None:
        self.end(0.0 if self.tasks or at_once else _FAREWELL_S)


class LocalEngine:
    """A pool of worker processes on this machine."""

    def __init__(self, recipe: Recipe, workers: int, clips_at_once: int | None = None) -> None:
        self._recipe = recipe
        self._wanted = max(workers, 1)
        self._clips_at_once = clips_at_once or (1 if recipe.device == "cpu" else CLIPS_ON_CUDA)
        self._workers: list[_Worker] = []
        self._media: deque[Task] = deque()
        self._texts: deque[Task] = deque()
        self._tried: set[int] = set()  # tasks whose worker died once: the identity of each
        self._alone: set[int] = set()  # tasks that were lost with others, likewise
        self._idle_deaths = 0
        self._deaths = 0
        self._looked = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for worker in self._workers:
                worker.stop(at_once=True)
            self._workers = []
        self.dismiss()

    def prepare(self, modalities: Sequence[str], n_files: int) -> None:
        """Start workers: one for the texts, where there are any, the others for at most so many files."""
        media = tuple(modality for modality in modalities if modality != "text")
        loads = [("text",)] * ("text" in modalities) + [media] * n_files
        for wanted in loads[: self._wanted]:
            self._workers.append(_Worker(self._recipe))
            self._workers[-1].prepare(wanted)

    def dismiss(self) -> None:
        """End all workers, so that they hold no memory and are no zombies while what they made is packed."""
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
            busy = [worker for worker in self._workers if worker.tasks]
            if not busy:
                return
            yield from self._wait(busy)

    def _employ(self, worker: _Worker) -> None:
        if not worker.tasks and (tasks := self._next_for(worker)):
            worker.give(tasks)

    def _next_for(self, worker: _Worker) -> list[Task]:
        """Texts go to the workers that have the text model; another one loads it only where many texts are left."""
        owners = sum(w.knows_text for w in self._workers)
        may_own = not owners or not self._media or len(self._texts) > _TEXT_TASKS_PER_OWNER * owners
        if self._texts and (worker.knows_text or (may_own and (not owners or len(self._texts) > owners))):
            return [self._texts.popleft()]
        most = min(self._clips_at_once, len(self._media) // (_ROUNDS_LEFT * self._wanted))
        tasks = [self._media.popleft()] if self._media else []
        while len(tasks) < most and not {id(tasks[0]), id(self._media[0])} & self._alone:
            tasks.append(self._media.popleft())
        return tasks

    def _wait(self, busy: list[_Worker]) -> Iterator[Outcome]:
        self._forgive(busy)
        patience_s = max(min(worker.deadline for worker in busy) - time.monotonic(), 0.0)
        events: list[Any] = [worker.pipe for worker in busy] + [worker.process.sentinel for worker in busy]
        ready = connection.wait(events, timeout=min(patience_s, 1.0))
        for worker in busy:
            if worker.pipe in ready:
                yield from self._hear(worker)
            elif worker.process.sentinel in ready:
                yield from self._lose(worker, "E-CRASH", worker.death())
            elif worker.is_late() and not worker.pipe.poll():
                yield from self._lose(worker, "E-TIMEOUT", f"more than {LOAD_LIMIT_S:g} s to load models")

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
            yield from self._lose(worker, "E-CRASH", worker.death())
            return
        if message[0] == "limit":
            worker.allow(message[1])
            if message[1] != LOAD_LIMIT_S:  # it has loaded its models
                worker.has_begun, self._idle_deaths = True, 0
        elif message[0] == "fatal":
            raise error_named(*message[1:])
        elif worker.tasks:
            task = worker.tasks.popleft()
            self._idle_deaths = self._deaths = 0
            self._tried.discard(id(task))
            self._alone.discard(id(task))
            if not worker.tasks:
                worker.deadline = float("inf")
            self._employ(worker)  # before the outcome is written, which takes a sync to the disk
            yield Outcome(task, message[1], message[2])

    def _lose(self, worker: _Worker, code: str, how: str) -> Iterator[Outcome]:
        """Replace a worker that died or takes too long; its task is lost if that had begun, and, after a death, begun twice."""
        tasks = worker.tasks
        self._replace(worker)
        if code == "E-CRASH" or not worker.has_begun:
            self._count_death(how)
        if not tasks:
            return
        task = tasks[0]
        queue = self._texts if isinstance(task, TextTask) else self._media
        if not worker.has_begun:
            queue.extendleft(reversed(tasks))
        elif worker.is_shared:  # the last one, too: others may have used up its time
            self._alone.update(map(id, tasks))
            queue.extendleft(reversed(tasks))
        elif isinstance(task, TextTask) and len(task.rows) > 1:
            queue.extendleft(task.halves())  # the text that is at fault is found by halving, and lost alone
        elif code == "E-CRASH" and id(task) not in self._tried:  # it may have been killed from outside
            self._tried.add(id(task))
            queue.appendleft(task)
        else:
            self._tried.discard(id(task))  # the number may be another task's later on
            died = f"the worker process died while reading it ({how})."
            too_long = "it took longer than a file of its length may take."
            yield Outcome(task, code=code, message=died if code == "E-CRASH" else too_long)

    def _count_death(self, how: str) -> None:
        self._idle_deaths += 1
        self._deaths += 1
        if self._idle_deaths > _MAX_IDLE_DEATHS * self._wanted or self._deaths > _MAX_DEATHS * self._wanted:
            fewer = "; try --workers 1" if self._wanted > 1 else ""
            raise MissingDependency(
                f"Extraction workers keep dying ({how}): there is too little memory{fewer}, or this user cannot start "
                f"{sys.executable}."
            )

    def _replace(self, worker: _Worker) -> None:
        worker.stop()
        self._workers[self._workers.index(worker)] = _Worker(self._recipe)
