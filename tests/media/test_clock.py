"""The time of what comes one after the other in a file whose time stamps start over."""

from __future__ import annotations

from imer.media.clock import Clock


def test_time_goes_on_where_stamps_start_over_and_pauses_stay() -> None:
    clock = Clock()
    told = {
        "as stamped": [0.0, 1.0],
        "a pause": [31.0],
        "a little back": [31.0],
        "the second recording": [0.0, 1.0],
        "a wrong stamp": [200.0],
        "and after it": [3.0],
    }
    times_s = {what: [clock.time_s(stamp_s, 1.0) for stamp_s in stamps_s] for what, stamps_s in told.items()}
    assert list(times_s.values()) == [[0.0, 1.0], [31.0], [31.0], [32.0, 33.0], [34.0], [35.0]]
