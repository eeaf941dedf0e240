"""What a clip yields is what a player shows of it: upright, in its proportions, in order, from where it was cut."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from imer.media.clock import is_joined
from imer.media.decode import ClipReader, Sight, Sound
from imer.media.sampling import Picture
from imer.media.segments import Segment
from tests.clips import RATE, still, voice, write_clip

SIDE = 64
CORNERS = {"R": (250, 10, 10), "G": (10, 250, 10), "B": (10, 10, 250), "W": (250, 250, 250)}


def read(path: Path, *segments: Segment, fps: float = 5.0) -> tuple[list[list[Sound]], list[list[Picture]], ClipReader]:
    reader = ClipReader(path, segments or (Segment(),), frames_per_s=fps)
    sounds: list[list[Sound]] = [[] for _ in reader.segments]
    pictures: list[list[Picture]] = [[] for _ in reader.segments]
    for event in reader.read():
        if isinstance(event, Sight):
            pictures[event.segment].append(event.picture)
        else:
            sounds[event.segment].append(event)
    return sounds, pictures, reader


def seconds_of(sounds: Sequence[Sound]) -> float:
    return sum(len(one.samples) / one.rate_hz for one in sounds)


def four_colours() -> np.ndarray:
    """Red and green above, blue and white below: uint8 [64, 128, 3]."""
    rows = [
        np.concatenate([np.full((SIDE // 2, SIDE, 3), CORNERS[name]) for name in pair], axis=1) for pair in ("RG", "BW")
    ]
    return np.concatenate(rows).astype(np.uint8)


def corners_of(rgb: np.ndarray) -> str:
    height, width = rgb.shape[:2]
    places = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    found = [rgb[int(height * y), int(width * x)].astype(int) for y, x in places]
    return "".join(min(CORNERS, key=lambda name: int(np.abs(one - CORNERS[name]).sum())) for one in found)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), "RGBW"),
        ((0, 1, -1, 0), "BRWG"),
        ((-1, 0, 0, -1), "WBGR"),
        ((0, -1, 1, 0), "GWRB"),
        ((-1, 0, 0, 1), "GRWB"),
        ((1, 0, 0, -1), "BWRG"),
        ((0, 1, 1, 0), "RBGW"),
        ((0, -1, -1, 0), "WGBR"),
    ],
    ids=["as it is", "right", "half a turn", "left", "mirrored", "upside down", "transposed", "both"],
)
def test_turned_and_mirrored_films_come_out_upright(tmp_path: Path, matrix: tuple[int, ...], shown: str) -> None:
    clip = write_clip(tmp_path / "c.mp4", seconds=0.2, picture=still(four_colours()))
    content = bytearray(clip.read_bytes())
    at = content.find(b"tkhd") + 4 + 40  # version and flags, times, and what else comes before the matrix
    a, b, c, d = (number << 16 for number in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    clip.write_bytes(content)
    _, (pictures,), _ = read(clip)
    assert corners_of(pictures[0].rgb) == shown


@pytest.mark.parametrize(
    ("aspect", "shape"), [(Fraction(2), (64, 256)), (Fraction(1, 2), (128, 128)), (Fraction(99), (64, 128))]
)
def test_pixels_that_are_not_square_are_stretched(tmp_path: Path, aspect: Fraction, shape: tuple[int, int]) -> None:
    with av.open(str(tmp_path / "c.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio = aspect
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(four_colours(), format="rgb24")))
        container.mux(stream.encode(None))
    _, (pictures,), _ = read(tmp_path / "c.mp4")
    assert pictures[0].rgb.shape == (*shape, 3)
    assert corners_of(pictures[0].rgb) == "RGBW"


def brightening(frame: int) -> np.ndarray:
    return np.full((64, 64, 3), 20 + 2 * (frame % 110), dtype=np.uint8)


def shown_frames(pictures: Sequence[Picture]) -> list[int]:
    """Return the numbers of the frames that pictures of `brightening` are."""
    return [round((float(picture.rgb.mean()) - 20) / 2) for picture in pictures]


def test_a_film_in_avi_comes_in_the_order_in_which_it_is_shown(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "c.avi", seconds=4, picture=brightening, video_codec="libx264", encoder={"crf": "1", "bf": "3"}
    )
    _, (pictures,), _ = read(clip, fps=25)
    frames = shown_frames(pictures)
    assert len(frames) == 100
    assert max(abs(found - true) for true, found in enumerate(frames)) <= 1  # of colours that are nearly kept
    assert np.diff([picture.time_s for picture in pictures]) == pytest.approx(0.04)
    _, (part,), _ = read(clip, Segment(1.0, 2.0), fps=25)
    assert shown_frames(part) == frames[25:50]


def test_a_clip_that_was_cut_without_encoding_it_again_is_whole(tmp_path: Path) -> None:
    """As `ffmpeg -ss 1.6 -t 1 -c copy` does: the frames since the last keyframe are there, and an edit list hides them."""
    source = write_clip(tmp_path / "long.mp4", seconds=4, picture=brightening, sound=voice(4), keyframe_every=25)
    begin_s, length_s = 1.6, 1.0
    with av.open(str(source)) as film, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        copies = {stream.index: cut.add_stream_from_template(stream) for stream in film.streams}
        film.seek(int(begin_s * 1e6))
        for packet in film.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            time_s = float(packet.pts * packet.time_base)
            if time_s >= begin_s + length_s or (packet.stream.type == "audio" and time_s < begin_s - 0.05):
                continue
            shift = round(begin_s / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copies[packet.stream.index]
            cut.mux(packet)
    sounds, (pictures,), reader = read(tmp_path / "cut.mp4", fps=25)
    assert [reader.problem(kind, reader.segments[0]) for kind in ("audio", "video")] == [None, None]
    assert seconds_of(sounds[0]) == pytest.approx(length_s, abs=0.1)
    frames = shown_frames(pictures)
    assert len(frames) == 25
    assert abs(frames[0] - 40) <= 1


def test_a_picture_that_stays_is_seen_in_every_segment_of_its_time(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "slides.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(4):  # at 0, 10, 20 and 30 s
            frame = av.VideoFrame.from_ndarray(brightening(30 * number), format="rgb24")
            frame.pts, frame.time_base = 10_000 * number, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    segments = [Segment(2.0, 5.0), Segment(9.0, 11.0), Segment(25.0, 29.0), Segment()]
    together = read(tmp_path / "slides.mp4", *segments)[1]
    assert [[(one.time_s, round(frame / 30)) for one, frame in zip(p, shown_frames(p), strict=True)] for p in together] == [
        [(2.0, 0)], [(9.0, 0), (10.0, 1)], [(25.0, 2)], [(0.0, 0), (10.0, 1), (20.0, 2), (30.0, 3)],
    ]  # fmt: skip
    for segment, pictures in zip(segments, together, strict=True):
        (alone,) = read(tmp_path / "slides.mp4", segment)[1]
        assert [(one.time_s, one.rgb.tobytes()) for one in alone] == [
            (one.time_s, one.rgb.tobytes()) for one in pictures
        ]


@pytest.mark.parametrize("kind", ["ts", "ogg"])
def test_two_recordings_in_one_file_follow_each_other(tmp_path: Path, kind: str) -> None:
    """Their time stamps start over: MPEG-TS that was joined by `cat`, chained Ogg."""
    parts = []
    for number, pitch_hz in enumerate((120.0, 200.0)):
        part = tmp_path / f"{number}.{kind}"
        if kind == "ts":
            write_clip(
                part,
                seconds=3,
                picture=still(np.full((64, 64, 3), 60 + 120 * number, np.uint8)),
                sound=voice(3, pitch_hz),
            )
        else:
            write_clip(part, picture=None, sound=voice(3, pitch_hz), audio_codec="flac")
        parts.append(part.read_bytes())
    both = tmp_path / f"both.{kind}"
    both.write_bytes(b"".join(parts))
    whole, second = Segment(), Segment(3.5, 5.5)
    sounds, pictures, reader = read(both, whole)
    assert reader.problem("audio", whole) is None
    assert seconds_of(sounds[0]) == pytest.approx(6.0, abs=0.2)
    assert np.all(np.diff([one.at_s for one in sounds[0]]) > 0)
    alone, seen, _ = read(both, second)
    (_, together), _, _ = read(both, Segment(0.0, 2.0), second)
    assert seconds_of(alone[0]) == pytest.approx(2.0, abs=0.01)
    heard = np.concatenate([one.samples for one in alone[0]])
    assert np.array_equal(heard, np.concatenate([one.samples for one in together]))
    pure = voice(3, 200.0)[round(0.5 * RATE) : round(2.5 * RATE)]
    spectra = [np.abs(np.fft.rfft(samples[: 2 * RATE - 4000])) for samples in (heard, pure)]
    assert np.corrcoef(*spectra)[0, 1] > 0.8  # the second voice, and not the first
    (late,), _, _ = read(both, Segment(40.0, 41.0))
    assert seconds_of(late) == 0.0
    if kind == "ts":
        assert len(pictures[0]) == pytest.approx(30, abs=1)
        assert {round(float(one.rgb.mean()) / 60) for one in seen[0]} == {3}


def test_what_lies_far_into_a_joined_film_is_the_same_alone(tmp_path: Path) -> None:
    """There is no seeking in it: nobody could say which of its parts is found."""
    parts = [
        write_clip(tmp_path / f"{seconds}.ts", seconds=seconds, picture=brightening, sound=voice(seconds, 150.0), fps=5)
        for seconds in (20, 45)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    wanted = [Segment(1.0, 3.0), Segment(31.0, 33.0), Segment(50.0, 52.0), Segment(61.0, 63.0)]
    sounds, pictures, _ = read(joined, *wanted)
    for i, segment in enumerate(wanted):
        (alone,), (seen,), _ = read(joined, segment)
        assert seconds_of(alone) == pytest.approx(2.0, abs=0.05)
        assert np.array_equal(*(np.concatenate([one.samples for one in heard]) for heard in (alone, sounds[i])))
        assert [one.rgb.tobytes() for one in seen] == [one.rgb.tobytes() for one in pictures[i]]
        assert len(seen) == pytest.approx(10, abs=1)


def test_one_wrong_time_stamp_does_not_start_a_film_over(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.ts", seconds=8, picture=brightening, sound=voice(8))
    wrong = tmp_path / "wrong.ts"
    with av.open(str(clip)) as film, av.open(str(wrong), "w") as copy:
        copies = {stream.index: copy.add_stream_from_template(stream) for stream in film.streams}
        for packet in film.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                copy.mux(packet)
    content = bytearray(wrong.read_bytes())
    stamps = [
        i for i in range(0, len(content), 188) if content[i + 1] & 0x40 and b"\x00\x00\x01\xc0" in content[i : i + 188]
    ]
    first, middle = stamps[0], stamps[len(stamps) // 2]  # packets of sound that begin with a time stamp
    at, there = (content.index(b"\x00\x00\x01\xc0", i) + 9 for i in (first, middle))
    content[there : there + 5] = content[at : at + 5]
    wrong.write_bytes(content)
    assert not is_joined(wrong)
    sounds, (pictures,), _ = read(wrong, Segment(6.0, 7.0))
    right, (shown,), _ = read(clip, Segment(6.0, 7.0))
    assert seconds_of(sounds[0]) == pytest.approx(seconds_of(right[0]))
    assert len(pictures) == len(shown)
