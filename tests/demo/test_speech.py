"""The synthesiser, and what an emotion does to the voice."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from imer.core.errors import MissingDependency
from imer.demo.face import require_portrait
from imer.demo.prosody import colour, envelope, speech_of
from imer.demo.script import unseen_lines
from imer.demo.speech import SAMPLE_RATE_HZ, Speech, require_synthesiser, speak_all


def test_the_same_list_gives_the_same_samples() -> None:
    speeches = [Speech("The train comes at nine."), Speech("The train comes at nine.", voice="en-us+f4", pitch=70)]
    first, second = speak_all(speeches), speak_all(speeches)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(0.8 * SAMPLE_RATE_HZ < len(samples) < 4 * SAMPLE_RATE_HZ for samples in first)
    assert not np.array_equal(first[0][:8000], first[1][:8000])


def test_missing_synthesiser_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingDependency, match=r"pip install 'imer\[demo\]'"):
        require_synthesiser()


def test_missing_portrait_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingDependency, match=r"pip install 'imer\[demo\]'"):
        require_portrait()


def _brightness(samples: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(samples.astype(float))) ** 2
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    return float(power[frequency_hz > 1000].sum() / power.sum())


def test_emotions_differ_in_pace_loudness_and_timbre() -> None:
    lines = unseen_lines(0)
    spoken = speak_all([speech_of(line, 0) for line in lines])
    waveforms = {line.emotion: colour(samples, line, 0) for line, samples in zip(lines, spoken, strict=True)}
    asked = {line.emotion: speech_of(line, 0) for line in lines}
    loudness = {name: float(np.sqrt(np.mean(samples.astype(float) ** 2))) for name, samples in waveforms.items()}
    assert loudness["sad"] < loudness["neutral"] < loudness["angry"]
    assert _brightness(waveforms["sad"]) < _brightness(waveforms["neutral"]) < _brightness(waveforms["angry"])
    assert asked["sad"].rate_wpm < asked["neutral"].rate_wpm < asked["angry"].rate_wpm
    assert asked["sad"].pitch < asked["neutral"].pitch < asked["happy"].pitch


def test_mouth_follows_loudness() -> None:
    half = SAMPLE_RATE_HZ // 2
    tone = 8000 * np.sin(2 * np.pi * 200 * np.arange(half) / SAMPLE_RATE_HZ)
    mouth = envelope(np.concatenate([np.zeros(half), tone]).astype(np.int16), 25.0)
    assert mouth.shape == (25,)
    assert mouth[:12].max() < 0.05
    assert mouth[13:].min() > 0.9
