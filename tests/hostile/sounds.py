"""Sound that is odd in itself: silent, clipped, not a number, too short, too fast, in too many channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.hostile.case import Case, Make, World, content
from tests.hostile.encode import RATE, sound, write
from tests.hostile.headers import FLOAT, wav

TALK = sound()[0]


def floats(samples: np.ndarray, bits: int = 32, channels: int = 1, rate: int = RATE) -> Make:
    kind = {32: "<f4", 64: "<f8"}[bits]
    return content(wav(samples.astype(kind).tobytes(), tag=FLOAT, bits=bits, channels=channels, rate=rate))


def ints(samples: np.ndarray, bits: int = 16, channels: int = 1, rate: int = RATE) -> Make:
    if bits == 8:
        data = np.clip(samples * 127 + 128, 0, 255).astype(np.uint8).tobytes()
    elif bits == 24:
        data = (samples * 8_388_607).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        data = (samples.astype(np.float64) * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes()
    return content(wav(data, bits=bits, channels=channels, rate=rate))


def coded(codec: str, channels: int = 1, rate: int = RATE, sample_format: str | None = None) -> Make:
    def make(path: Path, _: World) -> None:
        voice = np.repeat(sound(rate=rate), channels, axis=0)
        write(path, picture=None, voice=voice, rate=rate, audio_codec=codec, sample_format=sample_format)

    return make


def with_value(value: float, at: slice | int = 500) -> np.ndarray:
    samples = TALK.copy()
    samples[at] = value
    return samples


def interleaved(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels, axis=1).ravel()


def cases() -> list[Case]:
    whole = slice(None)
    left_only = interleaved(TALK, 0 * TALK)
    table: dict[str, tuple[Make, str]] = {
        "silence.wav": (ints(0 * TALK), "silent"),
        "near-silence.wav": (floats(TALK * 1e-4), "silent"),
        "whisper.wav": (floats(TALK * 1e-2), "ok"),
        "offset.wav": (floats(0 * TALK + 0.5), "silent"),
        "offset-voice.wav": (floats(TALK * 0.4 + 0.5), "ok"),
        "opposite.wav": (ints(interleaved(TALK, -TALK), channels=2), "silent"),
        "clipped.wav": (ints(np.clip(TALK * 50, -1, 1)), "ok"),
        "over-full-scale.wav": (floats(TALK * 1000), "ok"),
        "one-click.wav": (ints(np.eye(1, 2 * RATE, RATE)[0] * 0.9), "ok"),
        "nan.wav": (floats(with_value(np.nan)), "E-NONFINITE"),
        "nan-all.wav": (floats(with_value(np.nan, whole)), "E-NONFINITE"),
        "nan-last.wav": (floats(with_value(np.nan, -1)), "E-NONFINITE"),
        "nan-44100.wav": (floats(with_value(np.nan), rate=44_100), "E-NONFINITE"),
        "nan-left.wav": (floats(interleaved(with_value(np.nan), TALK), channels=2), "E-NONFINITE"),
        "inf.wav": (floats(with_value(np.inf)), "E-NONFINITE"),
        "inf-minus.wav": (floats(with_value(-np.inf)), "E-NONFINITE"),
        "inf-both.wav": (floats(interleaved(with_value(np.inf), with_value(-np.inf)), channels=2), "E-NONFINITE"),
        "nan-64.wav": (floats(with_value(np.nan), bits=64), "E-NONFINITE"),
        "huge.wav": (floats(TALK * 1e30), "ok"),
        "largest.wav": (floats(with_value(3.4e38, whole)), "silent"),
        "beyond-float32.wav": (floats(TALK.astype(np.float64) * 1e300, bits=64), "E-NONFINITE"),
        "denormal.wav": (floats(TALK * 1e-40), "silent"),
        "minus-zero.wav": (floats(-0.0 * TALK), "silent"),
        "noise.wav": (ints(np.random.default_rng(7).uniform(-0.8, 0.8, 2 * RATE)), "ok"),
        "square.wav": (ints(np.sign(TALK) * 0.99), "ok"),
        "samples-1.wav": (ints(TALK[:1]), "too_short"),
        "ms-1.wav": (ints(TALK[:16]), "too_short"),
        "ms-59.wav": (ints(TALK[: 16 * 59]), "too_short"),
        "ms-61.wav": (ints(TALK[: 16 * 61]), "ok"),
        "ms-200.wav": (ints(TALK[: 16 * 200]), "ok"),
        "bits-8.wav": (ints(TALK, bits=8), "ok"),
        "bits-24.wav": (ints(TALK, bits=24), "ok"),
        "bits-32.wav": (ints(TALK, bits=32), "ok"),
        "float-32.wav": (floats(TALK), "ok"),
        "float-64.wav": (floats(TALK, bits=64), "ok"),
        "channels-2.wav": (ints(left_only, channels=2), "ok"),
        "channels-6.wav": (ints(interleaved(*[TALK] * 6), channels=6), "ok"),
        "channels-8.wav": (ints(interleaved(*[TALK] * 8), channels=8), "ok"),
        "channels-17.wav": (ints(interleaved(*[TALK] * 17), channels=17), "ok"),
        "channels-64.wav": (ints(interleaved(*[TALK] * 64), channels=64), "ok"),
    }
    for rate in (1, 7, 100, 1000, 4000, 7999, 8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000, 384_000):
        # One sample a second is no sound, yet two hundred of them are more than three minutes.
        slow = TALK[:200] if rate < 10 else sound(rate=max(rate, 1000))[0][: 2 * rate]
        table[f"rate-{rate}.wav"] = (ints(slow, rate=rate), "ok")
    for name, codec in {
        "mu-law.wav": "pcm_mulaw", "a-law.wav": "pcm_alaw", "adpcm-ms.wav": "adpcm_ms", "adpcm-ima.wav": "adpcm_ima_wav",
        "big-endian.aiff": "pcm_s16be", "sun.au": "pcm_s16be", "apple.caf": "pcm_s16le", "sony.w64": "pcm_s16le",
        "true.tta": "tta", "lossless.m4a": "alac", "dolby.ac3": "ac3", "windows.wma": "wmav2", "layer-2.mp2": "mp2",
        "bare.aac": "aac", "creative.voc": "pcm_u8", "wave.nut": "pcm_s16le",
    }.items():  # fmt: skip
        table[name] = (coded(codec, rate=44_100 if codec in ("ac3", "mp2", "wmav2") else RATE), "ok")
    fast = {"nan.wav", "inf.wav", "silence.wav", "samples-1.wav", "channels-64.wav", "rate-1.wav", "rate-384000.wav"}
    return [Case("sound", name, make, audio, "no_stream", fast=name in fast) for name, (make, audio) in table.items()]
