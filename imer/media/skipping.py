"""Frames that nobody keeps and no other frame needs are not decoded: many of a film's B frames, a fifth of the time or more.

Of the frames between two ticks of a clock only the first is kept. So a packet may be left out where an earlier frame of
the same tick has gone by: the first one itself never has such a witness. The codec has the last word, and leaves out only
what no other frame refers to: what is kept has the bits that it always has.

In a damaged film that does not hold: a decoder fills gaps from the frames that it has, so that leaving one out changes
another. So this is only for a segment that goes on to the end of its clip, which every plan reads alone. What other
segments show would depend on which of them are read with it.
"""

from __future__ import annotations

from imer.media.sampling import FrameClock
from imer.media.segments import Segment

_REMEMBERED = 64  # ticks; frames are stored at most 16 away from where they are shown


class Spared:
    """Says which frames a segment does not keep, asked once for each in the order in which they are stored."""

    def __init__(self, segment: Segment, clock: FrameClock) -> None:
        self._segment, self._clock = segment, clock
        self._first_s: dict[int, float] = {}  # tick → the earliest frame in it

    def spares(self, time_s: float) -> bool:
        """Say whether the frame at a time of the clip is certain not to be kept."""
        if not self._segment.covers(time_s):
            return True
        tick = self._clock.tick(time_s)
        if time_s > self._first_s.get(tick, time_s):
            return True
        self._first_s[tick] = time_s
        if len(self._first_s) > _REMEMBERED:
            del self._first_s[min(self._first_s)]
        return False
