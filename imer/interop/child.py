"""Look at a foreign file in a process of its own: what it does there, it does to that process."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imer.core.errors import InvalidInput
from imer.core.folders import scratch_folder
from imer.core.processes import die_with_parent, end_within

_PROBLEM = "problem.txt"
_GIB = 1 << 30


@contextmanager
def read_in_child(
    work: Callable[[Path, Path], None],
    path: Path,
    out: Path | None,
    *,
    max_bytes: int,
    limit_s: float,
    memory_factor: float,
) -> Iterator[Path]:
    """Run `work(path, folder)` in a child process, and yield the folder that it left its results in: beside `out`, if any.

    The child has `limit_s` plus two minutes a GiB, and 2 GiB of memory plus `memory_factor` times the file's size.

    Raises
    ------
    InvalidInput
        The file is missing or too large, or `work` failed, took too long, or died.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist or is not a file.")
    size = path.stat().st_size
    if size > max_bytes:
        raise InvalidInput(f"{path} has {size} bytes; such files of more than {max_bytes // _GIB} GiB are not read.")
    with scratch_folder(out) as folder:
        memory = int(memory_factor * size) + 2 * _GIB
        child = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(work, path, folder, memory), daemon=True
        )
        child.start()
        try:
            if not end_within(child, limit_s + 120.0 * size / _GIB):
                raise InvalidInput(f"{path} takes too long to read; it is no ordinary file of features.")
        finally:
            child.kill()
            child.join()
        problem = folder / _PROBLEM
        if problem.exists():
            raise InvalidInput(f"{path} is refused: {problem.read_text(encoding='utf-8')}.")
        if child.exitcode:
            raise InvalidInput(f"{path} cannot be read: it needs too much memory, or breaks what reads it.")
        yield folder


def _serve(work: Callable[[Path, Path], None], path: Path, folder: Path, memory_bytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    die_with_parent()
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    try:
        work(path, folder)
    except Exception as error:  # noqa: BLE001 - a broken file breaks its reader in any way; all of them are its fault
        sentence = str(error).rstrip(".").splitlines()[0] if str(error) else type(error).__name__
        (folder / _PROBLEM).write_text(sentence, encoding="utf-8")
