"""Who is heard in a part of a recording: everybody, or each party of a call on a channel of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """One utterance in a part: its id, its words, who speaks, and on which channel (from 1; None: in all)."""

    utterance_id: str
    words: str | None
    speaker: str
    channel: int | None = None


def heard_in(part: str, words: str | None, voice: str, channels: Sequence[str], *, is_cue: bool) -> list[Heard]:
    """Return who is heard in a part of a clip: one speaker in the whole sound, or each on a channel of their own."""
    if not channels:
        return [Heard(part, words, voice)]
    if not is_cue:
        return [Heard(f"{part}_{name}", None, name, k) for k, name in enumerate(channels, start=1)]
    if voice:
        found = [
            (k, name, words or "") for k, name in enumerate(channels, start=1) if voice.casefold() == name.casefold()
        ]
    else:
        found = [(k, name, said) for k, name in enumerate(channels, start=1) if (said := _said_by(name, words or ""))]
        if found and any(_said_by(name, line) for name in channels for line in _later(found[0][2])):
            found = []  # several speak in it: it is nobody's
    return [Heard(part, said, name, k) for k, name, said in found[:1]] or [Heard(part, words, voice)]


def _said_by(name: str, words: str) -> str:
    """Return what follows a name at the beginning, since SubRip has no other way to say who speaks: "Agent: hello"."""
    name = re.escape(name)
    begin = re.match(rf"\s*(?:[-–]\s*)?(?:\[{name}\]\s*:?|\({name}\)\s*:?|{name}\s*:)\s*", words, re.IGNORECASE)
    return words[begin.end() :] if begin else ""


def _later(words: str) -> list[str]:
    """Return every ending of the words that begins with one of them."""
    return [words[found.start() :] for found in re.finditer(r"(?<!\S)\S", words)]
