"""One clip as a file: H.264 pictures and AAC sound in an MP4 container."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

AUDIO_FRAME = 1024  # samples of one AAC frame
# With its look-ahead x264 does not give the same bytes for the same pictures every time; without it, it does.
X264_OPTIONS = {"preset": "veryfast", "crf": "21", "x264-params": "rc-lookahead=0:sync-lookahead=0:mbtree=0"}


def write_clip(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    samples: NDArray[np.int16],
    *,
    frame_rate: int,
    sample_rate_hz: int,
) -> None:
    """Write pictures [height, width, 3] and mono samples [n] to `path`; the same input gives the same bytes."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=frame_rate, options=X264_OPTIONS)
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # the bytes depend on how many threads share the work
        video.codec_context.flags |= Flags.bitexact
        audio = container.add_stream("aac", rate=sample_rate_hz, layout="mono", bit_rate=64_000)
        audio.codec_context.flags |= Flags.bitexact
        for index, picture in enumerate(pictures):
            if index == 0:
                video.height, video.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            frame.time_base = Fraction(1, frame_rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        floats = (samples.astype(np.float32) / 32768)[None, :]
        for start in range(0, floats.shape[1], AUDIO_FRAME):
            sound = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(floats[:, start : start + AUDIO_FRAME]), format="fltp", layout="mono"
            )
            sound.sample_rate = sample_rate_hz
            sound.pts = start
            sound.time_base = Fraction(1, sample_rate_hz)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
