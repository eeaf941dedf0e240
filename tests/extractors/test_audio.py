"""openSMILE and librosa features: widths, determinism, odd signals, and that they hear what is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from imer.core.types import Verdict
from imer.extractors.librosa import Prosody
from imer.extractors.opensmile import ComParE, EGeMAPS
from imer.extractors.work import heard
from tests.clips import voice

EXTRACTORS = [EGeMAPS, ComParE, Prosody]


@pytest.fixture(scope="module", params=EXTRACTORS, ids=lambda made: made.name)
def extractor(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    made.load("cpu")
    return made


def test_one_finite_named_vector(extractor: Any) -> None:
    result = extractor.extract(voice(1.0))
    spec = extractor.spec
    assert result.verdict is Verdict.ok
    assert result.values_TD.shape == (1, spec.dim)
    assert result.values_TD.dtype == np.float32
    assert len(spec.dim_names) == len(set(spec.dim_names)) == spec.dim
    assert spec.dim == {"opensmile/egemaps": 88, "opensmile/compare": 6373, "librosa/prosody": 232}[spec.extractor]
    assert spec.modality == "audio"


def test_the_same_sound_gives_the_same_numbers_whatever_came_before(extractor: Any) -> None:
    first = extractor.extract(voice(1.0)).values_TD
    extractor.extract(voice(0.5, pitch_hz=220))
    assert np.array_equal(first, extractor.extract(voice(1.0)).values_TD)


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
    assert heard(signal, extractor.extract).verdict is Verdict.ok


def test_verdicts_before_any_extractor(extractor: Any) -> None:
    assert heard(np.zeros(16000, np.float32), extractor.extract).verdict is Verdict.silent
    assert heard(np.full(16000, 0.3, np.float32), extractor.extract).verdict is Verdict.silent
    assert heard(voice(0.05), extractor.extract).verdict is Verdict.too_short
    assert heard(np.zeros(0, np.float32), extractor.extract).verdict is Verdict.too_short
    broken = voice(1.0)
    broken[100] = np.nan
    assert heard(broken, extractor.extract).verdict is Verdict.non_finite


def test_pitch_is_heard() -> None:
    prosody = Prosody()
    names = prosody.spec.dim_names
    low, high = (
        dict(zip(names, prosody.extract(voice(1.0, pitch_hz=hz)).values_TD[0], strict=True)) for hz in (110, 220)
    )
    assert high["pitch_median"] - low["pitch_median"] == pytest.approx(12.0, abs=1.0), "an octave is 12 semitones"
    assert low["voiced_share"] > 0.7
    smile = EGeMAPS()
    place = smile.spec.dim_names.index("F0semitoneFrom27.5Hz_sma3nz_amean")
    heard_low, heard_high = (smile.extract(voice(1.0, pitch_hz=hz)).values_TD[0, place] for hz in (110, 220))
    assert heard_high - heard_low == pytest.approx(12.0, abs=1.0)


@pytest.mark.parametrize("made", [EGeMAPS, Prosody])
def test_frame_level(made: Any) -> None:
    extractor = made("frame")
    result = extractor.extract(voice(1.0))
    assert result.values_TD.shape[1] == extractor.spec.dim
    assert 90 <= len(result.values_TD) <= 102
    assert extractor.spec.hop_s == pytest.approx(0.01)
    assert extractor.spec.fingerprint != made().spec.fingerprint


def test_a_long_utterance_is_taken_in_pieces(extractor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded; three pieces that are alike give nearly what one of them gives."""
    one = voice(10 / 7)  # a whole period of everything in it
    alone = extractor.extract(one)
    monkeypatch.setattr("imer.media.sampling.LONGEST_PASS_S", 10 / 7)
    joined = extractor.extract(np.tile(one, 3))
    assert joined.verdict is Verdict.ok
    assert joined.values_TD.shape == alone.values_TD.shape
    if extractor.spec.extractor.startswith("opensmile"):
        assert np.allclose(joined.values_TD, alone.values_TD, rtol=1e-4, atol=1e-4)
