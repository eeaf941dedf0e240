"""An outcome of a task on its way between machines: JSON and the float32 bytes of its values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from imer.core.errors import error_named
from imer.core.types import Verdict
from imer.extraction.engines import Outcome
from imer.extraction.plan import Task, TextTask
from imer.extraction.work import CellResult
from imer.extractors.base import Extracted


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
        raise error_named(*facts["fatal"])
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
