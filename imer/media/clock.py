"""When packets and frames come, by their time stamps, which start over where two recordings were put into one file.

So it is with MPEG-TS that was joined by `cat`, and with chained Ogg. What comes second follows the first, as in a player.
"""

from __future__ import annotations

# Time stamps start over that go back by more than this, and to within this of their first (a page of Ogg may hold the rest).
_BACK_S, _BEGINNING_S = 1.0, 3.0


class Clock:
    """The time of what comes one after the other, which goes on where time stamps start over: two recordings in one file."""

    def __init__(self) -> None:
        self.starts_over = False
        self._first_s: float | None = None
        self._end_s = self._shift_s = 0.0

    def time_s(self, stamp_s: float, length_s: float) -> float:
        """Return when something of this length begins, by its time stamp."""
        time_s = stamp_s + self._shift_s
        if self._first_s is None:
            self._first_s = stamp_s
        elif time_s < self._end_s - _BACK_S and stamp_s < self._first_s + _BEGINNING_S:
            self.starts_over, self._shift_s, time_s = True, self._end_s - stamp_s, self._end_s
        self._end_s = max(self._end_s, time_s + length_s)
        return time_s
