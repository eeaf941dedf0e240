"""Decode a clip once, in order, for all its segments: audio samples and sampled frames as they come.

Reading is sequential and single-threaded (one process per core is faster than threads within one). A segment that lies
far into a file is reached by seeking to an anchor, a whole multiple of 30 s, so that what a segment yields never depends
on which other segments are read with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.container
import numpy as np

from imer.media import probe
from imer.media.damage import Accounts
from imer.media.demux import Demux, Frame, SeekFailed, StreamState
from imer.media.probe import MediaError
from imer.media.sampling import FrameClock, Picture, mono, rgb
from imer.media.segments import ANCHOR_S, Segment
from imer.media.skipping import Spared
from imer.media.traits import Traits

_PREROLL_S = 1.0  # decoded before the anchor, so that codecs with memory have settled
_LATE_S = 0.5  # a seek that lands later than this after the first segment's start has failed
_TRUNCATED_S, _TRUNCATED_SHARE, _TRUNCATED_SHARE_INEXACT = 0.5, 0.1, 0.5


@dataclass(frozen=True)
class Sound:
    """Audio samples of one segment: float32 [n] at `rate_hz`, the first of them `at_s` after the segment's start."""

    segment: int
    samples: np.ndarray
    rate_hz: int
    at_s: float


@dataclass(frozen=True)
class Sight:
    """A sampled frame of one segment."""

    segment: int
    picture: Picture


@dataclass
class ClipReader:
    """Reads the segments of one clip. Afterwards, `problem` tells whether what was read can be trusted."""

    path: Path
    segments: Sequence[Segment]
    audio: bool = True
    video: bool = True
    frames_per_s: float = 5.0
    has_audio: bool = field(default=False, init=False)
    has_video: bool = field(default=False, init=False)
    _streams: dict[str, StreamState] = field(default_factory=dict, init=False)
    _traits: Traits = field(init=False)
    _demux: Demux = field(init=False)

    def read(self) -> Iterator[Sound | Sight]:
        """Yield the segments' sound and pictures in the order of the file.

        Raises
        ------
        MediaError
            The file is missing, is not a media file, or its frames are too large.
        """
        seek = min(segment.anchor for segment in self.segments) > 0
        yielded = False
        try:
            for event in self._pass(seek=seek):
                yielded = True
                yield event
        except SeekFailed:
            if yielded:
                raise MediaError("E-DAMAGED", f"{self.path} has time stamps that go back.") from None
            yield from self._pass(seek=False)

    def problem(self, kind: str, segment: Segment) -> MediaError | None:
        """Return why the `audio` or `video` of a segment cannot be trusted, or None."""
        stream = self._streams.get(kind)
        if stream is None:  # the file has no such stream: nothing of it can be lost
            return None
        if not stream.known:
            return MediaError("E-DAMAGED", f"{self.path}: the {kind} is encrypted or in a codec that is not known.")
        account = stream.accounts.of(segment)
        if segment.channel is not None and account.channels is not None and segment.channel > account.channels:
            return MediaError(
                "E-CHANNEL", f"{self.path} has no channel {segment.channel}: its sound has {account.channels}."
            )
        if loss := account.loss(kind):
            return MediaError("E-DAMAGED", f"{self.path}: {loss}.")
        if not self._demux.at_end:
            return None
        reached_s, end_s = self._demux.reached_s, self._end_s()
        if self._traits.cut and (segment.end_s is None or segment.end_s > reached_s):
            return MediaError("E-TRUNCATED", f"{self.path} is cut short: its last page is not whole.")
        if segment.start_s >= end_s:  # of a whole file there is nothing beyond its end
            return None
        if self._traits.duration_s is not None:
            share = _TRUNCATED_SHARE_INEXACT if self._traits.inexact else _TRUNCATED_SHARE
            missing_s = min(segment.end_s or end_s, end_s) - reached_s
            if missing_s > max(_TRUNCATED_S, share * self._traits.duration_s):
                return MediaError(
                    "E-TRUNCATED",
                    f"{self.path} is cut short: it declares {self._traits.duration_s:.2f} s, "
                    f"but its data end at {reached_s:.2f} s.",
                )
        if stream.first_s is None and (stream.packets or stream.promised):
            return MediaError("E-DAMAGED", f"{self.path}: nothing of the {kind} can be decoded.")
        return None

    def _end_s(self) -> float:
        """Return when the clip ends by what it declares; infinity where it declares nothing."""
        if self._traits.duration_s is None:
            return math.inf
        return self._traits.duration_s - max(self._traits.origin_s, 0.0)  # some containers count theirs from zero

    def _pass(self, *, seek: bool) -> Iterator[Sound | Sight]:
        with probe.open_media(self.path) as container:
            audio, video = probe.audio_stream(container), probe.video_stream(container)
            self.has_audio, self.has_video = audio is not None, video is not None
            self._traits = Traits.of(container, self.path)
            self._streams = {}
            streams: dict[str, StreamState] = {}
            wanted: list[av.AudioStream | av.VideoStream] = []
            for stream in (audio if self.audio else None, video if self.video else None):
                if stream is None:
                    continue
                known = probe.is_known(stream)
                accounts = Accounts(self.segments, seamless=self._traits.seamless)
                streams[stream.type] = StreamState(
                    accounts, known=known, promised=probe.promises_content(stream), ended=not known
                )
                if known:
                    wanted.append(stream)
                if known and isinstance(stream, av.VideoStream):
                    pixels = stream.codec_context.width * stream.codec_context.height
                    if pixels > probe.MAX_FRAME_PIXELS:
                        raise MediaError("E-TOOLARGE", f"{self.path} declares frames of {pixels} pixels.")
            self._streams, self._demux = streams, Demux(container, wanted, streams, self._traits)
            if wanted:
                yield from self._events(container, wanted, seek and self._traits.seeks)

    def _events(
        self, container: av.container.InputContainer, wanted: list[av.AudioStream | av.VideoStream], seek: bool
    ) -> Iterator[Sound | Sight]:
        for stream in wanted:
            stream.codec_context.thread_type = "NONE"
        if seek:
            self._seek(container)
        clocks = [FrameClock(segment.start_s, self.frames_per_s) for segment in self.segments]
        alone = len(self.segments) == 1 and self.segments[0].end_s is None
        aspect = self._pixel_aspect(wanted)
        # Slides: a picture may be there long before it is asked for.
        frame_s = self._frame_s(wanted)
        is_slow = 1 / frame_s < self.frames_per_s
        may_skip = alone and not self._traits.unordered and not is_slow
        spared = Spared(self.segments[0], clocks[0]) if may_skip else None
        shown: Picture | None = None
        late_s = min(segment.start_s for segment in self.segments) + _LATE_S if seek else None
        for state, frame in self._demux.frames(spared, late_s):
            length_s = frame.samples / frame.sample_rate if isinstance(frame, av.AudioFrame) else frame_s
            time_s = self._time_s(frame, state, length_s)
            if state.first_s is None:
                state.first_s = time_s
                # Its packets were there in time and its frames are not: it was joined where it cannot be decoded.
                if late_s is not None and time_s > late_s >= (state.first_packet_s or 0.0):
                    raise SeekFailed
            state.ended = all(s.end_s is not None and time_s >= s.end_s for s in self.segments)
            state.counted_s = time_s + length_s
            if isinstance(frame, av.AudioFrame):
                yield from self._sounds(frame, time_s, state.accounts)
            else:
                yield from self._still_shown(shown, time_s, clocks)
                for index, segment in enumerate(self.segments):
                    if segment.covers(time_s) and clocks[index].wants(time_s):
                        yield Sight(index, Picture(time_s, rgb(frame, aspect)))
                shown = Picture(time_s, rgb(frame, aspect)) if is_slow else None
            self._demux.reached_s = max(self._demux.reached_s, state.counted_s)
        if self._demux.at_end:
            yield from self._still_shown(shown, self._demux.reached_s, clocks)

    def _seek(self, container: av.container.InputContainer) -> None:
        anchor_s = min(segment.anchor for segment in self.segments) * ANCHOR_S
        try:
            container.seek(int((self._traits.origin_s + anchor_s - _PREROLL_S) * av.time_base))
        except (av.FFmpegError, OverflowError):  # beyond the end, or beyond what a container can count
            raise SeekFailed from None

    def _time_s(self, frame: Frame, state: StreamState, length_s: float) -> float:
        """Return when a frame begins in the clip: where it does not say, when the one before it ended."""
        stamp_s = self._demux.stamp_s(frame, state)
        time_s = state.counted_s if stamp_s is None else stamp_s - self._traits.origin_s
        return state.clock.time_s(time_s, length_s) if self._traits.joined else time_s

    def _sounds(self, frame: av.AudioFrame, time_s: float, accounts: Accounts) -> Iterator[Sound]:
        rate_hz = frame.sample_rate
        end_s = time_s + frame.samples / rate_hz
        of_channel: dict[int | None, np.ndarray] = {}
        for index, segment in enumerate(self.segments):
            if end_s <= segment.start_s or (segment.end_s is not None and time_s >= segment.end_s):
                continue
            account = accounts[index]
            account.channels = min(account.channels or frame.layout.nb_channels, frame.layout.nb_channels)
            if segment.channel is not None and segment.channel > frame.layout.nb_channels:
                continue
            if segment.channel not in of_channel:
                of_channel[segment.channel] = mono(frame, segment.channel)
            samples = of_channel[segment.channel]
            first = max(round((segment.start_s - time_s) * rate_hz), 0)
            last = len(samples) if segment.end_s is None else round((segment.end_s - time_s) * rate_hz)
            if first < min(last, len(samples)):
                yield Sound(index, samples[first:last], rate_hz, time_s + first / rate_hz - segment.start_s)

    def _still_shown(self, shown: Picture | None, until_s: float, clocks: Sequence[FrameClock]) -> Iterator[Sight]:
        """Yield what is still shown from before, to segments that begin before the next picture comes."""
        for index, segment in enumerate(self.segments):
            if shown is not None and shown.time_s < segment.start_s < until_s and clocks[index].wants(segment.start_s):
                yield Sight(index, Picture(segment.start_s, shown.rgb))

    @staticmethod
    def _pixel_aspect(wanted: list[av.AudioStream | av.VideoStream]) -> float:
        """Return how wide a stored pixel is for its height; 1 where nobody says so."""
        ratios = [stream.sample_aspect_ratio for stream in wanted if isinstance(stream, av.VideoStream)]
        return float(ratios[0]) if ratios and ratios[0] else 1.0

    @staticmethod
    def _frame_s(wanted: list[av.AudioStream | av.VideoStream]) -> float:
        for stream in wanted:
            if isinstance(stream, av.VideoStream) and stream.average_rate:
                return 1.0 / float(stream.average_rate)
        return 0.04
