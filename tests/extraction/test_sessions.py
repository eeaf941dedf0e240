"""Sessions of the segments of a clip: what one of them fails on costs that segment alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from imer.core.types import Verdict
from imer.extraction.sessions import Sessions, StageClock
from imer.extractors.base import Extracted


class Counting(list[object]):
    """A session that is false while nothing has come: a list of what came."""

    def add(self, given: object) -> None:
        self.append(given)

    def finish(self) -> Extracted:
        return Extracted(Verdict.ok, np.array([[len(self)]], dtype=np.float32))


class Settling(Counting):
    def settle(self) -> None:
        self.clear()
        self.settled = True

    def finish(self) -> Extracted:
        return Extracted(Verdict.ok, np.array([[float(self.settled)]], dtype=np.float32))


def sessions(begin: Callable[[], Any]) -> Sessions:
    return Sessions("visual", begin, StageClock())


def test_a_session_is_one_even_if_it_counts_as_false() -> None:
    begun: list[Counting] = []

    def begin() -> Counting:
        begun.append(Settling())
        return begun[-1]

    found = sessions(begin)
    found.add(0, "picture")
    found.settle()
    assert found.finish(0).values_TD.tolist() == [[1.0]]
    assert len(begun) == 1


def test_what_cannot_begin_costs_its_segment_and_is_not_begun_again() -> None:
    left = [ValueError("there is no model of that language")]

    def begin() -> Counting:
        if left:
            raise left.pop()
        return Counting()

    found = sessions(begin)
    found.add(0, "picture")
    found.add(0, "picture")
    found.add(1, "picture")
    failed = found.finish(0)
    assert (failed.verdict, failed.code) == (Verdict.decode_error, "E-EXTRACT")
    assert "no model of that language" in failed.message
    assert found.finish(1).values_TD.tolist() == [[1.0]]
    left.append(ValueError("neither is one for nothing"))
    assert "neither" in found.finish(2).message, "a segment of which nothing was read"


def test_a_device_that_is_lost_is_no_fault_of_the_segment() -> None:
    def begin() -> Counting:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="CUDA error"):
        sessions(begin).add(0, "picture")
