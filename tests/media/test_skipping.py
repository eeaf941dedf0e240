"""Skipping frames that nobody needs changes nothing of what is kept."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.media.decode import ClipReader, Segment, Sight
from imer.media.sampling import FrameClock
from imer.media.skipping import Spared
from tests.clips import face, write_clip

_X264 = {"bf": "3", "preset": "veryfast"}
FILMS: dict[str, tuple[str, dict[str, str]]] = {
    "pyramid.mp4": ("libx264", {**_X264, "x264-params": "b-pyramid=normal:b-adapt=0"}),
    "flat.mkv": ("libx264", {**_X264, "x264-params": "b-pyramid=none:b-adapt=0"}),
    "open.ts": ("libx264", {**_X264, "x264-params": "open-gop=1:b-adapt=0"}),
    "plain.mp4": ("libx264", {"bf": "0", "preset": "ultrafast"}),
    "hevc.mp4": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:bframes=3:b-adapt=0"}),
    "four.avi": ("mpeg4", {"bf": "2"}),
    "two.mpg": ("mpeg2video", {"bf": "2"}),
}
HAS_SPARE = set(FILMS) - {"plain.mp4"}  # the codecs that leave frames which no other refers to


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    noise = np.random.default_rng(0).integers(0, 60, (75, 120, 160, 3), dtype=np.uint8)
    for name, (codec, encoder) in FILMS.items():
        write_clip(
            folder / name, seconds=3, video_codec=codec, encoder=encoder, keyframe_every=24,
            picture=lambda frame: np.roll(face(frame)[::2, ::2], 3 * frame, axis=1) // 2 + noise[frame],
        )  # fmt: skip
    return folder


def kept(path: Path, rate: float, *segments: Segment) -> list[tuple[int, float, bytes]]:
    reader = ClipReader(path, segments, audio=False, frames_per_s=rate)
    seen = [(e.segment, e.picture.time_s, e.picture.rgb.tobytes()) for e in reader.read() if isinstance(e, Sight)]
    assert all(reader.problem("video", segment) is None for segment in segments)
    return seen


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize("rate", [2.0, 5.0, 30.0])
@pytest.mark.parametrize("segments", [[Segment()], [Segment(0.31, 1.7), Segment(1.2, 2.6), Segment(1.2, 1.3)]])
def test_the_same_frames_with_the_same_bits(
    films: Path, name: str, rate: float, segments: list[Segment], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept(films / name, rate, *segments)
    assert found
    monkeypatch.setattr(Spared, "spares", lambda *_: False)
    assert found == kept(films / name, rate, *segments)


def decoded(path: Path, rate: float = 5.0) -> list[float]:
    """Return when the frames are shown that are decoded at all."""
    shown: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrameClock, "wants", lambda _, time_s: bool(shown.append(time_s)))
        kept(path, rate, Segment())
    return shown


@pytest.mark.parametrize("name", FILMS)
def test_fewer_frames_are_decoded_where_some_can_be_spared(
    films: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = decoded(films / name)
    monkeypatch.setattr(Spared, "spares", lambda *_: False)
    assert (len(fewer) < len(decoded(films / name))) == (name in HAS_SPARE)


@pytest.mark.parametrize("name", ["pyramid.mp4", "hevc.mp4", "four.avi"])
def test_after_a_broken_packet_every_frame_is_decoded(
    films: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder fills a gap from the frames it has: which those are must not depend on what is kept."""

    def late(path: Path) -> list[float]:
        return [time_s for time_s in decoded(path) if time_s > 1]

    content, damaged = bytearray((films / name).read_bytes()), tmp_path / name
    with av.open(str(films / name)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][10]
        content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    damaged.write_bytes(content)
    found, fewer = late(damaged), late(films / name)
    monkeypatch.setattr(Spared, "spares", lambda *_: False)
    assert found == late(damaged)
    assert len(found) > len(fewer)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=80, unique=True),
    st.lists(st.floats(0, 3), min_size=1, max_size=3),
    st.sampled_from([1.0, 5.0, 30.0]),
)
def test_what_is_spared_is_never_what_a_clock_keeps(hundredths: list[int], starts_s: list[float], rate: float) -> None:
    times_s = [n / 100 for n in hundredths]
    segments = [Segment(start_s, start_s + 0.7) for start_s in starts_s]
    spared = Spared([FrameClock(segment.start_s, rate) for segment in segments])
    left_out = {t for t in times_s if spared.spares(t, [i for i, s in enumerate(segments) if s.covers(t)])}
    for segment in segments:
        clock = FrameClock(segment.start_s, rate)
        wanted = {t for t in sorted(times_s) if segment.covers(t) and clock.wants(t)}
        assert not wanted & left_out
