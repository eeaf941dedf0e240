"""openSMILE and librosa features: widths, determinism, odd signals, and that they hear what is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imer.core.types import FeatureSpec, Verdict
from imer.extraction.hearing import Hearing, heard
from imer.extractors.base import Extracted
from imer.extractors.librosa import Prosody
from imer.extractors.opensmile import ComParE, EGeMAPS
from tests.clips import voice

EXTRACTORS = [EGeMAPS, ComParE, Prosody]


@pytest.fixture(scope="module", params=EXTRACTORS, ids=lambda made: made.name)
def extractor(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.load("cpu")
    return made


def test_one_finite_named_vector(extractor: Any) -> None:
    result = heard(voice(1.0), extractor)
    spec = extractor.spec
    assert result.verdict is Verdict.ok
    assert result.values_TD.shape == (1, spec.dim)
    assert result.values_TD.dtype == np.float32
    assert len(spec.dim_names) == len(set(spec.dim_names)) == spec.dim
    assert spec.dim == {"opensmile/egemaps": 88, "opensmile/compare": 6373, "librosa/prosody": 232}[spec.extractor]
    assert spec.modality == "audio"


def test_the_same_sound_gives_the_same_numbers_whatever_came_before(extractor: Any) -> None:
    first = heard(voice(1.0), extractor).values_TD
    heard(voice(0.5, pitch_hz=220), extractor)
    assert np.array_equal(first, heard(voice(1.0), extractor).values_TD)


@pytest.mark.parametrize(
    "signal",
    [
        voice(0.06),
        voice(0.1),
        np.clip(voice(1.0) * 50, -1, 1),
        voice(1.0) + np.float32(0.4),
        np.eye(1, 16000, 8000, dtype=np.float32)[0],
        np.random.default_rng(0).normal(0, 0.2, 16000).astype(np.float32),
    ],
    ids=["60 ms", "100 ms", "clipped", "offset", "click", "noise"],
)
def test_odd_signals_give_finite_values(extractor: Any, signal: np.ndarray) -> None:
    assert heard(signal, extractor).verdict is Verdict.ok


def test_verdicts_before_any_extractor(extractor: Any) -> None:
    assert heard(np.zeros(16000, np.float32), extractor).verdict is Verdict.silent
    assert heard(np.full(16000, 0.3, np.float32), extractor).verdict is Verdict.silent
    assert heard(voice(0.05), extractor).verdict is Verdict.too_short
    assert heard(np.zeros(0, np.float32), extractor).verdict is Verdict.too_short
    broken = voice(1.0)
    broken[100] = np.nan
    found = heard(broken, extractor)
    assert (found.verdict, found.code) == (Verdict.non_finite, "E-NONFINITE")


def test_pitch_is_heard() -> None:
    prosody = Prosody()
    names = prosody.spec.dim_names
    low, high = (
        dict(zip(names, heard(voice(1.0, pitch_hz=hz), prosody).values_TD[0], strict=True)) for hz in (110, 220)
    )
    assert high["pitch_median"] - low["pitch_median"] == pytest.approx(12.0, abs=1.0), "an octave is 12 semitones"
    assert low["voiced_share"] > 0.7
    smile = EGeMAPS()
    place = smile.spec.dim_names.index("F0semitoneFrom27.5Hz_sma3nz_amean")
    heard_low, heard_high = (heard(voice(1.0, pitch_hz=hz), smile).values_TD[0, place] for hz in (110, 220))
    assert heard_high - heard_low == pytest.approx(12.0, abs=1.0)


@pytest.mark.parametrize("made", [EGeMAPS, Prosody])
def test_frame_level(made: Any) -> None:
    extractor = made("frame")
    result = heard(voice(1.0), extractor)
    assert result.values_TD.shape[1] == extractor.spec.dim
    assert 90 <= len(result.values_TD) <= 102
    assert extractor.spec.hop_s == pytest.approx(0.01)
    assert extractor.spec.fingerprint != made().spec.fingerprint


def test_a_long_utterance_comes_in_passes(extractor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded; three passes that are alike give nearly what one of them gives."""
    one = voice(10 / 7)  # a whole period of everything in it
    alone = heard(one, extractor)
    monkeypatch.setattr("imer.media.sampling.LONGEST_PASS_S", 10 / 7)
    joined = heard(np.tile(one, 3), extractor)
    assert joined.verdict is Verdict.ok
    assert joined.values_TD.shape == alone.values_TD.shape
    if extractor.spec.extractor.startswith("opensmile"):
        assert np.allclose(joined.values_TD, alone.values_TD, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("made", [EGeMAPS, ComParE, Prosody])
def test_frames_of_passes_are_those_of_the_whole(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a hop whatever the passes are, and where they meet nothing is to be seen of it."""
    extractor = made("frame")
    sound = voice(7.003)
    whole = heard(sound, extractor).values_TD
    monkeypatch.setattr("imer.media.sampling.LONGEST_PASS_S", 1.2345)
    joined = heard(sound, extractor).values_TD
    assert joined.shape == whole.shape
    apart_TD = np.abs(joined - whole) / (whole.std(axis=0) + 1e-6)
    assert np.median(apart_TD) < 1e-3
    assert (apart_TD > 1.0).mean() < 0.02, "but for what looks back further, such as jitter"


def test_passes_do_not_depend_on_how_the_sound_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, or in packets at another rate's block size: the same passes, none of them short, little kept."""
    monkeypatch.setattr("imer.media.sampling.LONGEST_PASS_S", 1.0)
    for seconds, expected in ((0.9, [0.9]), (1.5, [0.75, 0.75]), (2.0, [1.0, 1.0]), (5.3, [1.0] * 4 + [0.65] * 2)):
        for block in (1024, 1 << 20):
            recorder = Recorder()
            hearing = Hearing(recorder)
            sound = voice(seconds)
            for start in range(0, len(sound), block):
                hearing.add(sound[start : start + block], 16_000)
                assert hearing._wave.n_ready <= 2 * 16_000
            assert hearing.finish().verdict is Verdict.ok
            assert [len(part) / 16_000 for part in recorder.passes] == pytest.approx(expected, abs=1e-3)
            assert np.array_equal(np.concatenate(recorder.passes), sound)


class Recorder:
    """An extractor that keeps what it is given."""

    spec = FeatureSpec("audio", "recorder", "1", "utterance", 1)

    def __init__(self) -> None:
        self.passes: list[np.ndarray] = []

    def begin(self) -> Recorder:
        return self

    def add(self, waveform: np.ndarray) -> None:
        self.passes.append(waveform)

    def finish(self) -> Extracted:
        return Extracted(Verdict.ok, np.zeros((1, 1), np.float32))
