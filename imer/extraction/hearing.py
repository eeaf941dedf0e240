"""Listen to one utterance: check its sound and hand it on in passes, so that an hour needs no more memory than minutes.

An utterance of up to a minute is one pass. Of a longer one, a minute is handed on as soon as two are there, and what is
left at the end (one to two minutes) in two equal passes, so that no pass is ever short. Of frame-level features a pass is
a whole number of hops, and a pause in the recording (sound that begins late, a muted stretch that nobody stored) counts as
silence, so that each row lies at its time. Features of the whole utterance are of what was recorded alone.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from imer.core.types import Verdict
from imer.extractors.base import AudioExtractor, Extracted
from imer.media import sampling
from imer.media.sampling import SAMPLE_RATE_HZ, Waveform

MIN_AUDIO_S = 0.06  # the longest analysis window of eGeMAPS
LEAST_PAUSE_S = 0.1  # shorter ones are what containers round, and what codecs skip at their beginning
LONGEST_PAUSE_S = 6 * 3600.0  # a longer one is a time stamp that lies
SILENCE_PEAK = 1e-4  # −80 dB below full scale, after taking out a constant offset


class Hearing:
    """The sound of one utterance on its way to an extractor."""

    def __init__(self, extractor: AudioExtractor) -> None:
        self._extractor, self._session = extractor, extractor.begin()
        self._wave = Waveform()
        self._given_s = 0.0
        self._n = 0
        self._sum = 0.0
        self._least, self._largest = np.inf, -np.inf
        self._finite = True

    def add(self, samples: np.ndarray, rate_hz: int, at_s: float | None = None) -> None:
        """Take float32 samples at their own rate, in order; `at_s` is where in the utterance they begin, if that is known."""
        pause_s = 0.0 if at_s is None else at_s - self._given_s
        if LEAST_PAUSE_S < pause_s < LONGEST_PAUSE_S and self._extractor.spec.level == "frame":
            self._pause(pause_s, rate_hz)
        self._take(samples, rate_hz)

    def _pause(self, pause_s: float, rate_hz: int) -> None:
        left = round(pause_s * rate_hz)
        while left > 0:
            part = min(left, rate_hz)
            self._take(np.zeros(part, dtype=np.float32), rate_hz)
            left -= part

    def _take(self, samples: np.ndarray, rate_hz: int) -> None:
        self._given_s += len(samples) / rate_hz
        self._wave.add(samples, rate_hz)
        self._hand_on()

    def finish(self) -> Extracted:
        """Return the result; too short, not finite and silent sounds have their own verdicts."""
        self._wave.end()
        self._hand_on()
        rest = self._wave.take(self._wave.n_ready)
        self._check(rest)
        if self._n < MIN_AUDIO_S * SAMPLE_RATE_HZ:
            return Extracted(Verdict.too_short, message=f"{self._n / SAMPLE_RATE_HZ:.3f} s of audio in the segment.")
        if not self._finite:
            return Extracted(Verdict.non_finite, None, "the audio holds NaN or infinite samples.", "E-NONFINITE")
        offset = self._sum / self._n
        if max(self._largest - offset, offset - self._least) < SILENCE_PEAK:
            return Extracted(Verdict.silent, message="the audio is silent.")
        halves = [] if len(rest) <= _pass_samples() else [-(-len(rest) // 2) // self._grid * self._grid]
        for part in np.split(rest, halves):
            self._session.add(part)
        return self._session.finish()

    def _hand_on(self) -> None:
        while self._wave.n_ready >= 2 * _pass_samples():
            part = self._wave.take(_pass_samples() // self._grid * self._grid)
            self._check(part)
            if self._finite:
                self._session.add(part)

    @cached_property
    def _grid(self) -> int:
        """Samples from row to row of frame-level features: passes end where rows begin. Asked for by long sounds alone."""
        return round((self._extractor.spec.hop_s or 0) * SAMPLE_RATE_HZ) or 1

    def _check(self, part: np.ndarray) -> None:
        if not len(part):
            return
        self._n += len(part)
        self._sum += float(part.sum(dtype=np.float64))
        self._least, self._largest = min(self._least, float(part.min())), max(self._largest, float(part.max()))
        # A NaN or an infinity anywhere is in the sum too.
        self._finite = self._finite and bool(np.isfinite(self._sum))


def _pass_samples() -> int:
    return round(sampling.LONGEST_PASS_S * SAMPLE_RATE_HZ)


def heard(waveform: np.ndarray, extractor: AudioExtractor) -> Extracted:
    """Return what an extractor makes of a whole waveform: float32 [samples], mono, 16 kHz."""
    hearing = Hearing(extractor)
    hearing.add(waveform, SAMPLE_RATE_HZ)
    return hearing.finish()
