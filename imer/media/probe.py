"""Open a media file safely: local regular files only, known containers only, no protocol and no playlist followed."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import av
import av.container
from av.stream import Disposition

# Container formats that hold their own data. Playlists, concatenation scripts and devices are not among them, so no
# file can make the reader open another one.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mp3,mpeg,mpegts,mpegvideo,"
    "mxf,nut,ogg,rm,tta,voc,w64,wav,webm,wv"
)
MAX_FRAME_PIXELS = 50_000_000  # 8K is 33 million; a larger frame is taken for a trap
SLOWEST_FPS = 0.1  # slides are shown for ten seconds; a lower rate is none that a film has
BYTES_PER_SECOND_FLOOR = 500  # no real recording is smaller, so a size bounds a declared duration
SEAMLESS = frozenset({"aac", "flac", "mp3"})  # formats in which nothing is missing between packets unless it was lost
INEXACT_DURATION = frozenset({"mp3", "aac"})  # formats that often only guess their duration from the bit rate

_PAGE_HEAD = 27  # bytes of an Ogg page before its table of segments, whose length is the last of them
_LARGEST_PAGE = _PAGE_HEAD + 255 + 255 * 255


class MediaError(Exception):
    """A media file that cannot be used. `code` is one of the stable codes of errors.jsonl."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check_file(path: Path) -> int:
    """Return the size in bytes of a regular, readable file.

    Raises
    ------
    MediaError
        It is missing, is no regular file (a folder, pipe or device), is empty, or may not be read.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MediaError("E-NOFILE", f"{path} does not exist{_namesake(path)}.") from None
    except (OSError, ValueError) as error:
        raise MediaError("E-NOFILE", f"{path} cannot be reached ({error}).") from None
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("E-NOFILE", f"{path} is not a regular file.")
    if status.st_size == 0:
        raise MediaError("E-OPEN", f"{path} is empty (0 bytes).")
    return status.st_size


def _namesake(path: Path) -> str:
    """Return what may have been meant by a file that does not exist: other capitals, another suffix, another Unicode form."""
    if "\\" in path.name:
        return "; write its folders with / and not with \\"
    by_name, by_stem = _names_in(path.parent)
    same = by_name.get(_folded(path.name)) or by_stem.get(_folded(path.stem))
    return f"; did you mean {same!r}?" if same not in (None, path.name) else ""


@lru_cache(maxsize=8)
def _names_in(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the first name in a folder by its folded form, and by that of its stem: looked at once for all that is missing."""
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        names = []
    return {_folded(name): name for name in names}, {_folded(Path(name).stem): name for name in names}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def open_media(path: Path) -> av.container.InputContainer:
    """Open a local media file for reading; the caller closes it.

    Raises
    ------
    MediaError
        The file is missing, or is not a media file that can be read.
    """
    check_file(path)
    try:
        container = av.open(
            f"file:{path.absolute()}",
            container_options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS},
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError, MemoryError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError("E-OPEN", f"{path} is not a readable media file ({reason}).") from None
    if not container.streams:  # a header cut short, or one that only refers to other files
        container.close()
        raise MediaError("E-OPEN", f"{path} holds no stream of any kind.")
    return container


def audio_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """Return the first audio stream, or None."""
    return next(iter(container.streams.audio), None)


def video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the first video stream that is moving pictures (an album cover is none), or None."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def seeks_exactly(container: av.container.InputContainer) -> bool:
    """Say whether times after a seek are right: FFmpeg takes them from a rounded byte rate in WAV and W64, which only
    PCM has exactly (12 to 20 s an hour with ADPCM)."""
    stream = audio_stream(container)
    if container.format.name not in ("wav", "w64") or stream is None or not is_known(stream):
        return True
    return stream.codec_context.name.startswith("pcm_")


def is_known(stream: av.AudioStream | av.VideoStream) -> bool:
    """Say whether FFmpeg has a decoder for the stream; it has none for encrypted ones."""
    return stream.codec_context is not None


def declared_duration_s(container: av.container.InputContainer) -> float | None:
    """Return the longest duration that the container, or a stream's duration or number of frames declares, or None."""
    ends = [stream_duration_s(stream) for stream in container.streams]
    for s in container.streams.video:
        # An AVI that is cut short still says how many frames it had. Elsewhere an edit list may leave most of them out, unless
        # they would be shown more slowly than any film: then it is a broken index.
        if s.frames and s.average_rate and (container.format.name == "avi" or s.average_rate < SLOWEST_FPS):
            ends.append(float(s.frames / s.average_rate))
    if container.duration is not None and container.duration > 0:
        ends.append(container.duration / av.time_base)
    return max(ends, default=0.0) or None


def decoding_times(container: av.container.InputContainer) -> Iterator[tuple[int, float]]:
    """Yield the stream's index and the time of decoding of all packets, as far as the file can be taken apart."""
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        if packet.dts is not None and packet.time_base:
            yield packet.stream.index, float(packet.dts * packet.time_base)


def promises_content(stream: av.AudioStream | av.VideoStream) -> bool:
    """Say whether a stream cannot rightly be empty: it declares a duration, or nothing tells what its content is."""
    if stream_duration_s(stream) > 0 or not is_known(stream):
        return True
    return not (stream.codec_context.width if isinstance(stream, av.VideoStream) else stream.codec_context.sample_rate)


def stream_duration_s(stream: av.stream.Stream) -> float:
    """Return what a stream itself declares of its duration; 0.0 where it says nothing."""
    return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0


def promised_share(path: Path) -> float:
    """Return how many times its own size a RIFF/WAVE file says it is: 2.0 where half of it is missing, else 1.0.

    FFmpeg takes the duration of such a file from its size, so that one cut short looks whole.
    """
    with open(path, "rb") as file:
        head = file.read(8)
    promised = int.from_bytes(head[4:8], "little") + 8
    size = path.stat().st_size
    is_streamed = promised in (8, 0xFFFFFFFF + 8)  # the writer did not know the length
    return promised / size if head[:4] == b"RIFF" and not is_streamed and promised > size else 1.0


def counts_frames(path: Path) -> bool:
    """Say whether an MP3 file begins with a frame that says how many there are, so that its duration is no guess."""
    with open(path, "rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3":
            file.seek(sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)) + 10)
            tag = b""
        head = tag + file.read(200)
    return b"Xing" in head or b"Info" in head


def ends_within_page(path: Path) -> bool:
    """Say whether the last page of an Ogg file is longer than what is left of the file.

    FFmpeg takes the duration of such a file from the last page that is whole, so that one cut short looks whole.
    """
    with open(path, "rb") as file:
        file.seek(-min(path.stat().st_size, _LARGEST_PAGE), 2)
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""
    if len(page) < _PAGE_HEAD:
        return True
    n_segments = page[_PAGE_HEAD - 1]
    segment_sizes = page[_PAGE_HEAD : _PAGE_HEAD + n_segments]
    return len(page) < _PAGE_HEAD + n_segments + sum(segment_sizes)


def plausible_duration_s(path: Path, least_bytes_per_s: int = BYTES_PER_SECOND_FLOOR) -> float:
    """Return the duration that a file declares, bounded by what a file of its size can hold (headers lie).

    Raises
    ------
    MediaError
        The file is missing, or is not a media file that can be read.
    """
    bound_s = check_file(path) / least_bytes_per_s
    with open_media(path) as container:
        declared_s = declared_duration_s(container)
    return bound_s if declared_s is None else min(declared_s, bound_s)
