"""The engine on Ray Data: the same tasks as the local engine's, done by actors on one machine or on a cluster.

Every actor guards its clips as the local engine does, by a worker process of its own: a clip that kills or hangs its
worker is judged by the same rules. What travels is plain: task numbers one way, JSON and float32 bytes the other.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from imer.core.errors import ImerError
from imer.extraction.engines import Outcome
from imer.extraction.local import LocalEngine
from imer.extraction.plan import Task, TextTask
from imer.extraction.ray_session import RaySession
from imer.extraction.recipe import Recipe
from imer.extraction.travel import decoded, encoded

TEXTS_PER_BLOCK = 10  # text tasks that one actor does in a row, so that few actors load the text model
MAX_BLOCKS = 2000  # of media tasks; Ray spends some milliseconds on each


class RayEngine:
    """Actors of a Ray that is started here and ended again, or of a cluster at an address."""

    def __init__(self, recipe: Recipe, workers: int, address: str | None) -> None:
        self._recipe, self._workers = recipe, workers
        self._session = RaySession(workers, address)
        self._has_begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_begun:
            self._has_begun = False
            self._session.__exit__(kind, error, trace)

    def prepare(self, modalities: Sequence[str], n_files: int) -> None:
        """Do nothing: Ray takes processors from others, and is started when there is work."""

    def dismiss(self) -> None:
        """End Ray, or leave the cluster."""
        self.__exit__(None, None, None)

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Yield the outcome of every task, as they come.

        Raises
        ------
        ImerError
            An actor says that its models cannot be loaded, or its workers die before they have done anything.
        """
        self._session.__enter__()
        self._has_begun = True
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


def _blocks(tasks: Sequence[Task]) -> list[list[int]]:
    """Return task numbers by block: what an actor takes at a time. Texts are together, clips apart."""
    texts = [number for number, task in enumerate(tasks) if isinstance(task, TextTask)]
    media = [number for number, task in enumerate(tasks) if not isinstance(task, TextTask)]
    step = -(-len(media) // MAX_BLOCKS) or 1
    cut = [texts[i : i + TEXTS_PER_BLOCK] for i in range(0, len(texts), TEXTS_PER_BLOCK)]
    return cut + [media[i : i + step] for i in range(0, len(media), step)]
