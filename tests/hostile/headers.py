"""Headers that lie: about lengths, rates, channels, sizes of frames, places of samples."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np

from tests.hostile.case import Case, Make, World, content
from tests.hostile.encode import RATE, sound, write

PCM, FLOAT = 1, 3


def wav(
    samples: bytes,
    *,
    tag: int = PCM,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    align: int | None = None,
    n_bytes: int | None = None,
    riff: int | None = None,
    before: bytes = b"",
) -> bytes:
    """A WAVE file with any header. `n_bytes` is what the data chunk says of its size, `riff` what the file says."""
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    size = len(samples) if n_bytes is None else n_bytes
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + before + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def pcm(seconds: float = 2.0, rate: int = RATE) -> bytes:
    return (sound(seconds, rate=rate)[0] * 32767).astype("<i2").tobytes()


TALK = pcm()
TEN_HOURS_S = 36_000
WAVES: dict[str, tuple[bytes, str]] = {
    # name → (content, verdict of the audio); the visual is no_stream wherever the file can be opened at all
    "size-0.wav": (wav(TALK, n_bytes=0), "ok"),  # 0 is also how a recorder says "until the end"
    "size-max.wav": (wav(TALK, n_bytes=0xFFFFFFFF, riff=0xFFFFFFFF), "ok"),
    "size-negative.wav": (wav(TALK, n_bytes=0x80000000), "ok"),
    "size-double.wav": (wav(TALK, n_bytes=2 * len(TALK), riff=2 * len(TALK) + 36), "E-TRUNCATED"),
    "size-half.wav": (wav(TALK, n_bytes=len(TALK) // 2), "ok"),
    "riff-0.wav": (wav(TALK, riff=0), "ok"),
    "ten-hours.wav": (wav(TALK, n_bytes=TEN_HOURS_S * RATE * 2, riff=TEN_HOURS_S * RATE * 2 + 36), "E-TRUNCATED"),
    "no-samples.wav": (wav(b""), "too_short"),
    "no-data.wav": (wav(b"")[:-8], "E-OPEN"),
    "rate-0.wav": (wav(TALK, rate=0), "E-OPEN"),
    "rate-negative.wav": (wav(TALK, rate=0xFFFFFFFF), "E-OPEN"),
    "rate-2GHz.wav": (wav(TALK, rate=0x7FFFFFFF), "too_short|E-MEMORY|E-EXTRACT"),
    "channels-0.wav": (wav(TALK, channels=0, align=2), "E-DAMAGED"),
    "channels-65535.wav": (wav(TALK, channels=65535, align=65534), "E-DAMAGED"),
    "channels-1000.wav": (wav(TALK, channels=1000), "E-DAMAGED"),
    "bits-0.wav": (wav(TALK, bits=0, align=2), "E-DAMAGED"),
    "bits-128.wav": (wav(TALK, bits=128, align=16), "E-DAMAGED"),
    "bits-12.wav": (wav(TALK, bits=12, align=2), "ok"),
    "align-0.wav": (wav(TALK, align=0), "ok"),
    "align-odd.wav": (wav(TALK, align=3), "ok"),
    "align-huge.wav": (wav(TALK, align=65535), "ok"),
    "tag-unknown.wav": (wav(TALK, tag=0x1234), "E-DAMAGED"),
    "tag-mp3.wav": (wav(TALK, tag=0x55), "E-DAMAGED"),
    "tag-adpcm.wav": (wav(TALK, tag=2, bits=4, align=0), "E-DAMAGED"),
    "tag-extensible.wav": (wav(TALK, tag=0xFFFE), "E-DAMAGED"),
    "odd-length.wav": (wav(TALK[:-1]), "ok"),
    "two-data.wav": (wav(TALK + b"data" + struct.pack("<I", 4) + b"\x00" * 4, n_bytes=len(TALK)), "too_short"),
    "chunk-huge.wav": (wav(TALK, before=b"LIST" + struct.pack("<I", 0x7FFFFFF0)), "E-OPEN"),
    "chunk-list.wav": (wav(TALK, before=b"LIST" + struct.pack("<I", 4) + b"INFO"), "ok"),
    "twice.wav": (wav(TALK) + wav(TALK), "ok"),
    "tail.wav": (wav(TALK) + b"\x00" * 5000, "ok"),
    "riff-inside.wav": (wav(wav(TALK)), "ok"),
    "rf64.wav": (b"RF64" + wav(TALK)[4:], "E-OPEN"),
    "rifx.wav": (b"RIFX" + wav(TALK)[4:], "E-OPEN"),
}


def patched(kind: str, *changes: tuple[bytes, int, bytes]) -> Make:
    """A good file with other bytes `offset` after each occurrence of a mark."""

    def make(path: Path, world: World) -> None:
        data = bytearray(world.originals[kind])
        for mark, offset, new in changes:
            assert mark in data, f"{mark!r} is not in {kind}"
            at = data.find(mark)
            while at >= 0:
                data[at + offset : at + offset + len(new)] = new
                at = data.find(mark, at + len(mark))
        path.write_bytes(bytes(data))

    return make


def cut_after(make: Make, n_bytes: int) -> Make:
    def both(path: Path, world: World) -> None:
        make(path, world)
        path.write_bytes(path.read_bytes()[:n_bytes])

    return both


BIG = struct.pack(">I", 0x7FFFFFFF)
MAX = struct.pack(">I", 0xFFFFFFFF)
TEN_HOURS = struct.pack(">I", TEN_HOURS_S * 1000)
# name → (how it is made, audio, visual)
INDEXES: dict[str, tuple[Make, str, str]] = {
    "ten-hours.mov": (patched("mov", (b"mvhd", 20, TEN_HOURS), (b"mdhd", 20, TEN_HOURS)), "ok", "ok"),
    "timescale-0.mov": (patched("mov", (b"mdhd", 16, b"\x00" * 4)), "E-TRUNCATED", "E-TRUNCATED"),
    "timescale-max.mov": (patched("mov", (b"mdhd", 16, BIG)), "ok", "ok"),
    "sizes-many.mov": (patched("mov", (b"stsz", 12, BIG)), "E-OPEN", "E-OPEN"),
    "sizes-huge.mov": (patched("mov", (b"stsz", 16, BIG)), "E-TRUNCATED", "E-TRUNCATED"),
    "times-many.mov": (patched("mov", (b"stts", 8, BIG)), "E-OPEN", "E-OPEN"),
    "times-0.mov": (patched("mov", (b"stts", 16, b"\x00" * 4)), "too_short|E-DAMAGED", "ok"),
    "times-huge.mov": (patched("mov", (b"stts", 16, BIG)), "E-TRUNCATED", "E-TRUNCATED"),
    "chunks-many.mov": (patched("mov", (b"stsc", 8, BIG)), "E-OPEN", "E-OPEN"),
    "places-beyond.mov": (patched("mov", (b"stco", 12, BIG)), "E-TRUNCATED", "E-TRUNCATED"),
    "places-0.mov": (patched("mov", (b"stco", 12, b"\x00" * 4)), "ok", "ok"),
    "no-places.mov": (patched("mov", (b"stco", 0, b"free")), "E-DAMAGED", "E-DAMAGED"),
    "no-times.mov": (patched("mov", (b"stts", 0, b"free")), "E-DAMAGED", "E-DAMAGED"),
    "no-index.mov": (patched("mov", (b"moov", 0, b"zzzz")), "E-OPEN", "E-OPEN"),
    "no-tracks.mov": (patched("mov", (b"trak", 0, b"free")), "E-OPEN", "E-OPEN"),
    "box-0.mov": (patched("mov", (b"trak", -4, b"\x00" * 4)), "no_stream", "ok"),
    "box-huge.mov": (patched("mov", (b"mdia", -4, BIG)), "ok", "ok"),
    "box-1.mov": (patched("mov", (b"mdat", -4, struct.pack(">I", 1))), "E-OPEN", "E-OPEN"),
    "encrypted.mp4": (patched("mp4", (b"avc1", 0, b"encv")), "ok", "E-DAMAGED"),
    "encrypted-both.mp4": (patched("mp4", (b"avc1", 0, b"encv"), (b"mp4a", 0, b"enca")), "ok", "E-DAMAGED"),
    "codec-unknown.mp4": (patched("mp4", (b"avc1", 0, b"zzzz"), (b"mp4a", 0, b"qqqq")), "ok", "E-DAMAGED"),
    "codec-other.mp4": (patched("mp4", (b"mp4a", 0, b"alac")), "ok", "ok"),
    "handler-other.mp4": (patched("mp4", (b"vide", 0, b"data"), (b"soun", 0, b"data")), "ok", "ok"),
    "parameters.mp4": (patched("mp4", (b"avcC", 4, b"\xff" * 24)), "ok", "E-DAMAGED"),
    "frames-huge.mp4": (patched("mp4", (b"avc1", 28, b"\xff\xff\xff\xff")), "ok", "ok"),
    "edit-far.mp4": (patched("mp4", (b"elst", 16, BIG)), "E-TRUNCATED", "E-TRUNCATED"),
    "ten-hours.flv": (patched("flv", (b"duration\x00", 9, struct.pack(">d", 36000.0))), "E-TRUNCATED", "E-TRUNCATED"),
    "duration-nan.flv": (patched("flv", (b"duration\x00", 9, struct.pack(">d", float("nan")))), "ok", "ok"),
    "duration-inf.flv": (patched("flv", (b"duration\x00", 9, struct.pack(">d", 1e308))), "ok", "ok"),
    "duration-minus.flv": (patched("flv", (b"duration\x00", 9, struct.pack(">d", -5.0))), "ok", "ok"),
    "ten-hours.mkv": (patched("mkv", (b"\x44\x89\x88", 3, struct.pack(">d", 3.6e7))), "E-TRUNCATED", "E-TRUNCATED"),
    "duration-nan.mkv": (patched("mkv", (b"\x44\x89\x88", 3, struct.pack(">d", float("nan")))), "ok", "ok"),
    "duration-inf.mkv": (patched("mkv", (b"\x44\x89\x88", 3, struct.pack(">d", float("inf")))), "ok", "ok"),
    "cluster-huge.mkv": (patched("mkv", (b"\x1fC\xb6u", 4, b"\x01\xff\xff\xff\xff\xff\xff\xfe")), "ok", "ok"),
    "rate-0.avi": (patched("avi", (b"strh", 32, b"\x00" * 4)), "ok", "ok"),
    "scale-0.avi": (patched("avi", (b"strh", 28, b"\x00" * 8)), "ok", "ok"),
    "frames-huge.avi": (patched("avi", (b"strf", 12, struct.pack("<ii", 60000, 60000))), "ok", "ok"),
    "frames-minus.avi": (patched("avi", (b"strf", 12, struct.pack("<ii", -320, -240))), "E-OPEN", "E-OPEN"),
    "index-broken.avi": (patched("avi", (b"idx1", 8, b"\xff" * 64)), "ok", "ok"),
    "list-huge.avi": (patched("avi", (b"movi", -4, b"\xff\xff\xff\x7f")), "ok", "ok"),
    "streams-255.avi": (patched("avi", (b"avih", 32, struct.pack("<I", 255))), "ok", "ok"),
    "length-10h.avi": (patched("avi", (b"strh", 40, struct.pack("<I", 900_000))), "E-TRUNCATED", "E-TRUNCATED"),
    "total-10h.flac": (patched("flac", (b"fLaC", 22, struct.pack(">I", TEN_HOURS_S * RATE))), "E-TRUNCATED", "no_stream"),
    "rate-0.flac": (patched("flac", (b"fLaC", 18, b"\x00\x00\x00")), "ok", "no_stream"),
    "blocks-0.flac": (patched("flac", (b"fLaC", 8, b"\x00" * 10)), "E-DAMAGED", "no_stream"),
    "frames-10h.mp3": (patched("mp3", (b"Info", 8, struct.pack(">I", 1_000_000))), "E-TRUNCATED", "no_stream"),
    "page-0.ogg": (patched("ogg", (b"OggS", 6, b"\xff" * 8)), "E-OPEN", "E-OPEN"),
    "head-rate.ogg": (patched("ogg", (b"OpusHead", 9, b"\xff\xff\xff\xff")), "E-OPEN", "E-OPEN"),
    "packets-short.ts": (patched("ts", (b"\x47", 0, b"\x46")), "ok", "no_stream"),
    "tables-broken.ts": (patched("ts", (b"\x47\x40\x00", 5, b"\xff" * 100)), "ok", "ok"),
}  # fmt: skip


def _id3(size: int) -> Make:
    """An MP3 after a tag of `size` bytes that are really there."""
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return lambda path, world: path.write_bytes(b"ID3\x03\x00\x00" + length + b"\x00" * size + world.originals["mp3"])


def _sparse(path: Path, _: World) -> None:
    """A WAVE file of four gigabytes that takes no room on the disk: 37 hours of silence."""
    head = wav(b"", n_bytes=0xFFFFFFF0 - 36, riff=0xFFFFFFF0)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(0xFFFFFFF0)


def _gif(width: int, height: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return head + frame + b";"


def _ivf(width: int, height: int) -> bytes:
    key = b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + b"\x00" * 40
    head = b"DKIF" + struct.pack("<HH4sHHIIII", 0, 32, b"VP80", width, height, 25, 1, 2, 0)
    return head + b"".join(struct.pack("<IQ", len(key), n) + key for n in range(2))


def _jpeg_film(width: int, height: int) -> Make:
    """A small film in which every picture says that it is enormous."""

    def make(path: Path, _: World) -> None:
        write(path, video_codec="mjpeg", pixels="yuvj420p", seconds=0.4, container="avi")
        data = bytearray(path.read_bytes())
        at = data.find(b"\xff\xc0")
        while at >= 0:
            data[at + 5 : at + 9] = struct.pack(">HH", height, width)
            at = data.find(b"\xff\xc0", at + 2)
        path.write_bytes(bytes(data))

    return make


def _flac_bomb(minutes: int) -> Make:
    """Silence packs so well that a hundred kilobytes hold a quarter of an hour."""

    def make(path: Path, _: World) -> None:
        with av.open(str(path), "w", options={"fflags": "+bitexact"}) as out:
            stream = out.add_stream("flac", rate=RATE, layout="mono")
            block = np.zeros((1, RATE * 60), dtype=np.int16)
            for minute in range(minutes):
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.pts = RATE, minute * block.shape[1]
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))

    return make


def cases() -> list[Case]:
    fast = {"ten-hours.wav", "rate-0.wav", "channels-65535.wav", "ten-hours.mov", "encrypted.mp4", "frames-huge.avi",
            "sizes-many.mov", "no-tracks.mov", "rate-2GHz.wav"}  # fmt: skip
    out = []
    for name, (data, audio) in WAVES.items():
        refused = "|".join(code for code in audio.split("|") if code == "E-OPEN")
        visual = "E-OPEN" if audio == "E-OPEN" else "|".join(filter(None, [refused, "no_stream"]))
        out.append(Case("wave header", name, content(data), audio, visual, fast=name in fast))
    for name, (make, audio, visual) in INDEXES.items():
        out.append(Case("index", name, make, audio, visual, fast=name in fast))
    out += [
        Case("bomb", "tag-2MB.mp3", _id3(2_000_000), "ok", "no_stream"),
        Case("bomb", "sparse.wav", _sparse, "silent", "no_stream", row={"start": "133000", "end": "133010"}),
        Case("bomb", "minutes.flac", _flac_bomb(8), "silent", "no_stream"),
        Case("bomb", "hours.flac", _flac_bomb(300), "silent", "no_stream", row={"start": "17000", "end": "17010"}),
        Case("bomb", "frames-huge.gif", content(_gif(65535, 65535)), "no_stream", "E-DAMAGED", fast=True),
        Case("bomb", "frames-large.gif", content(_gif(7000, 7000)), "no_stream", "no_face"),
        Case("bomb", "frames-huge.ivf", content(_ivf(16383, 16383)), "E-TOOLARGE", "E-TOOLARGE", fast=True),
        Case("bomb", "pictures-huge.avi", _jpeg_film(65500, 65500), "no_stream", "E-DAMAGED|E-MEMORY", fast=True),
        Case("bomb", "pictures-large.avi", _jpeg_film(20000, 20000), "no_stream", "E-DAMAGED|E-MEMORY"),
    ]  # fmt: skip
    return out
