"""What is known of a container before it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.media.probe import open_media
from imer.media.traits import Traits
from tests.clips import voice, write_clip


def traits(path: Path) -> Traits:
    with open_media(path) as container:
        return Traits.of(container, path)


@pytest.mark.parametrize(
    ("name", "codec", "sets"),
    [
        ("t.mp4", "aac", {"seeks"}),
        ("t.flac", "flac", {"seamless", "seeks"}),
        ("t.mp3", "mp3", {"seamless", "seeks"}),
        ("t.ogg", "flac", {"seeks"}),
        ("t.wav", "pcm_s16le", {"seeks"}),
        ("t.w64", "adpcm_ms", set()),
    ],
)
def test_of_a_whole_recording(tmp_path: Path, name: str, codec: str, sets: set[str]) -> None:
    found = traits(write_clip(tmp_path / name, picture=None, sound=voice(1), audio_codec=codec))
    assert found.duration_s == pytest.approx(1.0, abs=0.1)
    assert {field for field, value in vars(found).items() if value is True} == sets


def test_a_film_of_reordered_frames_is_in_no_order_where_times_are_not_stored(tmp_path: Path) -> None:
    for name, unordered in (("f.avi", True), ("f.mkv", False)):
        film = write_clip(tmp_path / name, seconds=1, video_codec="libx264")
        assert traits(film).unordered is unordered


def test_what_was_cut_or_put_together_shows(tmp_path: Path) -> None:
    sound = voice(2)
    wave = write_clip(tmp_path / "t.wav", picture=None, sound=sound, audio_codec="pcm_s16le")
    wave.write_bytes(wave.read_bytes()[: wave.stat().st_size // 2])
    assert traits(wave).duration_s == pytest.approx(2.0, abs=0.1), "what its header promises"

    chain = write_clip(tmp_path / "t.ogg", picture=None, sound=sound, audio_codec="flac")
    once = chain.read_bytes()
    chain.write_bytes(once + once)
    assert traits(chain).joined
    assert not traits(chain).seeks
    chain.write_bytes(once[:-10])
    assert traits(chain).cut
