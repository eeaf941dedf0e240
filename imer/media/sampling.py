"""From decoded frames to what extractors take: mono float32 audio at 16 kHz, RGB pictures at a stated rate."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType

SAMPLE_RATE_HZ = 16_000
MAX_SHORT_SIDE = 720  # pixels; a face needs no more, and memory stays bounded for 8K video
LEAST_ASPECT = 0.25  # a header that asks for narrower pixels than this, or for wider ones, is not believed
LONGEST_PASS_S = 60.0  # audio that signal code takes in one go: openSMILE needs 0.5 MB for each second of it
_FEED_SAMPLES = 1 << 15  # given to the resampler at a time
_SAMPLE_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
_TIME_SLACK_S = 1e-3  # container time stamps are rounded, some to a millisecond


@dataclass(frozen=True)
class Picture:
    """One sampled video frame: its time in the clip (for extractors: in the utterance) in seconds, and uint8 RGB [H, W, 3]."""

    time_s: float
    rgb: np.ndarray


def mono(frame: av.AudioFrame, channel: int | None = None) -> np.ndarray:
    """Return an audio frame as float32 [samples]: one channel (from 1), or the mean of all; full scale = ±1."""
    kind = frame.format.name
    planar = kind.endswith("p")
    kind = kind.removesuffix("p")
    values = frame.to_ndarray()
    channels = values if planar else values.reshape(-1, frame.layout.nb_channels).T
    if channel is not None:
        channels = channels[channel - 1 : channel]
    if kind in _SAMPLE_SCALE:
        scaled = channels.astype(np.float32) / np.float32(_SAMPLE_SCALE[kind])
        channels = scaled - 1.0 if kind == "u8" else scaled
    channels = channels.astype(np.float32, copy=False)
    return channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)


class Waveform:
    """Collects the audio of one segment and resamples it to 16 kHz as it comes."""

    def __init__(self) -> None:
        self._pending: list[np.ndarray] = []
        self._n_pending = 0
        self._rate_hz = 0
        self._resampler: AudioResampler | None = None
        self._done: list[np.ndarray] = []

    @property
    def n_ready(self) -> int:
        """Return how many samples at 16 kHz are there to be taken."""
        return sum(map(len, self._done))

    def take(self, n: int) -> np.ndarray:
        """Return the first n samples that are ready, float32 at 16 kHz, and forget them."""
        joined = np.concatenate(self._done) if self._done else np.zeros(0, dtype=np.float32)
        self._done = [joined[n:].copy()]
        return joined[:n]

    def add(self, samples: np.ndarray, rate_hz: int) -> None:
        """Add float32 samples at their own rate; a stream may change its rate on the way."""
        if rate_hz != self._rate_hz:
            self.end()
            self._rate_hz = rate_hz
            if rate_hz != SAMPLE_RATE_HZ:
                self._resampler = AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
        self._pending.append(samples)
        self._n_pending += len(samples)
        if self._n_pending >= _FEED_SAMPLES:
            self._feed()

    def _feed(self) -> None:
        if not self._n_pending:
            return
        joined = np.concatenate(self._pending)
        self._pending, self._n_pending = [], 0
        if self._resampler is None:
            self._done.append(joined)
            return
        frame = av.AudioFrame.from_ndarray(joined[None, :], format="fltp", layout="mono")
        frame.sample_rate = self._rate_hz
        self._done.extend(out.to_ndarray()[0] for out in self._resampler.resample(frame))

    def end(self) -> None:
        """Say that no more samples come, at least at this rate: all that there are become ready."""
        self._feed()
        if self._resampler is not None:
            self._done.extend(out.to_ndarray()[0] for out in self._resampler.resample(None))
            self._resampler = None

    def finish(self) -> np.ndarray:
        """Return everything that has not been taken, as float32 [samples] at 16 kHz."""
        self.end()
        return self.take(self.n_ready)


class FrameClock:
    """Says which frames of a segment to keep: the first at or after each tick of the stated rate."""

    def __init__(self, start_s: float, frames_per_s: float) -> None:
        self._start_s = start_s
        self._frames_per_s = frames_per_s
        self._next = 0

    def tick(self, time_s: float) -> int:
        """Return the number of the last tick at or before a time."""
        return int((time_s - self._start_s + _TIME_SLACK_S) * self._frames_per_s)

    def wants(self, time_s: float) -> bool:
        """Say whether the frame is kept; frames are asked for in the order in which they are shown."""
        tick = self.tick(time_s)
        if tick < self._next:
            return False
        self._next = tick + 1
        return True


def rgb(frame: av.VideoFrame, aspect: float = 1.0) -> np.ndarray:
    """Return a video frame as a player shows it: uint8 RGB [H, W, 3], with a short side of at most 720 pixels.

    `aspect` is the width of a stored pixel over its height.
    """
    width, height = frame.width, frame.height
    if LEAST_ASPECT <= aspect < 1.0:
        height = round(height / aspect)
    elif 1.0 < aspect <= 1 / LEAST_ASPECT:
        width = round(width * aspect)
    short, how = min(width, height), None
    if short > MAX_SHORT_SIDE:
        width, height = (max(round(side * MAX_SHORT_SIDE / short), 1) for side in (width, height))
        how = "AREA"
    elif (width, height) != (frame.width, frame.height):
        how = "BICUBIC"
    # Otherwise it would start as many threads as there are cores, anew for each frame, which costs more than they save.
    return _upright(frame.reformat(width, height, format="rgb24", interpolation=how, threads=1).to_ndarray(), frame)


def _upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turn and mirror a picture as the frame's display matrix asks for, by multiples of 90°."""
    # Not by frame.side_data, which would keep the frame alive: a decoder fills gaps of damaged films from frames it has.
    matrix = SideDataContainer(frame).get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-arg]
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()  # x' = a·x + c·y, y' = b·x + d·y
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    picture = picture[:, ::-1] if a < 0 else picture
    return np.ascontiguousarray(picture[::-1] if d < 0 else picture)
