"""The worker process: takes tasks from a pipe, one or some at a time, sends results back, and is killed without loss when it
hangs.

Messages to the parent: ("limit", seconds) says how long the next step may take; ("done", cells, stage seconds) ends
a task, in the order in which they came; ("fatal", error class, sentence) says that no task can ever work here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from imer.core.errors import ImerError
from imer.core.processes import die_with_parent, mute
from imer.extraction.plan import MediaTask, Task
from imer.extraction.recipe import Recipe
from imer.extraction.work import Toolbox, do_tasks, needed
from imer.media import probe
from imer.media.segments import ANCHOR_S

LOAD_LIMIT_S = 900.0  # imports and models, the first compilation of numba included
BASE_LIMIT_S, LIMIT_PER_SECOND = 60.0, 5.0  # a file may take 60 s + 5 × its duration
TEXT_LIMIT_S = 2.0  # more per text: a large model takes half a second on one thread
MEMORY_BYTES = 2 << 30  # what a process may hold, models included …
LEAST_BYTES = 512 << 20  # … but a clip may always take so much, however large the models are
_LATE_BYTES = 128 << 20  # code that is loaded, and reserved memory that is first touched, with the first clip
# Of mallopt(3): arrays up to 256 MiB come from freed memory that is kept, 512 MiB at most. Otherwise every large array is
# fetched from the kernel and given back, and page faults cost a tenth of all seconds.
_ALLOCATOR = {-3: 256 << 20, -1: 512 << 20, -2: 32 << 20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD, bytes


@dataclass(frozen=True)
class Preparation:
    """What a worker may load before it has a task."""

    modalities: tuple[str, ...]


def serve(pipe: Connection, recipe: Recipe) -> None:
    """Work until the parent says stop or is gone."""
    _settle()
    toolbox = Toolbox(recipe, load_s=time.process_time())  # starting and importing are loading too
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while (given := pipe.recv()) is not None:
            tasks = [] if isinstance(given, Preparation) else given
            wanted = given.modalities if isinstance(given, Preparation) else [m for task in tasks for m in needed(task)]
            try:
                _load(toolbox, wanted, pipe)
            except ImerError as error:
                pipe.send(("fatal", type(error).__name__, str(error)))
                return
            if not tasks:
                continue
            pipe.send(("limit", BASE_LIMIT_S))
            pipe.send(("limit", sum(map(limit_s, tasks))))
            for done in do_tasks(tasks, toolbox):
                pipe.send(("done", *done))


def _settle() -> None:
    """Make this process a quiet, single-threaded one that dies with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            for what, size in _ALLOCATOR.items():
                ctypes.CDLL(None).mallopt(what, size)
    mute()


def _load(toolbox: Toolbox, wanted: Iterable[str], pipe: Connection) -> None:
    missing = [modality for modality in dict.fromkeys(wanted) if not toolbox.ready(modality)]
    if not missing:
        return
    pipe.send(("limit", LOAD_LIMIT_S))
    _limit_memory(None)
    # Imports and models are half a million objects that stay. Looking through them for garbage, again and again, takes a
    # fifth of the time of loading, and goes on for as long as the worker lives.
    gc.disable()
    try:
        for modality in missing:
            toolbox.get(modality)
    finally:
        gc.enable()
        gc.freeze()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # the environment says so too, but a library may have changed it
    if toolbox.recipe.device == "cpu":  # CUDA reserves address space by the terabyte
        _limit_memory(MEMORY_BYTES)


def _limit_memory(total_bytes: int | None) -> None:
    """Allow this process so much memory (Linux), or lift the limit.

    What libraries have reserved and never touch is not counted: the limit is on what comes on top of it.
    """
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if total_bytes is None:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        return
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    reserved, held = (int(fields[name].split()[0]) << 10 for name in ("VmData", "VmRSS"))
    extra_bytes = max(total_bytes - held - _LATE_BYTES, LEAST_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (reserved + extra_bytes, hard))


def limit_s(task: Task) -> float:
    """Return how long a task may take: by the duration that its file can really have, not the one it declares."""
    if not isinstance(task, MediaTask):
        return BASE_LIMIT_S + TEXT_LIMIT_S * len(task.texts)
    try:
        duration_s = probe.plausible_duration_s(task.path)
    except probe.MediaError:
        return BASE_LIMIT_S
    ends = [duration_s if s.end_s is None else min(s.end_s, duration_s) for s in task.segments]
    first_s = min(segment.anchor for segment in task.segments) * ANCHOR_S
    return BASE_LIMIT_S + LIMIT_PER_SECOND * max(max(ends) - first_s, 0.0)
