"""A stretch of a clip, and the point from which it is reached."""

from __future__ import annotations

from dataclasses import dataclass

ANCHOR_S = 30.0  # segments are reached from the last whole multiple of this


@dataclass(frozen=True)
class Segment:
    """A stretch of a clip in seconds; `end_s` None means to its end. `channel` is that of its sound, from 1; None: all."""

    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None

    def covers(self, time_s: float) -> bool:
        return self.start_s <= time_s and (self.end_s is None or time_s < self.end_s)

    def share_s(self, from_s: float, to_s: float) -> float:
        """Return how much of another stretch lies in this one; 0 where they do not meet."""
        return max((to_s if self.end_s is None else min(to_s, self.end_s)) - max(from_s, self.start_s), 0.0)

    @property
    def anchor(self) -> int:
        """The number of the 30-second window in which it starts."""
        return int(self.start_s // ANCHOR_S)
