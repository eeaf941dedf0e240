"""Decode a clip once, in order, for all its segments: audio samples and sampled frames as they come.

Reading is sequential and single-threaded (one process per core is faster than threads within one). A broken packet
costs that packet; of a whole clip, frames that nobody needs are not decoded (`skipping.py`). A segment that lies far into
a file is reached by seeking to an anchor, a whole multiple of 30 s, so that what a segment yields never depends on which
other segments are read with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.container
import numpy as np

from imer.media import probe
from imer.media.clock import JOINABLE, Clock, is_joined
from imer.media.damage import Account, Accounts
from imer.media.probe import MediaError
from imer.media.sampling import FrameClock, Picture, mono, rgb
from imer.media.segments import ANCHOR_S, Segment
from imer.media.skipping import Spared

_PREROLL_S = 1.0  # decoded before the anchor, so that codecs with memory have settled
_LATE_S = 0.5  # a seek that lands later than this after the first segment's start has failed
_REORDERING = ("h264", "hevc")  # codecs whose frames FFmpeg cannot put in order in a container without their times
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
class _Stream:
    """What happened to one of the two streams so far."""

    accounts: Accounts
    clock: Clock = field(default_factory=Clock)  # of its frames, and
    packet_clock: Clock = field(default_factory=Clock)  # of its packets, where two recordings are in one file
    known: bool = True  # there is a decoder for it
    promised: bool = False  # the header says that there is something in it, or cannot say what it is
    packets: int = 0
    broken: int = 0
    first_packet_s: float | None = None
    first_dts: int | None = None
    delay: int | None = None  # of the first frame behind its packet, in units of dts
    first_s: float | None = None  # of its frames
    ended: bool = False
    counted_s: float = 0.0  # used where frames carry no time stamp


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
    duration_s: float | None = field(default=None, init=False)
    _streams: dict[str, _Stream] = field(default_factory=dict, init=False)
    _reached_s: float = field(default=0.0, init=False)
    _origin_s: float = field(default=0.0, init=False)  # what the file calls its first moment
    _at_end: bool = field(default=False, init=False)
    _inexact: bool = field(default=False, init=False)
    _unordered: bool = field(default=False, init=False)
    _joined: bool = field(default=False, init=False)
    _cut: bool = field(default=False, init=False)

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
        except _SeekFailed:
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
        if self._at_end and self._cut and (segment.end_s is None or segment.end_s > self._reached_s):
            return MediaError("E-TRUNCATED", f"{self.path} is cut short: its last page is not whole.")
        within = True  # of a whole file there is nothing beyond its end
        if self._at_end and self.duration_s is not None:
            end_s = self.duration_s - max(self._origin_s, 0.0)  # some containers count their duration from zero
            wanted_s = min(segment.end_s or end_s, end_s)
            share = _TRUNCATED_SHARE_INEXACT if self._inexact else _TRUNCATED_SHARE
            within = segment.start_s < end_s
            if within and wanted_s - self._reached_s > max(_TRUNCATED_S, share * self.duration_s):
                return MediaError(
                    "E-TRUNCATED",
                    f"{self.path} is cut short: it declares {self.duration_s:.2f} s, "
                    f"but its data end at {self._reached_s:.2f} s.",
                )
        if within and self._at_end and stream.first_s is None and (stream.packets or stream.promised):
            return MediaError("E-DAMAGED", f"{self.path}: nothing of the {kind} can be decoded.")
        return None

    def _pass(self, *, seek: bool) -> Iterator[Sound | Sight]:
        with probe.open_media(self.path) as container:
            audio, video = probe.audio_stream(container), probe.video_stream(container)
            self.has_audio, self.has_video = audio is not None, video is not None
            self.duration_s = probe.declared_duration_s(container)
            if self.duration_s is not None and container.format.name == "wav":
                self.duration_s *= probe.promised_share(self.path)
            self._inexact = container.format.name in probe.INEXACT_DURATION and not probe.counts_frames(self.path)
            codec = video.codec_context.name if video is not None and probe.is_known(video) else ""
            self._unordered = container.format.name == "avi" and codec in _REORDERING
            self._joined = container.format.name in JOINABLE and is_joined(self.path)
            self._cut = container.format.name == "ogg" and probe.ends_within_page(self.path)
            self._streams, self._at_end, self._reached_s = {}, False, 0.0
            wanted: list[av.AudioStream | av.VideoStream] = []
            for stream in (audio if self.audio else None, video if self.video else None):
                if stream is None:
                    continue
                known = probe.is_known(stream)
                accounts = Accounts(self.segments, seamless=container.format.name in probe.SEAMLESS)
                self._streams[stream.type] = _Stream(
                    accounts, known=known, promised=probe.promises_content(stream), ended=not known
                )
                if known:
                    wanted.append(stream)
                if known and isinstance(stream, av.VideoStream):
                    pixels = stream.codec_context.width * stream.codec_context.height
                    if pixels > probe.MAX_FRAME_PIXELS:
                        raise MediaError("E-TOOLARGE", f"{self.path} declares frames of {pixels} pixels.")
            if wanted:
                yield from self._events(container, wanted, seek and not self._joined and probe.seeks_exactly(container))

    def _events(
        self, container: av.container.InputContainer, wanted: list[av.AudioStream | av.VideoStream], seek: bool
    ) -> Iterator[Sound | Sight]:
        origin_s = self._origin_s = (container.start_time or 0) / av.time_base
        for stream in wanted:
            stream.codec_context.thread_type = "NONE"
        if seek:
            anchor_s = min(segment.anchor for segment in self.segments) * ANCHOR_S
            try:
                container.seek(int((origin_s + anchor_s - _PREROLL_S) * av.time_base))
            except (av.FFmpegError, OverflowError):  # beyond the end, or beyond what a container can count
                raise _SeekFailed from None
        clocks = [FrameClock(segment.start_s, self.frames_per_s) for segment in self.segments]
        alone = len(self.segments) == 1 and self.segments[0].end_s is None
        aspect = self._pixel_aspect(wanted)
        # Slides: a picture may be there long before it is asked for.
        frame_s = self._frame_s(wanted)
        is_slow = 1 / frame_s < self.frames_per_s
        spared = Spared(clocks[0]) if alone and not self._unordered and not is_slow else None
        shown: Picture | None = None
        late_s = min(segment.start_s for segment in self.segments) + _LATE_S if seek else None
        for kind, frame in self._frames(container, wanted, origin_s, spared, late_s):
            state = self._streams[kind]
            length_s = frame.samples / frame.sample_rate if isinstance(frame, av.AudioFrame) else frame_s
            stamp_s = self._stamp_s(frame, state)
            time_s = state.counted_s if stamp_s is None else stamp_s - origin_s
            if self._joined:
                time_s = state.clock.time_s(time_s, length_s)
            if state.first_s is None:
                state.first_s = time_s
                # Its packets were there in time and its frames are not: it was joined where it cannot be decoded.
                if late_s is not None and time_s > late_s >= (state.first_packet_s or 0.0):
                    raise _SeekFailed
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
            self._reached_s = max(self._reached_s, state.counted_s)
        if self._at_end:
            yield from self._still_shown(shown, self._reached_s, clocks)

    def _stamp_s(self, frame: av.AudioFrame | av.VideoFrame, state: _Stream) -> float | None:
        """Return the time stamp of a frame, or None.

        AVI stores only when packets are decoded. For frames that are shown in another order FFmpeg guesses, and is out of
        order; but one frame comes out for each packet, a fixed number of packets later.
        """
        if not self._unordered or not isinstance(frame, av.VideoFrame) or state.first_dts is None:
            return frame.time
        if frame.dts is None:  # behind the last packet: counted
            return None
        if state.delay is None:
            state.delay = frame.dts - state.first_dts
        return float((frame.dts - state.delay) * (frame.time_base or 0))

    def _frames(
        self,
        container: av.container.InputContainer,
        wanted: list[av.AudioStream | av.VideoStream],
        origin_s: float,
        spared: Spared | None,
        late_s: float | None,
    ) -> Iterator[tuple[str, av.AudioFrame | av.VideoFrame]]:
        """Demux and decode packet by packet; a packet that cannot be decoded is counted and left out.

        After a seek the first packet of any stream must come before `late_s`; a single stream may begin later.
        """
        kinds = {stream.index: stream.type for stream in wanted}
        bases: dict[int, tuple[int, int]] = {}  # of the streams' clocks: seconds a tick, as a fraction
        packets = container.demux()
        while not all(stream.ended for stream in self._streams.values()):
            try:
                packet = next(packets)
            except StopIteration:
                self._at_end = True
                return
            except av.FFmpegError:  # the rest of the file cannot even be taken apart
                self._at_end = True
                for stream in self._streams.values():
                    for account in stream.accounts.enter_untimed(self._reached_s):
                        account.broken += 1
                return
            start_s = end_s = None
            index = packet.stream.index
            if packet.pts is not None and index not in bases:
                bases[index] = packet.time_base.as_integer_ratio() if packet.time_base else (0, 1)
            if packet.pts is not None and bases[index][0]:  # of any stream: it says how far the data go
                over, under = bases[index]
                length_s = (packet.duration or 0) * over / under
                start_s = packet.pts * over / under - origin_s
                if self._joined and index in kinds:
                    start_s = self._streams[kinds[index]].packet_clock.time_s(start_s, length_s)
                end_s = start_s + length_s
                self._reached_s = max(self._reached_s, end_s)
                if late_s is not None and start_s > late_s:
                    raise _SeekFailed
                late_s = None
            kind = kinds.get(index)
            if kind is None or self._streams[kind].ended:
                continue
            state = self._streams[kind]
            state.packets += packet.size > 0
            touched: list[Account] = []
            if packet.size and start_s is not None and end_s is not None:
                touched = state.accounts.enter(start_s, end_s)
                state.first_packet_s = start_s if state.first_packet_s is None else state.first_packet_s
            elif packet.size:
                touched = state.accounts.enter_untimed(self._reached_s)
            if packet.size and (state.first_dts is None or (state.delay is None and packet.is_keyframe)):
                state.first_dts = packet.dts  # of a film that begins between two key pictures, the first that is shown
            if isinstance(packet.stream, av.VideoStream):
                may_skip = spared is not None and self._is_spared(packet, start_s, spared) and not state.broken
                packet.stream.codec_context.skip_frame = "NONREF" if may_skip else "DEFAULT"
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError):
                state.broken += packet.size > 0
                for account in touched:
                    account.broken += 1
                continue
            for frame in frames:
                if isinstance(frame, av.AudioFrame | av.VideoFrame):
                    yield kind, frame

    def _is_spared(self, packet: av.Packet, start_s: float | None, spared: Spared) -> bool:
        if start_s is None or packet.is_discard:
            return False
        return not self.segments[0].covers(start_s) or spared.spares(start_s)

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


class _SeekFailed(Exception):
    """The container cannot seek there; read it from its start."""
