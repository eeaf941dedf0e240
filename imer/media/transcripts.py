"""Transcripts beside clips: plain text, or SubRip (.srt) and WebVTT (.vtt), in which each cue says what is said when."""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput
from imer.media.encoding import decoded
from imer.media.speakers import named_speakers

SUFFIXES = (".srt", ".vtt")
MAX_BYTES = 16 << 20  # a day of speech needs less than 1 MiB
_ARROW = "-->"
_STAMP = r"((?:\d+:)?\d+:\d\d?)(?:[.,](\d{1,3})\d*)?"
_TIMES = re.compile(rf"\s*{_STAMP}\s*-{{1,2}}>\s*{_STAMP}(.*)")  # the line of a cue that says when
_MEANS_TIMES = re.compile(r".*\d:\d.*->.*\d:\d")  # the same, well written or not
_LINE_END = re.compile(r"\r\n?|\n")
_PLACE = re.compile(r"\{\\[^}]*\}")  # where a player is to show a cue of SubRip
_NO_TAG = re.compile(r"<(?!/?(?:b|i|u|c|v|s|font|lang|ruby|rt)\b|\d+:\d)", re.IGNORECASE)  # a plain "less than"
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-f]+|[a-z]+\d*);", re.IGNORECASE)
_VOICE = re.compile(r"<v[.\w]*\s+([^>]+)>", re.IGNORECASE)
_TOUCHING_S = 0.5  # captions that roll up follow each other at once


@dataclass(frozen=True)
class Cue:
    """What is said from `start_s` to `end_s` of a clip, and by whom, where that is known."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""


@dataclass(frozen=True)
class Transcript:
    """The cues of a file in order of time, how many it has that cannot be read, and the names that cues began with."""

    cues: tuple[Cue, ...]
    unread: int = 0
    names: tuple[str, ...] = ()


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
        return decoded(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"the transcript {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the transcript {path} is not UTF-8 text ({error}); save it as UTF-8") from error


def read_cues(path: Path) -> Transcript:
    """Return the cues of a timed transcript; those without words or without duration are left out.

    SubRip is turned into WebVTT, whose times have a point and whose cues need no number: there, a cue goes to the next line
    of times, whatever blank lines it has. Of captions that roll up, as they are made for live pictures, each line counts
    once. A cue in which several people speak is nobody's. Where no cue is marked as somebody's, names that nearly all of them
    begin with say who speaks (see `named_speakers`), and are no words.

    Raises
    ------
    InvalidInput
        As `read_text`, or the file is no such transcript, or has no cue.
    """
    import webvtt

    text = read_text(path)
    is_named = text.lstrip().startswith("WEBVTT")
    lines = _LINE_END.split(text)
    if (path.suffix.lower() == ".vtt" and not is_named) or not any(map(_TIMES.match, lines)):
        raise InvalidInput(f"the transcript {path} is not what its suffix says, or has no cue")
    body = "\n".join(map(_as_written, lines)) if is_named else _as_webvtt(lines)
    try:
        captions = webvtt.from_buffer(io.StringIO(body), "vtt").captions
    except webvtt.errors.MalformedFileError as error:
        raise InvalidInput(f"the transcript {path} cannot be read as its suffix says ({error})") from error
    cues = sorted(_cues(captions), key=lambda cue: cue.start_s)
    if not cues:
        raise InvalidInput(f"the transcript {path} has no cue with words")
    unread = max(sum(map(bool, map(_MEANS_TIMES.match, lines))) - len(captions), 0)
    if any(cue.speaker for cue in cues):
        return Transcript(tuple(cues), unread)
    said = named_speakers([cue.text for cue in cues])
    named = (replace(cue, speaker=name, text=words) for cue, (name, words) in zip(cues, said, strict=True))
    return Transcript(tuple(named), unread, tuple(dict.fromkeys(name for name, _ in said if name)))


def _as_webvtt(lines: Sequence[str]) -> str:
    """Return SubRip as WebVTT."""
    at = [i for i, line in enumerate(lines) if _MEANS_TIMES.match(line)]
    is_numbered = any(line.strip().isdecimal() for line in lines[: at[0]])
    blocks = ["WEBVTT"]
    for i, stop in itertools.pairwise([*at, len(lines)]):
        if not _TIMES.match(lines[i]):
            continue
        said = [line for line in lines[i + 1 : stop] if line.strip()]
        if is_numbered and stop < len(lines) and said and said[-1].strip().isdecimal():
            said.pop()  # the number of the next cue
        blocks.append("\n".join(map(_as_written, [lines[i], *said])))
    return "\n\n".join(blocks)


def _as_written(line: str) -> str:
    """Return a line as WebVTT has it: times with a point and milliseconds; a `<` that is no tag, an arrow in words as such."""
    if times := _TIMES.match(line):
        start, start_ms, end, end_ms, rest = times.groups()
        return f"{_stamp(start, start_ms)} {_ARROW} {_stamp(end, end_ms)}{rest}"
    return _NO_TAG.sub("&lt;", line).replace(_ARROW, "--&gt;")


def _stamp(clock: str, milliseconds: str | None) -> str:
    parts = ":".join(part.zfill(2) for part in clock.split(":"))
    return f"{parts}.{(milliseconds or '').ljust(3, '0')}"


def _cues(captions: Sequence[Any]) -> Iterator[Cue]:
    times = [(_seconds(caption.start_time), _seconds(caption.end_time)) for caption in captions]
    lines = [[plain for line in caption.text.splitlines() if (plain := _plain(line))] for caption in captions]
    again = [False] + [
        bool(before and now) and now[0] == before[-1] and abs(start_s - before_end_s) < _TOUCHING_S
        for (before, now), ((_, before_end_s), (start_s, _)) in zip(
            itertools.pairwise(lines), itertools.pairwise(times), strict=True
        )
    ]
    longer = [repeats for said, repeats in zip(lines[1:], again[1:], strict=True) if len(said) > 1]
    rolls = 2 * sum(longer) > len(longer)
    for caption, (start_s, end_s), said, repeats in zip(captions, times, lines, again, strict=True):
        fresh = said[1:] if rolls and repeats else said
        if fresh and end_s > start_s:
            yield Cue(start_s, end_s, " ".join(fresh), _speaker(caption))


def _speaker(caption: Any) -> str:
    named = {_unescaped(name).strip() for name in _VOICE.findall(caption.raw_text)}
    return named.pop() if len(named) == 1 else ""


def _plain(line: str) -> str:
    return " ".join(_unescaped(_PLACE.sub("", line)).split())


def _unescaped(text: str) -> str:
    """Return text with its entities as characters; an ampersand of its own stays one."""
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)


def _seconds(stamp: Any) -> float:
    return stamp.hours * 3600 + stamp.minutes * 60 + stamp.seconds + stamp.milliseconds / 1000
