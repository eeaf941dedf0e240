"""Clips of our own making, from which everything else here is made: the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer

from tests.clips import face, voice

RATE = 16_000
FPS = 25
SECONDS = 2.0
Picture = Callable[[int], np.ndarray]


def sound(seconds: float = SECONDS, pitch_hz: float = 120.0, rate: int = RATE) -> np.ndarray:
    """A voice-like sound, float32 [1, samples]."""
    return voice(seconds, pitch_hz, rate)[None, :]


def write(
    path: Path,
    *,
    picture: Picture | None = face,
    voice: np.ndarray | None = None,
    seconds: float = SECONDS,
    rate: int = RATE,
    fps: int | Fraction = FPS,
    video_codec: str = "mpeg4",
    audio_codec: str = "pcm_s16le",
    pixels: str = "yuv420p",
    layout: str | None = None,
    sample_format: str | None = None,
    turned: int = 0,
    container: str | None = None,
    times: Sequence[int] | None = None,
    audio_from: int = 0,
    muxer: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
) -> Path:
    """Write a clip of `picture(0), picture(1), …` and of `voice` [channels, samples].

    `times` are the pictures' time stamps in frames (their number is then the number of pictures); `audio_from` is the
    first time stamp of the sound in samples.
    """
    options = {"fflags": "+bitexact", **(muxer or {})}
    with av.open(str(path), "w", format=container, options=options, metadata_errors="replace") as out:
        video = audio = None
        if picture is not None:
            video = out.add_stream(video_codec, rate=fps, options=encoder or {})
            assert isinstance(video, av.VideoStream)
            first = picture(0)
            video.height, video.width, video.pix_fmt = first.shape[0], first.shape[1], pixels
            video.codec_context.gop_size, video.codec_context.thread_count = 12, 1
            video.codec_context.flags |= Flags.bitexact
            if turned:
                video.set_display_rotation(turned)
        if voice is not None:
            layout = layout or {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(voice)]
            audio = out.add_stream(audio_codec, rate=rate, layout=layout)
            assert isinstance(audio, av.AudioStream)
            audio.codec_context.flags |= Flags.bitexact
            if audio_codec == "wmav2":
                audio.bit_rate = 64_000
            if sample_format:
                audio.codec_context.format = sample_format
        if video is not None and picture is not None:
            stamps = range(round(seconds * fps)) if times is None else times
            for index, stamp in enumerate(stamps):
                frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
                frame.pts, frame.time_base = stamp, 1 / Fraction(fps)
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
        if audio is not None and voice is not None:
            _encode_sound(out, audio, voice.astype(np.float32), rate, layout or "mono", audio_from)
    return path


def _encode_sound(
    out: OutputContainer, audio: av.AudioStream, voice: np.ndarray, rate: int, layout: str, start: int
) -> None:
    for first in range(0, voice.shape[1], 1024):
        part = np.ascontiguousarray(voice[:, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start + first, Fraction(1, rate)
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


X264 = {"preset": "veryfast", "crf": "21", "x264-params": "rc-lookahead=0:sync-lookahead=0:mbtree=0"}
# name → how it is written. Every one has the same two seconds of a face that moves and of a voice.
FORMATS: dict[str, dict[str, object]] = {
    "wav": {"picture": None},
    "mp3": {"picture": None, "audio_codec": "libmp3lame"},
    "flac": {"picture": None, "audio_codec": "flac"},
    "ogg": {"picture": None, "audio_codec": "libopus", "rate": 48_000},
    "m4a": {"picture": None, "audio_codec": "aac", "container": "mp4"},
    "mp4": {"audio_codec": "aac", "video_codec": "libx264", "encoder": X264, "muxer": {"movflags": "+faststart"}},
    "mkv": {"audio_codec": "flac"},
    "webm": {"audio_codec": "libopus", "rate": 48_000, "video_codec": "libvpx"},
    "avi": {"audio_codec": "libmp3lame"},
    "mov": {"audio_codec": "aac"},  # its index comes last
    "ts": {"audio_codec": "mp2", "video_codec": "mpeg2video", "container": "mpegts", "rate": 48_000},
    "flv": {"audio_codec": "aac", "video_codec": "flv"},
}
SOUND_ONLY = ("wav", "mp3", "flac", "ogg", "m4a")


class Originals:
    """The undamaged clips, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, bytes] = {}

    def __getitem__(self, kind: str) -> bytes:
        if kind not in self._known:
            how = FORMATS[kind]
            rate = int(str(how.get("rate", RATE)))
            path = write(self.folder / f"talk.{kind}", voice=sound(rate=rate), **how)  # type: ignore[arg-type]
            self._known[kind] = path.read_bytes()
        return self._known[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(FORMATS)
