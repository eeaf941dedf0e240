"""Take a container apart: its packets in the order of the file, decoded one by one, with an account of what is lost.

A broken packet costs that packet; of a whole clip, frames that nobody needs are not decoded (`skipping.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import av
import av.container

from imer.media.clock import Clock
from imer.media.damage import Account, Accounts
from imer.media.skipping import Spared
from imer.media.traits import Traits

Frame = av.AudioFrame | av.VideoFrame


class SeekFailed(Exception):
    """The container cannot seek there; read it from its start."""


@dataclass
class StreamState:
    """What happened to one stream so far."""

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
    ended: bool = False  # nobody needs more of it
    counted_s: float = 0.0  # used where frames carry no time stamp


class Demux:
    """Reads the packets of some streams of a container.

    reached_s   how far the data go, in seconds from the file's first moment
    at_end      there is nothing left to read
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        wanted: Sequence[av.AudioStream | av.VideoStream],
        states: dict[str, StreamState],
        traits: Traits,
    ) -> None:
        self.reached_s, self.at_end = 0.0, False
        self._container, self._traits, self._states = container, traits, list(states.values())
        self._of_index = {stream.index: states[stream.type] for stream in wanted}
        self._tick_s: dict[int, tuple[int, int]] = {}  # of the streams' clocks: seconds a tick, as a fraction

    def frames(self, spared: Spared | None, late_s: float | None) -> Iterator[tuple[StreamState, Frame]]:
        """Yield the frames of the streams until nobody needs more; a packet that cannot be decoded is left out.

        Parameters
        ----------
        spared
            Says which frames need not be decoded; None: all are needed.
        late_s
            After a seek the first packet of any stream must come before this; a single stream may begin later.

        Raises
        ------
        SeekFailed
            It came later.
        """
        packets = self._container.demux()
        while not all(each.ended for each in self._states):
            try:
                packet = next(packets)
            except StopIteration:
                self.at_end = True
                return
            except av.FFmpegError:  # the rest of the file cannot even be taken apart
                self.at_end = True
                for each in self._states:
                    _break(each.accounts.enter_untimed(self.reached_s))
                return
            state = self._of_index.get(packet.stream.index)
            span_s = self._span_s(packet, state)
            if span_s is not None:  # of any stream: it says how far the data go
                self.reached_s = max(self.reached_s, span_s[1])
                if late_s is not None and span_s[0] > late_s:
                    raise SeekFailed
                late_s = None
            if state is None or state.ended:
                continue
            touched = self._entered(packet, state, span_s)
            if isinstance(packet.stream, av.VideoStream):
                at_s = None if span_s is None or state.broken or packet.is_discard else span_s[0]
                skipped = spared is not None and at_s is not None and spared.spares(at_s)
                packet.stream.codec_context.skip_frame = "NONREF" if skipped else "DEFAULT"
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError):
                state.broken += packet.size > 0
                _break(touched)
                continue
            for frame in frames:
                if isinstance(frame, Frame):
                    yield state, frame

    def stamp_s(self, frame: Frame, state: StreamState) -> float | None:
        """Return the time stamp of a frame, or None.

        AVI stores only when packets are decoded. For frames that are shown in another order FFmpeg guesses, and is out of
        order; but one frame comes out for each packet, a fixed number of packets later.
        """
        if not self._traits.unordered or not isinstance(frame, av.VideoFrame) or state.first_dts is None:
            return frame.time
        if frame.dts is None:  # behind the last packet: counted
            return None
        if state.delay is None:
            state.delay = frame.dts - state.first_dts
        return float((frame.dts - state.delay) * (frame.time_base or 0))

    def _span_s(self, packet: av.Packet, state: StreamState | None) -> tuple[float, float] | None:
        """Return when a packet begins and ends; None where it does not say."""
        if packet.pts is None:
            return None
        index = packet.stream.index
        if index not in self._tick_s:
            self._tick_s[index] = packet.time_base.as_integer_ratio() if packet.time_base else (0, 1)
        over, under = self._tick_s[index]
        if not over:
            return None
        length_s = (packet.duration or 0) * over / under
        start_s = packet.pts * over / under - self._traits.origin_s
        if self._traits.joined and state is not None:
            start_s = state.packet_clock.time_s(start_s, length_s)
        return start_s, start_s + length_s

    def _entered(self, packet: av.Packet, state: StreamState, span_s: tuple[float, float] | None) -> list[Account]:
        """Enter a packet, and return the accounts of the segments that it touches."""
        if not packet.size:
            return []
        state.packets += 1
        if state.first_dts is None or (state.delay is None and packet.is_keyframe):
            state.first_dts = packet.dts  # of a film that begins between two key pictures, the first that is shown
        if span_s is None:
            return state.accounts.enter_untimed(self.reached_s)
        state.first_packet_s = span_s[0] if state.first_packet_s is None else state.first_packet_s
        return state.accounts.enter(*span_s)


def _break(accounts: Sequence[Account]) -> None:
    for account in accounts:
        account.broken += 1
