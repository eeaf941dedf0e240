"""When packets and frames come where two recordings were put into one file, so that their time stamps start over.

So it is with MPEG-TS that was joined by `cat`, and with chained Ogg. What comes second follows the first, as in a player.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from imer.media import probe

JOINABLE = frozenset({"mpegts", "mpeg", "ogg"})  # containers that are still files when one is put behind another
_BACK_S = 1.0  # time stamps that go back by more, and go on from there, start over
_AHEAD_S = (
    60.0  # one that is so far ahead is wrong: where they start over, FFmpeg may take that for the end of a day's clock
)


def is_joined(path: Path) -> bool:
    """Say whether the time stamps of any stream of a file start over.

    Raises
    ------
    MediaError
        It cannot be opened.
    """
    status = path.stat()
    return _is_joined(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)  # a long recording is read many times, at most 30 s of it each
def _is_joined(path: Path, size: int, mtime_ns: int) -> bool:
    furthest_s: dict[int, float] = {}
    behind_s: dict[int, float] = {}  # what may be the first time stamp of a second recording, or a single wrong one
    with probe.open_media(path) as container:
        if container.format.name not in JOINABLE:
            return False
        for index, stamp_s in probe.decoding_times(container):
            first_s = behind_s.pop(index, None)
            if first_s is not None and abs(stamp_s - first_s) < _BACK_S:
                return True
            ahead_s = stamp_s - furthest_s.get(index, stamp_s)
            if ahead_s < -_BACK_S:
                behind_s[index] = stamp_s
            elif ahead_s < _AHEAD_S:
                furthest_s[index] = max(stamp_s, furthest_s.get(index, stamp_s))
    return False


class Clock:
    """The time of what comes one after the other in such a file: it goes on where time stamps start over."""

    def __init__(self) -> None:
        self._end_s = self._shift_s = 0.0

    def time_s(self, stamp_s: float, length_s: float) -> float:
        """Return when something of this length begins, by its time stamp."""
        time_s = stamp_s + self._shift_s
        if time_s > self._end_s + _AHEAD_S:
            time_s = self._end_s
        elif time_s < self._end_s - _BACK_S:
            self._shift_s, time_s = self._end_s - stamp_s, self._end_s
        self._end_s = max(self._end_s, time_s + length_s)
        return time_s
