"""Small real clips for the tests: a face that moves, a voice-like sound, written by PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import av
import numpy as np

RATE = 16_000


@cache
def portrait() -> np.ndarray:
    """A real face in public domain (scikit-image's astronaut), uint8 [240, 320, 3]."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[20:260, 80:400])


def face(frame: int) -> np.ndarray:
    """The portrait, moving a little and getting brighter and darker."""
    shifted = np.roll(portrait(), (frame % 5, frame % 7), axis=(0, 1))
    return np.clip(shifted * (0.9 + 0.1 * np.sin(frame / 5)), 0, 255).astype(np.uint8)


def grey(frame: int) -> np.ndarray:
    """A picture without a face."""
    return np.full((240, 320, 3), 90 + frame % 20, dtype=np.uint8)


def still(picture: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda frame: picture


def voice(seconds: float, pitch_hz: float = 120.0, rate: int = RATE) -> np.ndarray:
    """A voice-like sound: pulses at a gliding pitch through two resonances; float32 [samples], peak 0.5."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * pitch_hz * (time + 0.05 * np.sin(2 * np.pi * 0.7 * time))
    tone = np.zeros_like(time)
    for k in range(1, 25):
        resonance = sum(np.exp(-(((k * pitch_hz - formant) / 300) ** 2)) for formant in (700, 1800))
        tone += np.sin(k * phase) * (1.0 / k + 0.3 * resonance)
    loud = tone * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return (0.5 * loud / max(np.abs(loud).max(), 1e-9)).astype(np.float32)


def write_clip(
    path: Path,
    *,
    seconds: float = 1.0,
    picture: Callable[[int], np.ndarray] | None = face,
    sound: np.ndarray | None = None,
    rate: int = RATE,
    fps: int = 25,
    video_codec: str = "mpeg4",
    audio_codec: str = "aac",
    turned: int = 0,
    pixels: str = "yuv420p",
    sample_format: str | None = None,
    keyframe_every: int = 12,
    encoder: dict[str, str] | None = None,
) -> Path:
    """Write a clip with a video stream (unless `picture` is None) and an audio stream (unless `sound` is None)."""
    with av.open(str(path), "w") as container:
        if picture is not None:
            first = picture(0)
            video = container.add_stream(video_codec, rate=fps, options=encoder or {})
            video.width, video.height, video.pix_fmt = first.shape[1], first.shape[0], pixels
            video.codec_context.gop_size = keyframe_every
            if turned:
                video.set_display_rotation(turned)
        if sound is not None:
            layout = "mono" if sound.ndim == 1 else {2: "stereo", 6: "5.1"}[len(sound)]
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)
            if sample_format:
                audio.codec_context.format = sample_format
        if picture is not None:
            for index in range(round(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
                container.mux(video.encode(frame))
        if sound is not None:
            channels = np.atleast_2d(sound).astype(np.float32)
            for start in range(0, channels.shape[1], 1024):
                part = np.ascontiguousarray(channels[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
        if picture is not None:
            container.mux(video.encode(None))
    return path


def write_manifest(path: Path, rows: Iterable[dict[str, object]]) -> Path:
    """Write rows as a CSV manifest with the union of their columns."""
    import csv

    table = list(rows)
    columns = list(dict.fromkeys(key for row in table for key in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(table)
    return path
