"""Who speaks in a transcript that has no mark for it: names before what is said, as meeting programs and typists write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

LEAST_NAMED = 4  # cues; fewer may begin with "Note:" by chance
_NAMED_SHARE = 0.8  # of the cues that are not somebody's already
_LEAST_CUES_A_NAME = 2.0  # on average: what is said once before a colon is hardly a name
_BEGIN = re.compile(
    r"(?:[-–]\s*)?[\[(]?(?P<name>[^\W\d_][^:：;,!?<>\[\]()]{0,38}[^\W_]|[^\W\d_])[\])]?\s*(?::\s+|：\s*)(?=\S)"
)
_MOST_WORDS = 4  # of a name


def named_speakers(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the speaker of each text and its words without the name; nobody, and all words, where a cue has no name or more.

    Unless nearly all texts begin with names, and with few different ones, there are none.

    >>> named_speakers(["Ann: hello", "Ben Lee: hello", "Ann: you first", "Ben Lee: note: I am late", "(laughter)"])
    [('Ann', 'hello'), ('Ben Lee', 'hello'), ('Ann', 'you first'), ('Ben Lee', 'note: I am late'), ('', '(laughter)')]
    >>> named_speakers(["Note: it rains", "it rains again"])
    [('', 'Note: it rains'), ('', 'it rains again')]
    """
    begins = [_begin(text) for text in texts]
    found = [begin["name"] for begin in begins if begin]
    names = set(found)
    nobody = [("", text) for text in texts]
    if len(found) < max(LEAST_NAMED, _NAMED_SHARE * len(texts), _LEAST_CUES_A_NAME * len(names)):
        return nobody
    later = re.compile(rf"(?<!\S)[\[(]?(?:{'|'.join(map(re.escape, sorted(names)))})[\])]?\s*(?::\s|：)")
    said = []
    for text, begin in zip(texts, begins, strict=True):
        words = text[begin.end() :] if begin else text
        said.append((begin["name"], words) if begin and not later.search(words) else ("", text))
    return said


def _begin(text: str) -> re.Match[str] | None:
    begin = _BEGIN.match(text)
    return begin if begin and len(begin["name"].split()) <= _MOST_WORDS else None
