"""How a line is spoken: the voice of each speaker, and what an emotion does to pitch, pace, loudness and timbre."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imer.core.seeding import derived_seed, generator
from imer.demo.script import Line
from imer.demo.speech import SAMPLE_RATE_HZ, Speech

# Breathy voices (f2, f3, Alicia, …) are not among them: espeak-ng's breath is a different noise in every process.
VOICES = (
    "en-us+f4", "en-us+m3", "en-us+linda", "en-us+Alex", "en-gb-x-rp+f1", "en-us+m7", "en-us+Annie", "en-us+adam",
    "en-us+steph", "en-gb-scotland+m1", "en-us+Andrea", "en-us+Michael", "en-us+shelby", "en-us+michel", "en-us+belinda",
    "en-us+Denis", "en-gb-scotland+f4", "en-gb-x-rp+m4", "en-us+Mike", "en-us+max",
)  # fmt: skip


@dataclass(frozen=True)
class Delivery:
    """What an emotion at full strength adds to a speaker's ordinary voice (units of `Speech`; loudness in dB)."""

    pitch: float = 0.0
    pitch_range: float = 0.0
    rate_wpm: float = 0.0
    loudness_db: float = 0.0
    brightness_db: float = 0.0  # of the sound above about 1 kHz
    roughness: float = 0.0  # 0: none, 1: pressed to the limit


DELIVERIES = {
    "neutral": Delivery(),
    "happy": Delivery(pitch=36, pitch_range=46, rate_wpm=24, loudness_db=3, brightness_db=3),
    "angry": Delivery(pitch=6, pitch_range=14, rate_wpm=34, loudness_db=7, brightness_db=7, roughness=1.0),
    "sad": Delivery(pitch=-20, pitch_range=-42, rate_wpm=-42, loudness_db=-7, brightness_db=-7),
}
LEVEL = 4000.0  # root mean square of ordinary speech, on the scale of 16-bit samples
NOISE_LEVEL = 12.0  # of the room
MARGIN_S = 0.15  # silence kept before and after the words


def speech_of(line: Line, seed: int) -> Speech:
    """What the synthesiser is asked for: the speaker's voice, moved by the cue and by chance."""
    speaker = generator(seed, "demo", "voice", line.speaker)
    chance = generator(seed, "demo", "speech", line.utterance_id)
    delivery = DELIVERIES[line.cues["audio"]]

    def moved(usual: float, speaker_spread: float, shift: float, spread: float, low: int, high: int) -> int:
        own = usual + speaker_spread * speaker.standard_normal()
        value = own + line.intensity * shift + spread * chance.standard_normal()
        return int(np.clip(round(value), low, high))

    # Voices are dealt in turn, so that speakers differ as long as there are voices.
    voice = VOICES[(_speaker_number(line.speaker) + derived_seed(seed, "demo", "voices")) % len(VOICES)]
    return Speech(
        text=line.words,
        voice=voice,
        pitch=moved(45, 4, delivery.pitch, 3, 0, 99),
        pitch_range=moved(50, 5, delivery.pitch_range, 5, 0, 99),
        rate_wpm=moved(180, 6, delivery.rate_wpm, 6, 110, 260),
    )


def _speaker_number(speaker: str) -> int:
    session, _, letter = speaker.partition("_")
    digits = session.removeprefix("s")
    return 2 * int(digits) + (letter == "b") if digits.isdigit() else 0


def colour(spoken: NDArray[np.int16], line: Line, seed: int) -> NDArray[np.int16]:
    """Bring the synthesiser's samples to the loudness and timbre of the cue, with a margin of room noise around."""
    from scipy.signal import butter, sosfilt

    rng = generator(seed, "demo", "room", line.utterance_id)
    delivery = DELIVERIES[line.cues["audio"]]
    strength = line.intensity
    samples = trimmed(spoken).astype(np.float64)
    low = sosfilt(butter(2, 1000, fs=SAMPLE_RATE_HZ, output="sos"), samples)
    samples = low + 10 ** (strength * delivery.brightness_db / 20) * (samples - low)
    samples *= LEVEL / max(1.0, float(np.sqrt(np.mean(samples**2))))
    if delivery.roughness > 0:  # pressing a voice adds overtones; soft clipping does the same
        drive = 1 + 2.5 * strength * delivery.roughness
        samples = np.tanh(drive * samples / 15000) * 15000 / drive**0.5
        samples *= LEVEL / float(np.sqrt(np.mean(samples**2)))
    samples *= 10 ** ((strength * delivery.loudness_db + 1.0 * rng.standard_normal()) / 20)
    margin = np.zeros(round(MARGIN_S * SAMPLE_RATE_HZ))
    samples = np.concatenate([margin, samples, margin])
    samples += NOISE_LEVEL * rng.standard_normal(len(samples))
    return np.clip(np.round(samples), -32767, 32767).astype(np.int16)


def trimmed(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Take the silence off both ends."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 200)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def envelope(samples: NDArray[np.int16], frame_rate: float) -> NDArray[np.float32]:
    """How far the mouth is open at each video frame [T], from 0 to 1: the loudness around it, on a soft scale."""
    n_frames = int(np.ceil(len(samples) / SAMPLE_RATE_HZ * frame_rate))
    edges = np.linspace(0, len(samples), n_frames + 1).astype(int)
    power = [float(np.mean(samples[a:b].astype(np.float64) ** 2)) for a, b in pairwise(edges)]
    level = np.sqrt(np.array(power))
    spoken = level / max(1.0, float(np.percentile(level, 95)))
    return np.clip(spoken, 0, 1).astype(np.float32)
