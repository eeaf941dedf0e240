"""Do one task: decode, check, extract. Runs in a worker process; whatever a file does there, it does to itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from imer.core.errors import lacks_memory
from imer.core.types import Verdict
from imer.extraction.hearing import Hearing
from imer.extraction.plan import MediaTask, Task, TextTask
from imer.extraction.recipe import Recipe
from imer.extractors.base import Extracted, TakesManyTexts
from imer.media.decode import ClipReader, Sound
from imer.media.probe import MediaError
from imer.media.segments import Segment


@dataclass(frozen=True)
class CellResult:
    """What became of one modality of one utterance."""

    row: int
    modality: str
    result: Extracted
    file: str = ""
    elapsed_s: float = 0.0


@dataclass
class Toolbox:
    """The extractors of one process; each is loaded when the first task needs it, and kept."""

    recipe: Recipe
    load_s: float = 0.0  # CPU seconds of loading that no task's report has named yet
    _loaded: dict[str, Any] = field(default_factory=dict)

    def ready(self, modality: str) -> bool:
        return modality in self._loaded

    def get(self, modality: str) -> Any:
        if modality not in self._loaded:
            started = time.process_time()
            extractor = self.recipe.build(modality)
            extractor.load(self.recipe.device)
            self._loaded[modality] = extractor
            self.load_s += time.process_time() - started
        return self._loaded[modality]


def needed(task: Task) -> list[str]:
    """Return the modalities that a task extracts."""
    if isinstance(task, TextTask):
        return ["text"]
    audio, visual = any(task.audio_rows), any(task.visual_rows)
    return [m for m, wanted in (("audio", audio), ("visual", visual)) if wanted]


def do_task(task: Task, toolbox: Toolbox) -> tuple[list[CellResult], dict[str, float]]:
    """Return the task's results, one a cell, and the CPU seconds spent on each stage (loading included, once)."""
    clock = _StageClock()
    extractors = {modality: toolbox.get(modality) for modality in needed(task)}
    clock.seconds["load"], toolbox.load_s = toolbox.load_s, 0.0
    started = time.perf_counter()
    if isinstance(task, TextTask):
        found = clock.timed("text", _texts, extractors["text"], task.texts)
        each_s = (time.perf_counter() - started) / max(len(found), 1)
        pairs = zip(task.rows, found, strict=True)
        return [CellResult(row, "text", result, elapsed_s=each_s) for row, result in pairs], clock.seconds
    began = time.process_time() - sum(clock.seconds.values())
    cells = _do_media(task, extractors, clock)
    clock.seconds["decode"] = time.process_time() - began - sum(clock.seconds.values())
    elapsed_s = time.perf_counter() - started
    share_s = elapsed_s / max(len(task.segments), 1)
    return [
        CellResult(row, modality, result, str(task.path), share_s) for row, modality, result in cells
    ], clock.seconds


class _StageClock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, stage: str, work: Callable[..., Any], *given: Any) -> Any:
        started = time.process_time()
        try:
            return work(*given)
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - started


def _texts(extractor: Any, texts: Sequence[str]) -> list[Extracted]:
    """Extract many texts, at once where the extractor can; one that it cannot digest costs that one only."""
    if isinstance(extractor, TakesManyTexts):
        with suppress(Exception):  # one of them is at fault; which one shows below
            return extractor.extract_all(texts)
    return [_guarded(extractor.extract, text) for text in texts]


def _guarded(work: Callable[..., Any], *given: Any) -> Any:
    """Return what an extractor does with one utterance; or a failed result, if it cannot digest it."""
    try:
        return work(*given)
    except MemoryError:
        return Extracted(Verdict.decode_error, None, "the extractor ran out of memory.", "E-MEMORY")
    except Exception as error:
        if "CUDA error" in str(error):  # every later call of this process would fail alike: another one takes over
            raise
        text = f"the extractor failed ({type(error).__name__}: {error})."
        code = "E-MEMORY" if lacks_memory(error) else "E-EXTRACT"
        return Extracted(Verdict.decode_error, None, text, code)


def _do_media(task: MediaTask, extractors: dict[str, Any], clock: _StageClock) -> list[tuple[int, str, Extracted]]:
    visual = extractors.get("visual")
    reader = ClipReader(
        task.path,
        task.segments,
        audio="audio" in extractors,
        video=visual is not None,
        frames_per_s=visual.frames_per_s if visual is not None else 1.0,
    )
    sounds = _Sessions("audio", lambda: Hearing(extractors["audio"]), clock)
    faces = _Sessions("visual", lambda: extractors["visual"].begin(), clock)
    failure: MediaError | None = None
    try:
        for event in reader.read():
            if isinstance(event, Sound):
                if task.audio_rows[event.segment]:
                    sounds.add(event.segment, event.samples, event.rate_hz, event.at_s)
            elif task.visual_rows[event.segment]:
                time_s = event.picture.time_s
                faces.finish_passed(task.segments, time_s)
                since_start_s = time_s - task.segments[event.segment].start_s
                faces.add(event.segment, replace(event.picture, time_s=since_start_s))
    except MediaError as error:
        failure = error
    except MemoryError:
        failure = MediaError("E-MEMORY", f"{task.path} needs more memory than one clip may have.")
    except Exception as error:  # noqa: BLE001 - a file that lies well enough makes any library raise anything
        failure = MediaError("E-DAMAGED", f"{task.path} cannot be read ({type(error).__name__}: {error}).")
    cells: list[tuple[int, str, Extracted]] = []
    for index, segment in enumerate(task.segments):
        for modality, kind, rows in (("audio", "audio", task.audio_rows), ("visual", "video", task.visual_rows)):
            if not rows[index]:
                continue
            problem = failure or reader.problem(kind, segment)
            if problem is not None:
                result = Extracted(Verdict.decode_error, None, problem.message, problem.code)
            elif not (reader.has_audio if kind == "audio" else reader.has_video):
                result = Extracted(Verdict.no_stream, message=f"{task.path} has no {kind} stream.")
            else:
                result = sounds.finish(index) if kind == "audio" else faces.finish(index)
            cells.extend((row, modality, result) for row in rows[index])
    return cells


class _Sessions:
    """The sessions of one modality, one a segment; what an extractor fails on costs that segment only."""

    def __init__(self, modality: str, begin: Callable[[], Any], clock: _StageClock) -> None:
        self._modality, self._begin, self._clock = modality, begin, clock
        self._open: dict[int, Any] = {}
        self._done: dict[int, Extracted] = {}

    def add(self, index: int, *given: Any) -> None:
        if index in self._done:
            return
        if index not in self._open:
            self._open[index] = self._begin()
        outcome = self._clock.timed(self._modality, _guarded, self._open[index].add, *given)
        if isinstance(outcome, Extracted):
            del self._open[index]
            self._done[index] = outcome

    def finish(self, index: int) -> Extracted:
        if index not in self._done:
            session = self._open.pop(index, None) or self._begin()
            self._done[index] = self._clock.timed(self._modality, _guarded, session.finish)
        return self._done[index]

    def finish_passed(self, segments: Sequence[Segment], time_s: float) -> None:
        """Finish the sessions of all segments that end by `time_s`, so that few are open at a time."""
        for index in list(self._open):
            end_s = segments[index].end_s
            if end_s is not None and end_s <= time_s:
                self.finish(index)
