"""The extractors' sessions while a clip is read: one a segment; what an extractor fails on costs that segment only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from imer.core.errors import lacks_memory
from imer.core.types import Verdict
from imer.extractors.base import Extracted, Settles
from imer.media.segments import Segment


class StageClock:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, stage: str, work: Callable[..., Any], *given: Any) -> Any:
        started = time.process_time()
        try:
            return work(*given)
        finally:
            self.add(stage, time.process_time() - started)

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def is_end_of_device(error: Exception) -> bool:
    """Say whether every later call of this process would fail alike: then another one has to take over."""
    return "CUDA error" in str(error)


def guarded(work: Callable[..., Any], *given: Any) -> Any:
    """Return what an extractor does with one utterance; or a failed result, if it cannot digest it."""
    try:
        return work(*given)
    except MemoryError:
        return Extracted(Verdict.decode_error, None, "the extractor ran out of memory.", "E-MEMORY")
    except Exception as error:
        if is_end_of_device(error):
            raise
        text = f"the extractor failed ({type(error).__name__}: {error})."
        code = "E-MEMORY" if lacks_memory(error) else "E-EXTRACT"
        return Extracted(Verdict.decode_error, None, text, code)


class Sessions:
    """The sessions of one modality of a clip."""

    def __init__(self, modality: str, begin: Callable[[], Any], clock: StageClock) -> None:
        self._modality, self._begin, self._clock = modality, begin, clock
        self._open: dict[int, Any] = {}  # segments that are being read
        self._settled: dict[int, Any] = {}  # segments that have been
        self._done: dict[int, Extracted] = {}

    def add(self, index: int, *given: Any) -> None:
        """Hand something to the session of a segment."""
        if index in self._done or index in self._settled:
            return
        if index in self._open or self._begun(index):
            self._do(index, self._open[index].add, *given)

    def settle_passed(self, segments: Sequence[Segment], time_s: float) -> None:
        """Settle the sessions of all segments that end by `time_s`, so that few are open at a time."""
        for index in list(self._open):
            end_s = segments[index].end_s
            if end_s is not None and end_s <= time_s:
                self._settle(index)

    def settle(self) -> None:
        """Let all sessions do what they can do by themselves."""
        for index in list(self._open):
            self._settle(index)

    def finish(self, index: int) -> Extracted:
        """Return the result of a segment."""
        if index not in self._done and (index in self._settled or index in self._open or self._begun(index)):
            session = (self._settled if index in self._settled else self._open).pop(index)
            self._done[index] = self._clock.timed(self._modality, guarded, session.finish)
        return self._done[index]

    def _begun(self, index: int) -> bool:
        """Begin the session of a segment, and say whether it could be."""
        session = self._do(index, self._begin)
        if index not in self._done:
            self._open[index] = session
        return index in self._open

    def _settle(self, index: int) -> None:
        if not isinstance(self._open[index], Settles):
            self.finish(index)
            return
        self._settled[index] = self._open.pop(index)
        self._do(index, self._settled[index].settle)

    def _do(self, index: int, work: Callable[..., Any], *given: Any) -> Any:
        outcome = self._clock.timed(self._modality, guarded, work, *given)
        if isinstance(outcome, Extracted):  # it failed
            self._open.pop(index, None)
            self._settled.pop(index, None)
            self._done[index] = outcome
        return outcome
