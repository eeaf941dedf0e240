"""An engine without processes: tasks are done here, by the same function that the workers call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Self

from imer.extraction.engines import Outcome
from imer.extraction.plan import Task
from imer.extraction.recipe import Recipe
from imer.extraction.work import Toolbox, do_tasks

TOOLBOXES: dict[str, Toolbox] = {}


class Inline:
    """Does the tasks in this process, in an order that the test may choose."""

    backwards = False

    def __init__(self, name: str, recipe: Recipe, workers: int, address: str | None) -> None:
        self._toolbox = TOOLBOXES.setdefault(json.dumps(dict(recipe.extractors)), Toolbox(recipe))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def prepare(self, modalities: Sequence[str], n_files: int) -> None:
        return None

    def dismiss(self) -> None:
        return None

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        for task in reversed(tasks) if self.backwards else tasks:
            yield from (Outcome(task, *done) for done in do_tasks([task], self._toolbox))
