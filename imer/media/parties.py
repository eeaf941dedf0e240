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
    for k, name in enumerate(channels, start=1):
        if voice.casefold() == name.casefold():
            return [Heard(part, words, name, k)]
        if is_cue and not voice and (said := re.match(rf"\s*{re.escape(name)}\s*:\s*", words or "", re.IGNORECASE)):
            return [Heard(part, (words or "")[said.end() :], name, k)]  # "Agent: hello", as SubRip has no other way
    if is_cue or not channels:
        return [Heard(part, words, voice)]
    return [Heard(f"{part}_{name}", None, name, k) for k, name in enumerate(channels, start=1)]
