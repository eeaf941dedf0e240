"""Where the rows of frame-level features lie when a recording pauses."""

from __future__ import annotations

import numpy as np
import pytest

from imer.extraction.hearing import LONGEST_PAUSE_S, Hearing
from imer.extractors.librosa import Prosody
from imer.media.sampling import SAMPLE_RATE_HZ
from tests.clips import voice


def rows(level: str, *parts: tuple[float | None, np.ndarray]) -> np.ndarray:
    extractor = Prosody(level)
    extractor.load("cpu")
    hearing = Hearing(extractor)
    for at_s, samples in parts:
        hearing.add(samples, SAMPLE_RATE_HZ, at_s)
    values_TD = hearing.finish().values_TD
    assert values_TD is not None
    return values_TD


@pytest.mark.parametrize("late_s", [0.5, 2.0])
def test_rows_lie_at_their_time(late_s: float) -> None:
    first, second = voice(1.0), voice(1.5, 190)
    silence = np.zeros(round(late_s * SAMPLE_RATE_HZ), dtype=np.float32)
    paused = rows("frame", (0.0, first), (1.0 + late_s, second))
    assert np.array_equal(paused, rows("frame", (None, np.concatenate([first, silence, second]))))
    begun_late = rows("frame", (late_s, second))
    assert np.array_equal(begun_late, rows("frame", (None, np.concatenate([silence, second]))))


def test_what_containers_round_is_no_pause_nor_is_a_time_stamp_that_lies() -> None:
    first, second = voice(1.0), voice(1.0, 190)
    straight = rows("frame", (None, np.concatenate([first, second])))
    for at_s in (1.02, 0.98, -5.0, 2 * LONGEST_PAUSE_S):
        assert np.array_equal(rows("frame", (0.0, first), (at_s, second)), straight), at_s


def test_features_of_the_whole_are_of_what_was_recorded() -> None:
    first, second = voice(1.0), voice(1.0, 190)
    straight = rows("utterance", (None, np.concatenate([first, second])))
    assert np.array_equal(rows("utterance", (0.0, first), (9.0, second)), straight)
