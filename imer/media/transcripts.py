"""Transcripts beside clips: plain text, or SubRip (.srt) and WebVTT (.vtt), in which each cue says what is said when."""

from __future__ import annotations

import codecs
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput

SUFFIXES = (".srt", ".vtt")
MAX_BYTES = 16 << 20  # a day of speech has less than one


@dataclass(frozen=True)
class Cue:
    """What is said from `start_s` to `end_s` of a clip, and by whom, where that is known."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""


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


def read_cues(path: Path) -> list[Cue]:
    """Return the cues of a transcript in order of time; those without words or without duration are left out.

    Raises
    ------
    InvalidInput
        As `read_text`, or the file is no such transcript, or has no cue.
    """
    import webvtt

    try:
        read = webvtt.from_buffer(io.StringIO(read_text(path)), path.suffix.lower().removeprefix("."))
    except webvtt.errors.MalformedFileError as error:
        raise InvalidInput(f"the transcript {path} is not what its suffix says ({error})") from error
    cues = [
        Cue(_seconds(caption.start_time), _seconds(caption.end_time), " ".join(html.unescape(caption.text).split()),
            html.unescape(caption.voice or "").strip())
        for caption in read.captions
    ]  # fmt: skip
    cues = sorted((cue for cue in cues if cue.text and cue.end_s > cue.start_s), key=lambda cue: cue.start_s)
    if not cues:
        raise InvalidInput(f"the transcript {path} has no cue with words")
    return cues


def _seconds(stamp: Any) -> float:
    return stamp.hours * 3600 + stamp.minutes * 60 + stamp.seconds + stamp.milliseconds / 1000
