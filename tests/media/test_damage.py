"""What is said of a segment depends on its own packets alone; pauses, late streams and long subtitles are no damage."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from imer.media.damage import Account, Accounts
from imer.media.decode import ClipReader, Sight, Sound
from imer.media.segments import Segment
from tests.clips import voice, write_clip

RATE = 16_000


def codes_and_seconds(path: Path, *segments: Segment) -> list[tuple[str, float, int]]:
    """Read segments together: for each the code of its sound, its seconds of sound, its number of pictures."""
    reader = ClipReader(path, segments)
    seconds, pictures = [0.0] * len(segments), [0] * len(segments)
    for event in reader.read():
        if isinstance(event, Sound):
            seconds[event.segment] += len(event.samples) / event.rate_hz
        elif isinstance(event, Sight):
            pictures[event.segment] += 1
    problems = [reader.problem("audio", segment) for segment in segments]
    return [("" if p is None else p.code, s, n) for p, s, n in zip(problems, seconds, pictures, strict=True)]


def mux(path: Path, *, seconds: float, sound_from: Sequence[tuple[float, float]]) -> Path:
    """Write a film of 2 frames a second whose sound is there only in some stretches (from, to) of its time."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=2)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        packets = []
        for index in range(round(seconds * 2)):
            picture = np.full((48, 64, 3), index % 200, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 2)
            packets += video.encode(frame)
        packets += video.encode(None)
        sound = voice(seconds)
        for start in range(0, len(sound), 1024):
            if not any(a <= start / RATE < b for a, b in sound_from):
                continue
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            packets += audio.encode(frame)
        packets += audio.encode(None)
        timed = [(float(packet.dts * packet.time_base), packet) for packet in packets if packet.dts is not None]
        for _, packet in sorted(timed, key=lambda pair: pair[0]):
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of sound, of which 10 to 12 cannot be decoded."""
    path = tmp_path_factory.mktemp("hurt") / "hurt.mkv"
    write_clip(path, picture=None, sound=voice(20), audio_codec="flac")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            if packet.pts is not None and packet.pos is not None and 10 <= packet.pts * packet.time_base < 12:
                content[packet.pos + 8 : packet.pos + 40] = b"\xff" * 32
    path.write_bytes(bytes(content))
    return path


def test_a_tenth_may_be_lost_and_half_a_second_always() -> None:
    usable = [Account(packets=1), Account(10, 1), Account(9, 0, 2.0, 0.5), Account(9, 0, 20.0, 2.0)]
    assert [account.loss("audio") for account in usable] == [""] * 4
    assert Account(9, 1).loss("audio") == "1 of 9 audio packets cannot be decoded"
    assert Account(9, 0, 2.0, 0.6).loss("audio") == "0.60 of 2.00 s of the audio are missing"
    assert Account(9, 0, 20.0, 2.1).loss("video") == "2.10 of 20.00 s of the video are missing"


def test_a_packet_counts_for_the_segments_that_it_touches() -> None:
    segments = [Segment(0.0, 10.0), Segment(10.0, 12.0), Segment(8.0)]
    accounts = Accounts(segments, seamless=False)
    for start_s in range(20):
        accounts.enter(float(start_s), start_s + 1.0)
    assert [accounts.of(segment).packets for segment in segments] == [10, 2, 12]
    assert accounts.enter_untimed(11.0) == [accounts[1], accounts[2]]
    assert [accounts.of(segment).packets for segment in segments] == [10, 3, 13]


@pytest.mark.parametrize(("share", "code"), [(0.05, ""), (0.15, "E-DAMAGED")])
def test_few_broken_packets_cost_themselves_and_many_the_stream(tmp_path: Path, share: float, code: str) -> None:
    path = write_clip(tmp_path / "t.mkv", picture=None, sound=voice(5), audio_codec="flac")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.pos is not None and packet.size]
    for place in places[3 : 3 + round(share * len(places))]:
        content[place + 8 : place + 40] = b"\xff" * 32
    path.write_bytes(bytes(content))
    ((found, seconds, _),) = codes_and_seconds(path, Segment())
    assert found == code
    assert seconds == pytest.approx(5 * (1 - share), abs=0.1)


def test_damage_is_told_of_the_segments_that_have_it_whatever_is_read_with_them(hurt: Path) -> None:
    before, within, after = Segment(0.0, 9.0), Segment(10.0, 12.0), Segment(13.0, 20.0)
    alone = [codes_and_seconds(hurt, segment)[0] for segment in (before, within, after)]
    assert [code for code, _, _ in alone] == ["", "E-DAMAGED", ""]
    assert codes_and_seconds(hurt, before, within, after) == alone
    assert codes_and_seconds(hurt, within, after) == alone[1:]


def test_a_channel_is_told_of_the_segments_that_lack_it(tmp_path: Path) -> None:
    both = np.stack([voice(6), voice(6, 190)])
    parts = [
        write_clip(tmp_path / f"{i}.aac", picture=None, sound=sound, audio_codec="aac")
        for i, sound in enumerate((both, voice(6)))
    ]
    path = tmp_path / "joined.aac"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    stereo, mono = Segment(0.0, 4.0, 2), Segment(8.0, 11.0, 2)
    alone = [codes_and_seconds(path, segment)[0] for segment in (stereo, mono)]
    assert [code for code, _, _ in alone] == ["", "E-CHANNEL"]
    assert codes_and_seconds(path, stereo, mono) == alone


def test_what_is_missing_from_a_format_that_knows_no_pauses_was_lost(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "cut.flac", picture=None, sound=voice(12), audio_codec="flac")
    with av.open(str(path)) as container:
        places = [(packet.time_base * packet.pts, packet.pos) for packet in container.demux(audio=0) if packet.size]
    first, last = (next(pos for time_s, pos in places if time_s >= at) for at in (4, 7))
    content = path.read_bytes()
    path.write_bytes(content[:first] + content[last:])
    codes = [code for code, _, _ in codes_and_seconds(path, Segment(), Segment(0.0, 3.0), Segment(3.0, 8.0))]
    assert codes == ["E-DAMAGED", "", "E-DAMAGED"]


@pytest.mark.parametrize("name", ["call.mkv", "call.mp4"])
def test_sound_that_begins_late_or_pauses_is_no_damage(tmp_path: Path, name: str) -> None:
    late = mux(tmp_path / f"late_{name}", seconds=60, sound_from=[(45, 60)])
    paused = mux(tmp_path / f"paused_{name}", seconds=60, sound_from=[(0, 20), (45, 60)])
    for path, heard_s in ((late, 15), (paused, 35)):
        code, seconds, pictures = codes_and_seconds(path, Segment())[0]
        assert (code, pictures) == ("", 120)
        assert seconds == pytest.approx(heard_s, abs=0.2)
        quiet, loud = Segment(31.0, 36.0), Segment(50.0, 55.0)
        for found in (codes_and_seconds(path, quiet, loud), [codes_and_seconds(path, s)[0] for s in (quiet, loud)]):
            assert [(code, pictures) for code, _, pictures in found] == [("", 10), ("", 10)]
            assert [seconds for _, seconds, _ in found] == [0.0, pytest.approx(5, abs=0.01)]


def test_sound_says_when_it_is(tmp_path: Path) -> None:
    path = mux(tmp_path / "paused.mkv", seconds=30, sound_from=[(2, 8), (20, 30)])
    events = [event for event in ClipReader(path, [Segment(1.0, None)], video=False).read() if isinstance(event, Sound)]
    starts = np.array([event.at_s for event in events])
    ends = starts + [len(event.samples) / event.rate_hz for event in events]
    (pause,) = np.flatnonzero(starts[1:] - ends[:-1] > 1)
    assert starts[0] == pytest.approx(1, abs=0.1)
    assert (ends[pause], starts[pause + 1]) == (pytest.approx(7, abs=0.15), pytest.approx(19, abs=0.15))


@pytest.mark.parametrize("name", ["call.wav", "call.w64"])
def test_sound_of_variable_byte_rate_is_taken_from_its_time(tmp_path: Path, name: str) -> None:
    """FFmpeg would be .36 s off here, and 12 to 20 s at the end of an hour."""
    rate, sound = 8000, np.zeros(8000 * 130, dtype=np.float32)
    sound[120 * rate : 120 * rate + 2000] = 0.5 * np.sin(np.arange(2000))
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("adpcm_ima_wav", rate=rate, layout="mono")
        for start in range(0, len(sound), size := stream.codec_context.frame_size or 1024):
            part = (sound[None, start : start + size] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, format="s16p", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for segment, loud in (
        (Segment(120.0, 120.25), True),
        (Segment(119.0, 119.9), False),
        (Segment(120.4, 122.0), False),
    ):
        samples = [event.samples for event in ClipReader(path, [segment]).read() if isinstance(event, Sound)]
        assert (np.abs(np.concatenate(samples)).max() > 0.3) == loud, segment


def test_a_subtitle_that_is_longer_than_the_film_does_not_cut_it_short(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", seconds=4, sound=voice(4))
    (tmp_path / "words.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nHi\n\n2\n00:00:30,000 --> 00:00:40,000\nBye\n"
    )
    path = tmp_path / "both.mkv"
    with av.open(str(film)) as a, av.open(str(tmp_path / "words.srt")) as b, av.open(str(path), "w") as out:
        copies = {stream: out.add_stream_from_template(stream) for source in (a, b) for stream in source.streams}
        for source in (a, b):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    out.mux(packet)
    code, seconds, _ = codes_and_seconds(path, Segment())[0]
    assert (code, seconds) == ("", pytest.approx(4, abs=0.1))
