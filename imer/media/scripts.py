"""In which script texts are written: a model of English makes little of those that are in another."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_TELLING_SHARE = 0.1  # of the texts: fewer may be names and quotations


def in_other_scripts(texts: Iterable[str | None]) -> int:
    """Return how many texts are mostly in other letters than Latin ones; 0 where they are fewer than a tenth.

    >>> in_other_scripts(["Я так рада!", "我很高兴", "So glad!", None])
    2
    """
    written = [text for text in texts if text]
    n = sum(not text.isascii() and _is_in_another_script(text) for text in written)
    return n if n > _TELLING_SHARE * len(written) else 0


def _is_in_another_script(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    return 2 * sum("LATIN" in unicodedata.name(letter, "") for letter in letters) < len(letters)
