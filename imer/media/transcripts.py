"""Transcripts beside clips: plain text, or SubRip (.srt) and WebVTT (.vtt), in which each cue says what is said when."""

from __future__ import annotations

import codecs
import html
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput

SUFFIXES = (".srt", ".vtt")
MAX_BYTES = 16 << 20  # a day of speech needs less than 1 MiB
_ARROW = "-->"
_TIME = re.compile(r"\b(\d+:\d\d(?::\d\d)?)(?:[.,](\d{1,3}))?")
_PLACE = re.compile(r"\{\\[^}]*\}")  # where a player is to show a cue of SubRip


@dataclass(frozen=True)
class Cue:
    """What is said from `start_s` to `end_s` of a clip, and by whom, where that is known."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""


@dataclass(frozen=True)
class Transcript:
    """The cues of a file in order of time, and how many it has that cannot be read."""

    cues: tuple[Cue, ...]
    unread: int = 0


def read_text(path: Path) -> str:
    """Return what a transcript says, as UTF-8 or as UTF-16 with its mark.

    Raises
    ------
    InvalidInput
        The file cannot be read, is too large, or is neither.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"the transcript {path} has more than {MAX_BYTES >> 20} MiB")
        content = path.read_bytes()
        is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"the transcript {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the transcript {path} is not UTF-8 text ({error}); save it as UTF-8") from error


def read_cues(path: Path) -> Transcript:
    """Return the cues of a timed transcript; those without words or without duration are left out.

    SubRip is read as WebVTT, whose times have a point and whose cues need no number. Of captions that roll up, as they
    are made for live pictures, each line counts once.

    Raises
    ------
    InvalidInput
        As `read_text`, or the file is no such transcript, or has no cue.
    """
    import webvtt

    text = read_text(path)
    is_named = text.lstrip().startswith("WEBVTT")
    if (path.suffix.lower() == ".vtt" and not is_named) or _ARROW not in text:
        raise InvalidInput(f"the transcript {path} is not what its suffix says, or has no cue")
    body = "\n".join(_with_points(line) for line in text.splitlines())
    try:
        captions = webvtt.from_buffer(io.StringIO(body if is_named else f"WEBVTT\n\n{body}"), "vtt").captions
    except webvtt.errors.MalformedFileError as error:
        raise InvalidInput(f"the transcript {path} cannot be read as its suffix says ({error})") from error
    cues = tuple(sorted(_cues(captions), key=lambda cue: cue.start_s))
    if not cues:
        raise InvalidInput(f"the transcript {path} has no cue with words")
    return Transcript(cues, max(sum(_ARROW in line for line in text.splitlines()) - len(captions), 0))


def _with_points(line: str) -> str:
    """Write the times of a cue as WebVTT has them, with a point and milliseconds."""
    if _ARROW not in line:
        return line
    return _TIME.sub(lambda match: f"{match[1]}.{(match[2] or '').ljust(3, '0')}", line.strip())


def _cues(captions: Sequence[Any]) -> Iterator[Cue]:
    lines = [[plain for line in caption.text.splitlines() if (plain := _plain(line))] for caption in captions]
    rolls = any(len(now) > 1 and before and now[0] == before[-1] for before, now in itertools.pairwise(lines))
    last = ""
    for caption, said in zip(captions, lines, strict=True):
        fresh = said[1:] if rolls and said and said[0] == last else said
        last = said[-1] if said else last
        start_s, end_s = _seconds(caption.start_time), _seconds(caption.end_time)
        if fresh and end_s > start_s:
            yield Cue(start_s, end_s, " ".join(fresh), html.unescape(caption.voice or "").strip())


def _plain(line: str) -> str:
    return " ".join(html.unescape(_PLACE.sub("", line)).split())


def _seconds(stamp: Any) -> float:
    return stamp.hours * 3600 + stamp.minutes * 60 + stamp.seconds + stamp.milliseconds / 1000
