"""Spectral and prosodic statistics by librosa: log-mel, MFCC and their changes, spectral shape, energy, pitch.

Every 10 ms one row of low-level values; pooled to mean and spread over the utterance, plus pitch statistics over the
voiced frames. Pitch is by YIN (probabilistic YIN costs fifty times as much and adds little here).
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from imer.core.errors import MissingDependency
from imer.core.types import FeatureSpec
from imer.extractors.base import Extracted, checked_level, finite
from imer.extractors.compiling import compiling_alone
from imer.extractors.moments import Moments
from imer.extractors.passes import CONTEXT_S, Passes
from imer.media.sampling import LONGEST_PASS_S, SAMPLE_RATE_HZ

HOP, WINDOW = 160, 512  # samples: 10 ms and 32 ms
N_MEL, N_MFCC = 40, 20
PITCH_MIN_HZ, PITCH_MAX_HZ = 60.0, 500.0
_PITCH_WINDOW = 1024  # samples: YIN needs two periods of the lowest pitch
_VOICED_BELOW_PEAK_DB = 35.0  # quieter frames are pauses
_SHAPES = ("centroid", "bandwidth", "rolloff", "flatness")
_PITCH = ("pitch_median", "pitch_mean", "pitch_sd", "pitch_range", "pitch_slope", "voiced_share")


def frame_names() -> list[str]:
    """Return the names of the values per frame."""
    return [
        *(f"logmel_{i}" for i in range(N_MEL)),
        *(f"mfcc_{i}" for i in range(N_MFCC)),
        *(f"mfcc_delta_{i}" for i in range(N_MFCC)),
        *(f"mfcc_delta2_{i}" for i in range(N_MFCC)),
        *_SHAPES,
        *(f"contrast_{i}" for i in range(7)),
        "zero_crossing_rate",
        "energy_db",
        "log_pitch",
    ]


class Prosody:
    """Statistics of 114 low-level values (or the values themselves, every 10 ms)."""

    name = "librosa/prosody"

    def __init__(self, level: str = "utterance") -> None:
        self.level = checked_level(level)

    @property
    def spec(self) -> FeatureSpec:
        names = frame_names()
        if self.level == "utterance":
            names = [*(f"{n}_{how}" for how in ("mean", "sd") for n in names if n != "log_pitch"), *_PITCH]
        return FeatureSpec(
            modality="audio",
            extractor=self.name,
            version=f"2, librosa {version('librosa')}",
            level=self.level,
            dim=len(names),
            hop_s=HOP / SAMPLE_RATE_HZ if self.level == "frame" else None,
            config={
                "sample_rate_hz": SAMPLE_RATE_HZ,
                "hop": HOP,
                "window": WINDOW,
                "mel": N_MEL,
                "mfcc": N_MFCC,
                "pass_s": LONGEST_PASS_S,
                **({"context_s": CONTEXT_S} if self.level == "frame" else {}),
            },
            dim_names=tuple(names),
            licence="ISC",
        )

    def load(self, device: str) -> None:
        try:
            with compiling_alone():
                rows(np.sin(np.arange(4800, dtype=np.float32) / 20))  # librosa compiles on first use
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            raise MissingDependency(
                "librosa keeps what it compiles beside its sources or under ~/.cache, and can write to neither: set "
                "NUMBA_CACHE_DIR to a folder that can be written to."
            ) from error

    def begin(self) -> ProsodySession:
        return ProsodySession(self.level)


class ProsodySession:
    """One utterance: the statistics of its frames over all passes, or the frames themselves."""

    def __init__(self, level: str) -> None:
        self._passes = Passes(lambda waveform: rows(waveform)[0], HOP) if level == "frame" else None
        self._moments = Moments()
        self._pitch_hz: list[np.ndarray] = []
        self._voiced: list[np.ndarray] = []

    def add(self, waveform: np.ndarray) -> None:
        if self._passes is not None:
            self._passes.add(waveform)
            return
        values_TD, pitch_hz_T, voiced_T = rows(waveform)
        self._moments.add(values_TD[:, :-1])
        self._pitch_hz.append(pitch_hz_T)
        self._voiced.append(voiced_T)

    def finish(self) -> Extracted:
        if self._passes is not None:
            return finite(self._passes.rows(), Prosody.name)
        pitch = pitch_statistics(np.concatenate(self._pitch_hz), np.concatenate(self._voiced))
        return finite(np.concatenate([self._moments.mean, self._moments.sd, pitch])[None, :], Prosody.name)


def rows(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values per frame float32 [T, 114], the pitch in Hz [T] and whether a frame is voiced [T]."""
    import librosa

    signal = waveform.astype(np.float32)
    if len(signal) < _PITCH_WINDOW:
        signal = np.pad(signal, (0, _PITCH_WINDOW - len(signal)))
    magnitude = np.abs(librosa.stft(signal, n_fft=WINDOW, hop_length=HOP))
    power = magnitude**2
    mel = librosa.power_to_db(
        librosa.feature.melspectrogram(S=power, sr=SAMPLE_RATE_HZ, n_mels=N_MEL, hop_length=HOP), ref=1.0, top_db=None
    )
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=N_MFCC)
    width = min(9, mfcc.shape[1] - (mfcc.shape[1] + 1) % 2)  # an odd number of frames, no more than there are
    deltas = [librosa.feature.delta(mfcc, width=width, order=k, mode="nearest") for k in (1, 2)]
    shape = {"S": magnitude, "sr": SAMPLE_RATE_HZ}
    energy_db = librosa.power_to_db(librosa.feature.rms(S=magnitude, frame_length=WINDOW)[0] ** 2, ref=1.0, top_db=None)
    pitch_hz = librosa.yin(
        signal, fmin=PITCH_MIN_HZ, fmax=PITCH_MAX_HZ, sr=SAMPLE_RATE_HZ, frame_length=_PITCH_WINDOW, hop_length=HOP
    )
    crossings = librosa.feature.zero_crossing_rate(signal, frame_length=WINDOW, hop_length=HOP)
    n = min(mel.shape[1], len(pitch_hz), crossings.shape[1])
    voiced = (energy_db[:n] > energy_db[:n].max() - _VOICED_BELOW_PEAK_DB) & (crossings[0, :n] < 0.25)
    voiced &= (pitch_hz[:n] > PITCH_MIN_HZ * 1.02) & (pitch_hz[:n] < PITCH_MAX_HZ * 0.98)
    log_pitch = np.where(voiced, np.log2(pitch_hz[:n] / PITCH_MIN_HZ), 0.0)
    parts = [
        mel, mfcc, *deltas,
        librosa.feature.spectral_centroid(**shape), librosa.feature.spectral_bandwidth(**shape),
        librosa.feature.spectral_rolloff(**shape), librosa.feature.spectral_flatness(S=magnitude),
        librosa.feature.spectral_contrast(**shape), crossings, energy_db[None], log_pitch[None],
    ]  # fmt: skip
    return np.concatenate([part[:, :n] for part in parts]).T.astype(np.float32), pitch_hz[:n], voiced


def pitch_statistics(pitch_hz_T: np.ndarray, voiced_T: np.ndarray) -> np.ndarray:
    """Return six numbers, in semitones above 60 Hz, of the voiced frames; zeros where there is none."""
    share = float(voiced_T.mean())
    times = np.flatnonzero(voiced_T) * HOP / SAMPLE_RATE_HZ
    if len(times) < 2:
        return np.array([0.0, 0.0, 0.0, 0.0, 0.0, share])
    semitones = 12.0 * np.log2(pitch_hz_T[voiced_T] / PITCH_MIN_HZ)
    low, median, high = np.percentile(semitones, [5, 50, 95])
    centred = times - times.mean()
    slope = float(centred @ (semitones - semitones.mean()) / (centred @ centred))
    return np.array([median, semitones.mean(), semitones.std(), high - low, slope, share])
