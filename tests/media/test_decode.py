"""What comes out of a clip, and what is said of one that is damaged."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from imer.media.decode import ClipReader, Sight, Sound
from imer.media.probe import (
    BYTES_PER_SECOND_FLOOR,
    MediaError,
    declared_duration_s,
    open_media,
    plausible_duration_s,
)
from imer.media.sampling import SAMPLE_RATE_HZ, Picture, Waveform
from imer.media.segments import Segment
from tests.clips import face, still, voice, write_clip

Read = tuple[list[np.ndarray], list[list[Picture]], ClipReader]


def read(path: Path, *segments: Segment, **how: bool | float) -> Read:
    reader = ClipReader(path, segments or (Segment(),), **how)
    waves = [Waveform() for _ in reader.segments]
    pictures: list[list[Picture]] = [[] for _ in reader.segments]
    for event in reader.read():
        if isinstance(event, Sound):
            waves[event.segment].add(event.samples, event.rate_hz)
        elif isinstance(event, Sight):
            pictures[event.segment].append(event.picture)
    return [wave.finish() for wave in waves], pictures, reader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    sound = voice(2)
    write_clip(folder / "talk.mp4", seconds=2, sound=sound)
    write_clip(folder / "talk.mkv", seconds=2, sound=sound, audio_codec="flac")
    write_clip(folder / "talk.avi", seconds=2, sound=sound, audio_codec="mp3")
    write_clip(folder / "voice.wav", picture=None, sound=sound, audio_codec="pcm_s16le")
    return folder


@pytest.mark.parametrize("name", ["talk.mp4", "talk.mkv", "talk.avi"])
def test_sound_and_pictures_of_a_whole_clip(folder: Path, name: str) -> None:
    (wave,), (pictures,), reader = read(folder / name)
    assert wave.dtype == np.float32
    assert abs(len(wave) / SAMPLE_RATE_HZ - 2.0) < 0.1
    assert 0.4 < np.abs(wave).max() < 0.6
    assert 10 <= len(pictures) <= 11
    steps = np.diff([picture.time_s for picture in pictures])
    assert np.allclose(steps, 0.2, atol=1e-3)
    assert pictures[0].rgb.shape == (240, 320, 3)
    assert np.abs(pictures[0].rgb.astype(float) - face(0)).mean() < 8
    assert reader.problem("audio", Segment()) is None
    assert reader.problem("video", Segment()) is None


def test_a_segment_is_cut_to_the_sample(folder: Path) -> None:
    (whole,), _, _ = read(folder / "voice.wav")
    waves, _, _ = read(folder / "voice.wav", Segment(0.25, 0.75), Segment(1.5, None), Segment(1.9, 9.0))
    assert np.array_equal(waves[0], whole[4000:12000])
    assert np.array_equal(waves[1], whole[24000:])
    assert np.array_equal(waves[2], whole[30400:])


def test_what_a_segment_yields_does_not_depend_on_its_company(folder: Path) -> None:
    wanted = Segment(0.5, 1.5)
    (alone,), (pictures,), _ = read(folder / "talk.mp4", wanted)
    waves, others, _ = read(folder / "talk.mp4", Segment(0.0, 0.9), wanted, Segment(1.4, None))
    assert np.array_equal(alone, waves[1])
    assert [p.time_s for p in pictures] == [p.time_s for p in others[1]]
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(pictures, others[1], strict=True))


def test_a_late_segment_is_reached_by_seeking_and_is_the_same(tmp_path: Path) -> None:
    size = still(np.zeros((32, 48, 3), dtype=np.uint8))

    def numbered(frame: int) -> np.ndarray:
        return np.full_like(size(frame), frame * 255 // 400)

    sound = voice(40)
    clip = write_clip(
        tmp_path / "long.mkv", seconds=40, fps=10, picture=numbered, sound=sound, audio_codec="flac", video_codec="ffv1",
        pixels="bgr0",
    )  # fmt: skip
    late = Segment(33.0, 34.0)
    (wave,), (pictures,), reader = read(clip, late)
    assert np.abs(wave - sound[33 * SAMPLE_RATE_HZ : 34 * SAMPLE_RATE_HZ]).max() < 1e-4
    assert [int(p.rgb.mean()) for p in pictures] == [frame * 255 // 400 for frame in range(330, 340, 2)]
    decoded = reader._streams["video"].packets
    assert decoded < 60, f"{decoded} frames were decoded for a second of video"


def test_resampling_and_channels(tmp_path: Path) -> None:
    for rate, codec in ((8000, "pcm_u8"), (44100, "pcm_s16le"), (96000, "pcm_s24le"), (16000, "pcm_f32le")):
        sound = voice(1, rate=rate)
        path = write_clip(tmp_path / f"{rate}.wav", picture=None, sound=sound, rate=rate, audio_codec=codec)
        (wave,), _, _ = read(path)
        assert abs(len(wave) - SAMPLE_RATE_HZ) <= 16
        assert abs(np.abs(wave).max() - 0.5) < 0.03
    left = voice(1)
    both = np.stack([left, np.zeros_like(left)])
    path = write_clip(tmp_path / "stereo.wav", picture=None, sound=both, audio_codec="pcm_f32le")
    assert np.allclose(read(path)[0][0], left / 2, atol=1e-6)


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_s16le", "flac", "aac"])
def test_a_party_on_each_channel(tmp_path: Path, codec: str) -> None:
    """Packed and planar samples, and a third channel that is not there."""
    agent, customer = voice(1, 110), voice(1, 190)
    suffix = {"flac": "flac", "aac": "m4a"}.get(codec, "wav")
    path = write_clip(tmp_path / f"call.{suffix}", picture=None, sound=np.stack([agent, customer]), audio_codec=codec)
    segments = (Segment(channel=1), Segment(channel=2), Segment(), Segment(channel=3))
    (first, second, both, none), _, reader = read(path, *segments)
    n = min(len(first), len(agent))
    assert np.corrcoef(first[:n], agent[:n])[0, 1] > 0.99 > 0.9 > np.corrcoef(first[:n], customer[:n])[0, 1]
    assert np.corrcoef(second[:n], customer[:n])[0, 1] > 0.99
    assert np.allclose(both, (first + second) / 2, atol=1e-6)
    assert len(none) == 0
    problem = reader.problem("audio", segments[3])
    assert problem is not None
    assert problem.code == "E-CHANNEL"
    assert "has no channel 3: its sound has 2" in str(problem)
    assert [reader.problem("audio", segment) for segment in segments[:3]] == [None] * 3


def test_a_turned_video_comes_out_upright(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "t.mp4", picture=lambda i: np.ascontiguousarray(np.rot90(face(i), -1)), turned=90)
    _, (pictures,), _ = read(clip)
    assert np.abs(pictures[0].rgb.astype(float) - face(0)).mean() < 8


@pytest.mark.parametrize(("pixels", "cut"), [("gray", (240, 320)), ("bgr0", (201, 301)), ("bgr0", (1, 1))])
def test_grey_odd_and_tiny_frames(tmp_path: Path, pixels: str, cut: tuple[int, int]) -> None:
    picture = np.ascontiguousarray(face(0)[: cut[0], : cut[1]])
    clip = write_clip(tmp_path / "x.mkv", picture=still(picture), video_codec="ffv1", pixels=pixels)
    _, (pictures,), _ = read(clip)
    assert len(pictures) == 5
    assert pictures[0].rgb.shape == (*cut, 3)


def test_large_frames_are_reduced(tmp_path: Path) -> None:
    large = np.ascontiguousarray(np.kron(face(0), np.ones((6, 6, 1), dtype=np.uint8)))
    clip = write_clip(tmp_path / "x.mp4", seconds=0.2, picture=still(large))
    _, (pictures,), _ = read(clip)
    assert pictures[0].rgb.shape == (720, 960, 3)


def test_streams_that_are_not_there(tmp_path: Path) -> None:
    silent_film = write_clip(tmp_path / "v.mp4")
    waves, pictures, reader = read(silent_film)
    assert not reader.has_audio
    assert reader.has_video
    assert len(waves[0]) == 0
    assert pictures[0]
    radio = write_clip(tmp_path / "a.mp4", picture=None, sound=voice(1))
    _, pictures, reader = read(radio)
    assert reader.has_audio
    assert not reader.has_video
    assert not pictures[0]


def test_an_album_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 320, 240, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(face(0), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(voice(1)[None, :1024], format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    _, _, reader = read(path)
    assert reader.has_audio
    assert not reader.has_video


@pytest.mark.parametrize("name", ["talk.mkv", "talk.avi", "voice.wav"])
def test_a_file_cut_short_is_noticed(folder: Path, tmp_path: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: len(content) // 2])
    _, _, reader = read(cut)
    problem = reader.problem("audio", Segment())
    assert problem is not None
    assert problem.code == "E-TRUNCATED"
    assert reader.problem("audio", Segment(0.0, 0.5)) is None, "the part before the cut is whole"


def test_a_broken_packet_costs_that_packet(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "talk.mkv").read_bytes())
    for place in np.random.default_rng(0).integers(2000, len(content) - 2000, 3):
        content[place] ^= 0x10
    hurt = tmp_path / "hurt.mkv"
    hurt.write_bytes(bytes(content))
    (wave,), (pictures,), _ = read(hurt)
    assert len(wave) > 0.8 * 2 * SAMPLE_RATE_HZ
    assert len(pictures) >= 8


def test_a_stream_that_is_mostly_broken_is_not_used(folder: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "t.mkv", seconds=1, sound=voice(1), audio_codec="flac")
    content = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.pos is not None and packet.size]
    for place in places[::2]:
        content[place + 8 : place + 40] = b"\xff" * 32
    clip.write_bytes(bytes(content))
    _, _, reader = read(clip)
    problem = reader.problem("audio", Segment())
    assert problem is not None
    assert problem.code == "E-DAMAGED"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"this is not a film"),
        ("noise.wav", bytes(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8))),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ntalk.mp4\n#EXT-X-ENDLIST\n"),
        ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ntalk.mp4\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile talk.mp4\n"),
        ("sdp.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n"),
    ],
)
def test_what_is_no_media_file_is_refused(folder: Path, name: str, content: bytes) -> None:
    """Playlists and scripts that name another file are refused although that file is there."""
    (folder / name).write_bytes(content)
    with pytest.raises(MediaError) as error:
        read(folder / name)
    assert error.value.code == "E-OPEN"
    assert name in error.value.message


def test_a_stream_in_an_unknown_codec_costs_that_stream(tmp_path: Path) -> None:
    """An encrypted stream has no decoder either."""
    locked = write_clip(tmp_path / "locked.mp4", sound=voice(1), video_codec="libx264")
    locked.write_bytes(locked.read_bytes().replace(b"avc1", b"encv"))
    (wave,), (pictures,), reader = read(locked)
    assert len(wave)
    assert not pictures
    assert reader.problem("audio", Segment()) is None
    problem = reader.problem("video", Segment())
    assert problem is not None
    assert problem.code == "E-DAMAGED"
    assert reader.has_video


def test_a_clip_whose_clock_starts_late_is_whole(tmp_path: Path) -> None:
    """Matroska counts its duration from zero, wherever the first frame is."""
    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for index in range(250, 275):
            frame = av.VideoFrame.from_ndarray(face(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    _, (pictures,), reader = read(tmp_path / "late.mkv")
    assert len(pictures) == 5
    assert reader.problem("video", Segment()) is None


@pytest.mark.parametrize(("name", "codec", "rate"), [("cut.mp3", "libmp3lame", 16_000), ("cut.ogg", "libopus", 48_000)])
def test_a_cut_that_formats_without_an_index_hide_is_noticed(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = write_clip(tmp_path / name, picture=None, sound=voice(4, rate=rate), rate=rate, audio_codec=codec)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    _, _, reader = read(path)
    problem = reader.problem("audio", Segment())
    assert problem is not None
    assert problem.code == "E-TRUNCATED"
    path.write_bytes(content)
    _, _, reader = read(path)
    assert reader.problem("audio", Segment()) is None


@pytest.mark.parametrize("start_s", [50.0, 1e13, 1e300])
def test_a_segment_beyond_all_time_is_empty(folder: Path, start_s: float) -> None:
    (wave,), (pictures,), reader = read(folder / "talk.mp4", Segment(start_s))
    assert len(wave) == len(pictures) == 0
    assert reader.problem("audio", Segment(start_s)) is None


@pytest.mark.parametrize(
    ("asked", "there", "advice"),
    [
        ("vp02.MP4", "VP02.mp4", "did you mean 'VP02.mp4'?"),
        ("talk", "talk.wav", "did you mean 'talk.wav'?"),
        ("talk.mp4", "talk.wav", "did you mean 'talk.wav'?"),
        ("clips\\talk.wav", "talk.wav", "with / and not with"),
        ("talk.wav", "other.wav", "does not exist."),
    ],
)
def test_what_may_have_been_meant_by_a_file_that_does_not_exist(
    tmp_path: Path, asked: str, there: str, advice: str
) -> None:
    (tmp_path / there).write_bytes(b"x")
    with pytest.raises(MediaError) as caught:
        open_media(tmp_path / asked)
    assert caught.value.code == "E-NOFILE"
    assert advice in caught.value.message


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "missing.mp4", tmp_path, tmp_path / "pipe.wav", Path("/dev/zero"), Path("http://x/y.mp4")):
        with pytest.raises(MediaError) as error:
            read(path)
        assert error.value.code == "E-NOFILE"


def test_frames_too_large_to_be_real_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imer.media.probe.MAX_FRAME_PIXELS", 320 * 240 - 1)
    with pytest.raises(MediaError) as error:
        read(folder / "talk.mp4")
    assert error.value.code == "E-TOOLARGE"


def test_a_duration_is_what_the_header_says_and_the_size_allows(folder: Path, tmp_path: Path) -> None:
    assert plausible_duration_s(folder / "talk.mp4") == pytest.approx(2.0, abs=0.1)
    lie = write_clip(tmp_path / "lie.mkv", seconds=0.2)
    content = bytearray(lie.read_bytes())
    duration = content.index(b"\x44\x89\x88") + 3  # Matroska's element, a float64 in milliseconds
    content[duration : duration + 8] = struct.pack(">d", 1e9)
    lie.write_bytes(content)
    with open_media(lie) as container:
        assert declared_duration_s(container) == pytest.approx(1e6)
    assert plausible_duration_s(lie) == len(content) / BYTES_PER_SECOND_FLOOR


@pytest.mark.parametrize("name", ["x.wav", "x.mp3", "x.mp4", "x.flac"])
def test_beyond_the_end_of_a_whole_file_there_is_nothing_and_nothing_is_wrong(tmp_path: Path, name: str) -> None:
    codec = {"x.wav": "pcm_s16le", "x.mp3": "mp3", "x.flac": "flac"}.get(name, "aac")
    clip = write_clip(tmp_path / name, picture=None, sound=voice(2.0), audio_codec=codec)
    for start_s in (3.0, 61.0, 3600.0):
        segment = Segment(start_s, start_s + 2)
        (wave,), _, reader = read(clip, segment)
        assert len(wave) == 0
        assert reader.problem("audio", segment) is None
