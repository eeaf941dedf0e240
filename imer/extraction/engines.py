"""Engines carry tasks to workers and results back, in any order. One is local; the other (`ray`) is Ray Data.

An engine is a context manager with `run(tasks) → iterator of Outcome`. It may be told before that there will be work, which
saves time, and afterwards that there will be no more, which saves memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import TracebackType
from typing import Protocol, Self

from imer.core.errors import MissingDependency, UsageError, did_you_mean
from imer.core.machine import usable_cores, usable_memory
from imer.core.processes import process_count
from imer.extraction.plan import Task
from imer.extraction.recipe import Recipe
from imer.extraction.work import CellResult

ENGINES = ("local", "ray")
ON_ONE_GPU = 4  # workers, where their number is left to us


@dataclass(frozen=True)
class Outcome:
    """A task's results; or, where the worker was lost, a code and a sentence that say how."""

    task: Task
    cells: Sequence[CellResult] = ()
    stage_s: dict[str, float] = field(default_factory=dict)
    code: str = ""
    message: str = ""


class Engine(Protocol):
    """What the runner needs of an engine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def prepare(self, modalities: Sequence[str], n_files: int) -> None:
        """Let workers start, as many as texts and so many files can do with, and load what these modalities need."""
        ...

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]: ...

    def dismiss(self) -> None:
        """End the workers: there is nothing more to do."""
        ...


def make_engine(name: str, recipe: Recipe, workers: int, address: str | None = None) -> Engine:
    """Return an engine by name; `address` is that of a Ray cluster (None: the machine here).

    Raises
    ------
    UsageError
        There is no such engine, or an address is given to one that has no use for it.
    MissingDependency
        It needs a package that is not installed.
    """
    check_engine(name, address)
    if name == "local":
        from imer.extraction.local import LocalEngine

        return LocalEngine(recipe, workers)
    from imer.extraction.ray import RayEngine

    return RayEngine(recipe, workers, address or os.environ.get("RAY_ADDRESS") or None)


def check_engine(name: str, address: str | None = None) -> None:
    """Raise what `make_engine` would, before any work is done.

    Raises
    ------
    UsageError
        There is no such engine, or it takes no address.
    MissingDependency
        Ray is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}; {did_you_mean(name, ENGINES)}")
    if address is not None and name != "ray":
        raise UsageError(f"--address {address} is that of a Ray cluster: add --engine ray.")
    if name == "ray" and find_spec("ray") is None:
        raise MissingDependency("--engine ray needs Ray: pip install 'imer[ray]', or use --engine local.")


def worker_count(text: str, device: str = "cpu") -> int:
    """Read `--workers`: a number, or `auto` for one a core this process may use (at most 1 per 2 GiB of memory).

    On CUDA `auto` is four at most: each holds a context and the networks on the device, a gigabyte or more.

    Raises
    ------
    UsageError
        It is neither.
    """
    return process_count(
        text, "--workers", lambda: _automatic_workers() if device == "cpu" else min(_automatic_workers(), ON_ONE_GPU)
    )


def _automatic_workers() -> int:
    cores, memory = usable_cores(), usable_memory()
    return cores if memory is None else max(min(cores, memory >> 31), 1)
