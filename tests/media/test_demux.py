"""Packets in the order of the file, and what is told of those that are lost."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from imer.media.damage import Accounts
from imer.media.demux import Demux, SeekFailed, StreamState
from imer.media.probe import open_media
from imer.media.segments import Segment
from imer.media.traits import Traits
from tests.clips import voice, write_clip

WHOLE = (Segment(),)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "t.mkv", seconds=2, sound=voice(2), audio_codec="flac")


def opened(container: av.container.InputContainer, path: Path, *kinds: str) -> tuple[Demux, dict[str, StreamState]]:
    wanted = [stream for stream in container.streams if stream.type in kinds]
    states = {stream.type: StreamState(Accounts(WHOLE, seamless=False)) for stream in wanted}
    return Demux(container, wanted, states, Traits.of(container, path)), states


def test_streams_that_are_wanted_are_decoded_to_their_end(clip: Path) -> None:
    with open_media(clip) as container:
        demux, states = opened(container, clip, "audio", "video")
        frames = list(demux.frames(None, None))
    assert demux.at_end
    assert demux.reached_s == pytest.approx(2.0, abs=0.1)
    assert sum(state is states["video"] for state, _ in frames) == states["video"].packets
    stamps_s = [demux.stamp_s(frame, state) for state, frame in frames if state is states["video"]]
    assert stamps_s == sorted(stamps_s)
    assert not any(state.broken for state in states.values())


def test_all_packets_say_how_far_the_data_go(clip: Path) -> None:
    with open_media(clip) as container:
        demux, states = opened(container, clip, "audio")
        assert {type(frame) for _, frame in demux.frames(None, None)} == {av.AudioFrame}
    assert set(states) == {"audio"}
    assert demux.reached_s == pytest.approx(2.0, abs=0.1)


def test_it_stops_when_nobody_needs_more(clip: Path) -> None:
    with open_media(clip) as container:
        demux, _ = opened(container, clip, "video")
        for state, frame in demux.frames(None, None):
            state.ended = frame.time is not None and frame.time >= 0.5
    assert not demux.at_end
    assert demux.reached_s < 1.0


def test_a_broken_packet_is_counted_in_the_segments_that_it_touches(clip: Path) -> None:
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        place, at_s = packets[5].pos, float(packets[5].pts * packets[5].time_base)
    content = bytearray(clip.read_bytes())
    content[place + 8 : place + 40] = b"\xff" * 32
    clip.write_bytes(bytes(content))
    apart = (Segment(at_s - 0.3, at_s - 0.2), Segment(at_s - 0.2, at_s + 0.2))
    with open_media(clip) as container:
        (stream,) = container.streams.audio
        states = {"audio": StreamState(Accounts(apart, seamless=False))}
        list(Demux(container, [stream], states, Traits.of(container, clip)).frames(None, None))
    assert states["audio"].broken == 1
    assert [states["audio"].accounts.of(segment).broken for segment in apart] == [0, 1]


def test_packets_that_come_too_late_after_a_seek_are_a_seek_that_failed(clip: Path) -> None:
    with open_media(clip) as container:
        demux, _ = opened(container, clip, "video")
        container.seek(int(1.5 * av.time_base))
        with pytest.raises(SeekFailed):
            list(demux.frames(None, late_s=-1.0))
