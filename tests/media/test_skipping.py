"""Skipping frames that nobody needs changes nothing of what is kept."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.media.decode import ClipReader, Sight
from imer.media.sampling import FrameClock
from imer.media.segments import Segment
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
@pytest.mark.parametrize("segment", [Segment(), Segment(1.2)])
def test_the_same_frames_with_the_same_bits(
    films: Path, name: str, rate: float, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept(films / name, rate, segment)
    assert found
    monkeypatch.setattr(Spared, "spares", lambda *_: False)
    assert found == kept(films / name, rate, segment)


def damaged(film: Path, out: Path, number: int, seed: int) -> Path:
    """Flip eight bits of a packet, behind its head."""
    content, rng = bytearray(film.read_bytes()), np.random.default_rng(seed)
    with av.open(str(film)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
    for place in rng.integers(packet.pos + min(8, packet.size - 1), packet.pos + packet.size, 8):
        content[place] ^= 1 << int(rng.integers(8))
    out.write_bytes(content)
    return out


@pytest.mark.parametrize("name", ["pyramid.mp4", "open.ts", "hevc.mp4"])
def test_a_damaged_film_shows_a_segment_the_same_whatever_is_read_with_it(
    films: Path, tmp_path: Path, name: str
) -> None:
    """A decoder fills a gap from the frames it has: which those are must not depend on what others keep."""
    segments = (Segment(0.31, 2.6), Segment(0.2, 2.5), Segment(0.9, 1.1))
    changed = 0
    for number in range(5, 45, 4):
        film = damaged(films / name, tmp_path / name, number, number)
        together = kept(film, 5.0, *segments)
        for index, segment in enumerate(segments):
            alone = [(time_s, rgb) for _, time_s, rgb in kept(film, 5.0, segment)]
            assert alone == [(time_s, rgb) for at, time_s, rgb in together if at == index]
        changed += together != kept(films / name, 5.0, *segments)
    assert changed, "the damage shows"


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


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=80, unique=True),
    st.floats(0, 3),
    st.sampled_from([1.0, 5.0, 30.0]),
)
def test_what_is_spared_is_never_what_a_clock_keeps(hundredths: list[int], start_s: float, rate: float) -> None:
    times_s = [n / 100 for n in hundredths if n / 100 >= start_s]
    spared, clock = Spared(Segment(start_s), FrameClock(start_s, rate)), FrameClock(start_s, rate)
    left_out = {time_s for time_s in times_s if spared.spares(time_s)}
    assert not {time_s for time_s in sorted(times_s) if clock.wants(time_s)} & left_out
