"""An outcome arrives as it was sent: whatever was found, of all texts of a task or of some, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.core.errors import MissingDependency
from imer.core.types import Verdict
from imer.extraction.engines import Outcome
from imer.extraction.plan import MediaTask, Task, TextTask
from imer.extraction.travel import decoded, encoded
from imer.extraction.work import CellResult
from imer.extractors.base import Extracted
from imer.media.segments import Segment

TEXTS = TextTask((3, 5, 8), ("one", "two", "three"))
CLIP = MediaTask(Path("ü.mp4"), (Segment(0.0, None, None),), ((1,),), ((1,),))
shapes = st.none() | st.tuples(st.integers(0, 4), st.integers(1, 3))


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[Task, Outcome]:
    given_task: Task = draw(st.sampled_from([TEXTS, CLIP]))
    part: Task = given_task
    if isinstance(given_task, TextTask):  # a worker that was lost leaves halves
        part = given_task.only(sorted(draw(st.sets(st.sampled_from(given_task.rows), min_size=1))))
    cells = []
    for row, modality in part.cells:
        shape = draw(shapes)
        values = None if shape is None else draw(st.integers(0, 9)) + np.arange(np.prod(shape)).reshape(shape) / 7
        array = None if values is None else values.astype(np.float32)
        result = Extracted(draw(st.sampled_from(Verdict)), array, draw(st.text()), "E-X")
        cells.append(CellResult(row, modality, result, "ü.mp4", 0.25))
    return given_task, Outcome(
        part, draw(st.sampled_from([cells, []])), {"load": 0.5}, draw(st.text()), draw(st.text())
    )


@given(outcomes())
def test_what_is_sent_arrives(sent: tuple[Task, Outcome]) -> None:
    task, outcome = sent
    arrived = decoded(task, *encoded(outcome))
    assert arrived.task == outcome.task
    assert (arrived.stage_s, arrived.code, arrived.message) == (outcome.stage_s, outcome.code, outcome.message)
    assert len(arrived.cells) == len(outcome.cells)
    for one, other in zip(arrived.cells, outcome.cells, strict=True):
        assert (one.row, one.modality, one.file, one.elapsed_s) == (
            other.row,
            other.modality,
            other.file,
            other.elapsed_s,
        )
        a, b = one.result, other.result
        assert (a.verdict, a.message, a.code) == (b.verdict, b.message, b.code)
        assert (a.values_TD is None) == (b.values_TD is None)
        if a.values_TD is not None and b.values_TD is not None:
            assert a.values_TD.dtype == np.float32
            assert np.array_equal(a.values_TD, b.values_TD)


def test_what_no_task_can_do_without_is_raised_where_it_arrives() -> None:
    with pytest.raises(MissingDependency, match="no weights"):
        decoded(CLIP, '{"fatal": ["MissingDependency", "no weights"]}', b"")
