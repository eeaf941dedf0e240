"""Films that are odd in themselves: streams that are missing or too many, sizes, clocks, colours, faces."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from tests.clips import face, grey, still
from tests.hostile.case import Case, Make, World
from tests.hostile.encode import FPS, RATE, Picture, sound, write

X265 = {"x265-params": "log-level=none"}


def film(voiced: bool = True, picture: Picture = face, **how: object) -> Make:
    def make(path: Path, _: World) -> None:
        write(path, picture=picture, voice=sound() if voiced else None, **how)  # type: ignore[arg-type]

    return make


def sized(height: int, width: int, **how: object) -> Make:
    """The moving face, repeated or cut to a size."""

    def picture(index: int) -> np.ndarray:
        base = face(index)
        times = (-(-height // base.shape[0]), -(-width // base.shape[1]), 1)
        return np.ascontiguousarray(np.tile(base, times)[:height, :width])

    return film(False, picture, **{"video_codec": "ffv1", "pixels": "bgr0", "seconds": 0.4, **how})


def _black(_: int) -> np.ndarray:
    return np.zeros((240, 320, 3), np.uint8)


def _noise(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def _two(index: int) -> np.ndarray:
    return np.concatenate([face(index), face(index + 3)[:, ::-1]], axis=1)


def _half_out(index: int) -> np.ndarray:
    return np.ascontiguousarray(np.roll(face(index), 150, axis=1) * (np.arange(320) > 150)[None, :, None])


def _upside_down(index: int) -> np.ndarray:
    return np.ascontiguousarray(face(index)[::-1])


def _appearing(index: int) -> np.ndarray:
    return face(index) if index >= 25 else grey(index)


def _flashing(index: int) -> np.ndarray:
    return face(index) if index % 2 else _black(index)


def streams(*kinds: str, cover: bool = False) -> Make:
    """A file of any number of `audio`, `video`, `subtitle` and `data` streams; the first of a kind is the good one."""

    def make(path: Path, _: World) -> None:
        written = path.with_suffix(".srt")
        written.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
        with av.open(str(written)) as text, av.open(str(path), "w", options={"fflags": "+bitexact"}) as out:
            words = text.streams.subtitles[0]
            made = []
            for kind in kinds:
                if kind == "audio":
                    stream = out.add_stream("mp2" if path.suffix == ".ts" else "pcm_s16le", rate=RATE, layout="mono")
                elif kind == "video":
                    stream = out.add_stream("mjpeg" if cover else "mpeg4", rate=FPS)
                    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p" if cover else "yuv420p"
                    if cover:
                        stream.disposition = Disposition.attached_pic
                elif kind == "data":
                    stream = out.add_data_stream()
                else:
                    stream = out.add_stream_from_template(words)
                made.append(stream)
            seen: set[str] = set()
            for stream, kind in zip(made, kinds, strict=True):
                good = kind not in seen
                seen.add(kind)
                if kind == "audio":
                    frame = av.AudioFrame.from_ndarray(
                        (sound() * 30_000 * good).astype(np.int16), format="s16", layout="mono"
                    )
                    frame.sample_rate = RATE
                    out.mux(stream.encode(frame))
                    out.mux(stream.encode(None))
                elif kind == "video":
                    for index in range(1 if cover else 2 * FPS):
                        picture = face(index) if good else grey(index)
                        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                    out.mux(stream.encode(None))
                else:
                    packet = av.Packet(b"hello")  # words, or bytes of no meaning
                    packet.stream, packet.pts, packet.dts, packet.duration = stream, 0, 0, 1000
                    packet.time_base = Fraction(1, 1000)
                    out.mux(packet)
        written.unlink()

    return make


def joined(*parts: dict[str, object]) -> Make:
    """Transport streams one after the other: the size of the frames changes, and the clock goes back."""

    def make(path: Path, _: World) -> None:
        whole = b""
        for number, part in enumerate(parts):
            piece = path.with_name(f"{path.stem}.{number}.ts")
            how = {"video_codec": "mpeg2video", "audio_codec": "mp2", "rate": 48_000, "seconds": 1.0, **part}
            write(piece, voice=sound(1.0, rate=48_000), **how)  # type: ignore[arg-type]
            whole += piece.read_bytes()
            piece.unlink()
        path.write_bytes(whole)

    return make


def timed(times: Sequence[int], **how: object) -> Make:
    return film(False, times=times, **how)


def cases() -> list[Case]:
    none, both = "no_stream", ("ok", "ok")
    table: dict[str, tuple[Make, str, str]] = {
        "no-audio.mp4": (film(False), none, "ok"),
        "no-video.mp4": (lambda p, _: write(p, picture=None, voice=sound(), audio_codec="aac"), "ok", none),
        "subtitles-only.mkv": (streams("subtitle"), none, none),
        "data-only.ts": (streams("data"), none, none),
        "data-audio.ts": (streams("data", "audio"), "ok", none),
        "subtitles-audio.mkv": (streams("subtitle", "audio"), "ok", none),
        "two-audio.mkv": (streams("video", "audio", "audio"), *both),
        "two-video.mkv": (streams("video", "video", "audio"), *both),
        "streams-64.mkv": (streams("video", *["audio"] * 63), *both),
        "cover.mp4": (streams("audio", "video", cover=True), "ok", none),
        "cover.mov": (streams("video", "audio", cover=True), "ok", none),
        "fps-1.mp4": (film(fps=1), *both),
        "fps-1000.mkv": (film(fps=1000, seconds=0.5, picture=still(face(0))), *both),
        "fps-tenth.mkv": (timed([0], fps=Fraction(1, 10), video_codec="ffv1", pixels="bgr0"), none, "ok"),
        "one-frame.mp4": (film(False, seconds=1 / FPS), none, "ok"),
        "two-frames.mkv": (timed([0, 1]), none, "ok"),
        "variable.mkv": (timed([0, 1, 2, 20, 21, 60, 90, 91, 92, 140]), none, "ok"),
        "far-apart.mkv": (timed([0, 10_000, 20_000]), none, "ok"),
        "late-start.mkv": (timed(range(250, 300)), none, "ok"),
        "negative-start.mkv": (timed(range(-25, 25)), none, "ok"),
        "negative-sound.mkv": (film(audio_from=-RATE), *both),
        "late-sound.mkv": (film(audio_from=RATE), *both),
        "late-sound.mp4": (film(audio_from=RATE, audio_codec="aac"), *both),
        "sound-longer.mkv": (lambda p, _: write(p, voice=sound(5.0)), "ok", "ok"),
        "picture-longer.mkv": (film(seconds=5.0), "ok", "ok"),
        "no-stamps.m4v": (film(False, container="m4v"), none, "ok"),
        "no-stamps.h264": (film(False, video_codec="libx264", container="h264"), none, "ok"),
        "no-stamps.hevc": (film(False, video_codec="libx265", container="hevc", encoder=X265), none, "ok"),
        "clock-back.ts": (joined({}, {}), *both),
        "size-changes.ts": (joined({}, {"picture": _two}), *both),
        "size-shrinks.ts": (joined({"picture": _two}, {"picture": still(np.zeros((16, 16, 3), np.uint8))}), *both),
        "sound-appears.ts": (joined({"picture": still(face(0))}, {"picture": _two}, {}), *both),
        "pixel-1.mkv": (sized(1, 1), none, "no_face"),
        "pixel-2.mp4": (sized(2, 2, video_codec="libx264", pixels="yuv420p"), none, "no_face"),
        "size-39.mkv": (sized(39, 39), none, "no_face"),
        "size-41.mkv": (sized(41, 41), none, "no_face|ok"),
        "size-odd.mkv": (sized(239, 319), none, "ok"),
        "thin.mkv": (sized(2, 4096), none, "no_face"),
        "tall.mkv": (sized(4096, 2), none, "no_face"),
        "wide.mkv": (sized(100, 12_000, seconds=0.12), none, "ok|no_face"),
        "uhd.mkv": (sized(2160, 3840, video_codec="mpeg4", pixels="yuv420p"), none, "ok|no_face"),
        "uhd-8.mkv": (sized(4320, 7680, video_codec="mjpeg", pixels="yuvj420p", seconds=0.08), none, "ok|no_face"),
        "beyond-8k.mkv": (sized(7200, 7200, video_codec="mjpeg", pixels="yuvj420p", seconds=0.04), "E-TOOLARGE", "E-TOOLARGE"),
        "turned-90.mp4": (film(turned=90), "ok", "ok|no_face"),
        "turned-180.mp4": (film(turned=180), "ok", "ok|no_face"),
        "turned-45.mp4": (film(turned=45), *both),
        "upside-down.mp4": (film(picture=_upside_down), "ok", "ok|no_face"),
        "black.mp4": (film(picture=_black), "ok", "no_face"),
        "noise.mp4": (film(picture=_noise), "ok", "no_face"),
        "no-face.mp4": (film(picture=grey), "ok", "no_face"),
        "two-faces.mp4": (film(picture=_two), *both),
        "half-out.mp4": (film(picture=_half_out), "ok", "ok|no_face"),
        "appearing.mp4": (film(picture=_appearing), *both),
        "flashing.mp4": (film(picture=_flashing), *both),
        "silent.mp4": (lambda p, _: write(p, voice=sound() * 0, audio_codec="aac"), "silent", "ok"),
        "interlaced.mkv": (film(False, video_codec="mpeg2video", encoder={"flags": "+ildct+ilme", "top": "1"}), none, "ok"),
        "ten-bit.mkv": (film(False, video_codec="libx264", pixels="yuv420p10le"), none, "ok"),
        "ten-bit-hevc.mkv": (film(False, video_codec="libx265", pixels="yuv420p10le", encoder=X265), none, "ok"),
        "alpha.webm": (film(False, video_codec="libvpx-vp9", pixels="yuva420p", encoder={"cpu-used": "8"}), none, "ok"),
        "theatre.mov": (film(video_codec="prores", pixels="yuv422p10le"), *both),
        "layers.mkv": (streams("subtitle", "video", "audio", "subtitle"), *both),
    }  # fmt: skip
    for pixels in (
        "gray",
        "gray16le",
        "bgra",
        "yuv444p",
        "yuv410p",
        "yuv420p16le",
        "yuva444p10le",
        "rgb48le",
        "gbrp10le",
    ):
        table[f"pixels-{pixels}.mkv"] = (film(False, video_codec="ffv1", pixels=pixels, seconds=0.4), none, "ok")
    for name, codec, pixels in (
        ("old.mpg", "mpeg1video", "yuv420p"), ("windows.wmv", "wmv2", "yuv420p"), ("photos.avi", "mjpeg", "yuvj420p"),
        ("plain.avi", "rawvideo", "bgr24"), ("dots.gif", "gif", "rgb8"), ("handy.3gp", "h263", "yuv420p"),
        ("pro.mxf", "mpeg2video", "yuv420p"),
        ("any.nut", "huffyuv", "rgb24"),
    ):  # fmt: skip
        how: dict[str, object] = {"video_codec": codec, "pixels": pixels, "seconds": 1.0}
        if codec == "h263":
            how["picture"] = lambda i: np.ascontiguousarray(face(i)[48:192, 72:248])
        table[name] = (film(False, **how), none, "ok|no_face" if codec in ("h263", "gif") else "ok")
    fast = {"cover.mp4", "subtitles-only.mkv", "size-changes.ts", "pixel-1.mkv", "beyond-8k.mkv", "negative-start.mkv",
            "turned-45.mp4", "black.mp4"}  # fmt: skip
    return [Case("film", name, *entry, fast=name in fast) for name, entry in table.items()]
