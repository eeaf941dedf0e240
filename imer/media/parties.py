"""Who is heard in a part of a recording: everybody, or each party of a call on a channel of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Heard:
    """One utterance in a part: its id, its words, who speaks, and on which channel (from 1; None: in all)."""

    utterance_id: str
    words: str | None
    speaker: str
    channel: int | None = None


def heard_in(
    part: str, words: str | None, voice: str, channels: Sequence[str], *, is_cue: bool, is_mixed: bool = False
) -> list[Heard]:
    """Return who is heard in a part of a clip: one speaker in the whole sound, or each on a channel of their own.

    Where a recording has fewer channels (`is_mixed`), a cue still says who speaks, and is heard in all of them.
    """
    if is_mixed and is_cue:
        return [replace(one, channel=None) for one in heard_in(part, words, voice, channels, is_cue=True)]
    if not channels or is_mixed:
        return [Heard(part, words, voice)]
    if not is_cue:
        return [Heard(f"{part}_{name}", None, name, k) for k, name in enumerate(channels, start=1)]
    words = words or ""
    for k, name in enumerate(channels, start=1):
        if voice:
            rest = words if voice.casefold() == name.casefold() else None
        else:
            begin = _says(name).match(words)
            rest = words[begin.end() :] if begin and not _says_more(words[begin.end() :], channels) else None
        if rest is not None:
            return [Heard(part, rest, name, k)]
    return [Heard(part, words, voice)]


def _says(name: str) -> re.Pattern[str]:
    """Match a name before what is said, since SubRip has no other way to tell: "Agent: hello", "- [Agent] hello"."""
    name = re.escape(name)
    return re.compile(
        rf"\s*(?:[-–]\s*)?(?:\[{name}\]\s*+:?+|\({name}\)\s*+:?+|{name}\s*:)\s*+(?=.)", re.IGNORECASE | re.DOTALL
    )


def _says_more(words: str, channels: Sequence[str]) -> bool:
    """Say whether somebody else speaks later in the same cue, which is then nobody's."""
    return any(re.search(rf"(?<!\S){_says(name).pattern}", words, re.IGNORECASE | re.DOTALL) for name in channels)
