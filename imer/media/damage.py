"""What was lost of a stream within each segment: broken packets, and missing ones where a format knows no pauses.

Each segment is judged by its own packets, so that what is said of it never depends on which others are read with it.

Less sound than time is no damage by itself: in most containers a recording may begin late, or pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imer.media.segments import Segment

_MAX_LOST_SHARE = 0.1  # of a segment's packets, or of its time; above it the stream is not usable there
_MAX_MISSING_S = 0.5  # what codecs skip at their beginning is less


@dataclass
class Account:
    """What happened to one stream within one segment."""

    packets: int = 0
    broken: int = 0
    sent_s: float = 0.0  # the time that its packets stand for, those that are missing included
    missing_s: float = 0.0
    channels: int | None = None  # the fewest that any of its frames has

    def loss(self, kind: str) -> str:
        """Return what was lost of the stream of this kind, in words; nothing where what is there can be used."""
        if self.broken > _MAX_LOST_SHARE * self.packets:
            return f"{self.broken} of {self.packets} {kind} packets cannot be decoded"
        if self.missing_s > max(_MAX_MISSING_S, _MAX_LOST_SHARE * self.sent_s):
            return f"{self.missing_s:.2f} of {self.sent_s:.2f} s of the {kind} are missing"
        return ""


class Accounts:
    """The accounts of one stream, one for each segment. A `seamless` stream knows no pauses between its packets."""

    def __init__(self, segments: Sequence[Segment], *, seamless: bool) -> None:
        self._segments, self._seamless = segments, seamless
        self._each = [Account() for _ in segments]
        self._sent_to_s: float | None = None

    def __getitem__(self, index: int) -> Account:
        return self._each[index]

    def of(self, segment: Segment) -> Account:
        """Return the account of a segment; an empty one of a segment that is not read."""
        return dict(zip(self._segments, self._each, strict=True)).get(segment, Account())

    def enter(self, start_s: float, end_s: float) -> list[Account]:
        """Enter a packet, and return the accounts of the segments that it touches."""
        since_s = min(start_s, self._sent_to_s) if self._seamless and self._sent_to_s is not None else start_s
        self._sent_to_s = max(self._sent_to_s or end_s, end_s)
        touched = []
        for segment, account in zip(self._segments, self._each, strict=True):
            sent_s, missing_s = segment.share_s(start_s, end_s), segment.share_s(since_s, start_s)
            account.sent_s += sent_s + missing_s
            account.missing_s += missing_s
            if sent_s or segment.covers(start_s):
                account.packets += 1
                touched.append(account)
        return touched

    def enter_untimed(self, reached_s: float) -> list[Account]:
        """Enter a packet that does not say when it is: it counts for every segment that does not end before `reached_s`."""
        ahead = [
            account
            for segment, account in zip(self._segments, self._each, strict=True)
            if segment.end_s is None or segment.end_s > reached_s
        ]
        for account in ahead:
            account.packets += 1
        return ahead
