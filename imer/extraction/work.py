"""Do tasks: decode, check, extract. Runs in a worker process; whatever a file does there, it does to itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from imer.core.types import Verdict
from imer.extraction.hearing import Hearing
from imer.extraction.plan import MediaTask, Task, TextTask
from imer.extraction.recipe import Recipe
from imer.extraction.sessions import Sessions, StageClock, guarded, is_end_of_device
from imer.extractors.base import Extracted, TakesManyTexts
from imer.media.decode import ClipReader, Sound
from imer.media.probe import MediaError

HELD_BACK_S = 10.0  # results of clips that are read, for others to share their batches


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
            self._loaded[modality] = self.recipe.loaded(modality)
            self.load_s += time.process_time() - started
        return self._loaded[modality]

    def unreported_s(self) -> float:
        """Return the CPU seconds of loading since this was asked for last."""
        seconds, self.load_s = self.load_s, 0.0
        return seconds


def needed(task: Task) -> list[str]:
    """Return the modalities that a task extracts."""
    if isinstance(task, TextTask):
        return ["text"]
    audio, visual = any(task.audio_rows), any(task.visual_rows)
    return [m for m, wanted in (("audio", audio), ("visual", visual)) if wanted]


Done = tuple[list[CellResult], dict[str, float]]  # a task's results, one a cell; CPU seconds by stage


def do_tasks(tasks: Sequence[Task], toolbox: Toolbox) -> Iterator[Done]:
    """Yield what becomes of each task, in order (loading is counted once).

    Short clips are all read before the first result comes: their faces go through a network together. Long ones have faces
    enough of their own, and what is done of them is not held back, since it is lost with this process.
    """
    begun: list[_TextWork | _ClipWork] = []
    since = time.monotonic()
    for task in tasks:
        begun.append(_TextWork(task, toolbox) if isinstance(task, TextTask) else _ClipWork(task, toolbox))
        begun[-1].read()
        if time.monotonic() - since > HELD_BACK_S:
            yield from (work.done() for work in begun)
            begun, since = [], time.monotonic()
    yield from (work.done() for work in begun)


class _TextWork:
    """A task of texts."""

    def __init__(self, task: TextTask, toolbox: Toolbox) -> None:
        self._task, self._clock = task, StageClock()
        self._extractor = toolbox.get("text")
        self._clock.add("load", toolbox.unreported_s())

    def read(self) -> None:
        """Do nothing: there is no file."""

    def done(self) -> Done:
        started = time.perf_counter()
        found = self._clock.timed("text", _texts, self._extractor, self._task.texts)
        each_s = (time.perf_counter() - started) / max(len(found), 1)
        pairs = zip(self._task.rows, found, strict=True)
        return [CellResult(row, "text", result, elapsed_s=each_s) for row, result in pairs], self._clock.seconds


def _texts(extractor: Any, texts: Sequence[str]) -> list[Extracted]:
    """Extract many texts, at once where the extractor can; one that it cannot digest costs that one only."""
    if isinstance(extractor, TakesManyTexts):
        with suppress(Exception):  # one of them is at fault; which one shows below
            found = extractor.extract_all(texts)
            if len(found) == len(texts):
                return found
    return [guarded(extractor.extract, text) for text in texts]


class _ClipWork:
    """A task of segments of one clip: all of it is read at once, and finished later."""

    def __init__(self, task: MediaTask, toolbox: Toolbox) -> None:
        self._task, self._clock = task, StageClock()
        extractors = {modality: toolbox.get(modality) for modality in needed(task)}
        self._clock.add("load", toolbox.unreported_s())
        visual = extractors.get("visual")
        self._reader = ClipReader(
            task.path,
            task.segments,
            audio="audio" in extractors,
            video=visual is not None,
            frames_per_s=visual.frames_per_s if visual is not None else 1.0,
        )
        self._sounds = Sessions("audio", lambda: Hearing(extractors["audio"]), self._clock)
        self._faces = Sessions("visual", lambda: extractors["visual"].begin(), self._clock)
        self._failure: MediaError | None = None
        self._elapsed_s = 0.0

    def read(self) -> None:
        """Decode the clip, and let the extractors do what they can do with it alone."""
        started, began, before = time.perf_counter(), time.process_time(), sum(self._clock.seconds.values())
        path = self._task.path
        try:
            self._hand_on()
        except MediaError as error:
            self._failure = error
        except MemoryError:
            self._failure = MediaError("E-MEMORY", f"{path} needs more memory than one clip may have.")
        except Exception as error:  # a file that lies well enough makes any library raise anything
            if is_end_of_device(error):
                raise
            self._failure = MediaError("E-DAMAGED", f"{path} cannot be read ({type(error).__name__}: {error}).")
        if self._failure is None:
            self._faces.settle()
        in_extractors_s = sum(self._clock.seconds.values()) - before
        self._clock.add("decode", time.process_time() - began - in_extractors_s)
        self._elapsed_s = time.perf_counter() - started

    def _hand_on(self) -> None:
        task = self._task
        for event in self._reader.read():
            if isinstance(event, Sound):
                if task.audio_rows[event.segment]:
                    self._sounds.add(event.segment, event.samples, event.rate_hz, event.at_s)
            elif task.visual_rows[event.segment]:
                time_s = event.picture.time_s
                self._faces.settle_passed(task.segments, time_s)
                since_start_s = time_s - task.segments[event.segment].start_s
                self._faces.add(event.segment, replace(event.picture, time_s=since_start_s))

    def done(self) -> Done:
        """Return the results of all segments."""
        task, started = self._task, time.perf_counter()
        found: list[tuple[int, str, Extracted]] = []
        for index in range(len(task.segments)):
            for modality, rows in (("audio", task.audio_rows), ("visual", task.visual_rows)):
                if rows[index]:
                    result = self._result(index, modality)
                    found.extend((row, modality, result) for row in rows[index])
        share_s = (self._elapsed_s + time.perf_counter() - started) / max(len(task.segments), 1)
        cells = [CellResult(row, modality, result, str(task.path), share_s) for row, modality, result in found]
        return cells, self._clock.seconds

    def _result(self, index: int, modality: str) -> Extracted:
        kind = "audio" if modality == "audio" else "video"
        problem = self._failure or self._reader.problem(kind, self._task.segments[index])
        if problem is not None:
            return Extracted(Verdict.decode_error, None, problem.message, problem.code)
        if not (self._reader.has_audio if kind == "audio" else self._reader.has_video):
            return Extracted(Verdict.no_stream, message=f"{self._task.path} has no {kind} stream.")
        return self._sounds.finish(index) if kind == "audio" else self._faces.finish(index)
