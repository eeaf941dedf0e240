"""Frames that nobody keeps and no other frame needs are not decoded: many of a film's B frames, a fifth of the time.

Of the frames between two ticks of a clock only the first is kept. So a packet may be left out where, for every segment
that covers it, an earlier frame of the same tick has gone by: the first one itself never has such a witness. The codec
has the last word, and leaves out only what no other frame refers to: what is kept has the bits that it always has.
"""

from __future__ import annotations

from collections.abc import Sequence

from imer.media.sampling import FrameClock

_REMEMBERED = 64  # ticks of a segment; frames are stored at most 16 away from where they are shown


class Spared:
    """Says which frames no segment keeps, asked once for each in the order in which they are stored."""

    def __init__(self, clocks: Sequence[FrameClock]) -> None:
        self._clocks = clocks
        self._first_s: list[dict[int, float]] = [{} for _ in clocks]  # of each segment: tick → the earliest frame in it

    def spares(self, time_s: float, covering: Sequence[int]) -> bool:
        """Say whether the frame at a time is certain to be kept by none of the segments that cover it."""
        spared = True
        for index in covering:
            first_s, tick = self._first_s[index], self._clocks[index].tick(time_s)
            if time_s <= first_s.get(tick, time_s):
                first_s[tick] = time_s
                spared = False
                if len(first_s) > _REMEMBERED:
                    del first_s[min(first_s)]
        return spared
