"""Texts of equally many tokens go through a model together, where that gives the very bits that each gives alone.

Alone, a text of a dozen tokens is waited for while all weights come from memory. Together the values could differ in their
last bit: padding changes them, and for some shapes the library multiplies in another way, on Intel's processors for fewer than
sixteen tokens. Which way it takes depends on the shape alone, so a short text that is alone goes with copies of itself, every
batch has the same number of texts, and a length is tried before it is trusted: the first and the last text of its first
batch are encoded alone, too. So no value depends on what shares its batch, on any processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

TEXTS_PER_BATCH = 16  # 3.5 ms a text, against 12 alone; 32 would take 2.7, but most lengths do not fill them
LEAST_TEXTS = 5  # which cost as much one by one as a whole batch does
LEAST_TOKENS = 32  # in all, of what is encoded at once; half as many were too few (see above)
_ALONE = 0  # the length of a text that must not be batched


class TextBatches:
    """Encodes texts in batches of one length; `encode` takes texts and returns an array for each, whatever its shape."""

    def __init__(self, encode: Callable[[list[str]], Sequence[np.ndarray]]) -> None:
        self._encode = encode
        self.exact: dict[int, bool] = {}  # number of tokens → whether a batch gives what its texts give alone

    def encoded(self, texts: Sequence[str], lengths: Sequence[int]) -> list[np.ndarray]:
        """Return the array of every text; `lengths` are their numbers of tokens, 0 for one that must stay alone."""
        found: dict[str, np.ndarray] = {}
        by_length: dict[int, list[str]] = {}
        for text, length in dict(zip(texts, lengths, strict=True)).items():
            by_length.setdefault(length, []).append(text)
        for length, alike in by_length.items():
            for start in range(0, len(alike), TEXTS_PER_BATCH):
                part = alike[start : start + TEXTS_PER_BATCH]
                found.update(zip(part, self._together(part, length), strict=True))
        return [found[text] for text in texts]

    def _together(self, texts: list[str], length: int) -> list[np.ndarray]:
        if length == _ALONE or len(texts) < LEAST_TEXTS or not self.exact.get(length, True):
            return [self._alone(text, length) for text in texts]
        filled = texts + texts[-1:] * (TEXTS_PER_BATCH - len(texts))
        together = list(self._encode(filled))
        if length not in self.exact:
            self.exact[length] = all(
                np.array_equal(together[place], self._alone(filled[place], length)) for place in (0, -1)
            )
            if not self.exact[length]:
                return [self._alone(text, length) for text in texts]
        return together[: len(texts)]

    def _alone(self, text: str, length: int) -> np.ndarray:
        copies = 1 if length == _ALONE else -(-LEAST_TOKENS // length)
        return next(iter(self._encode([text] * copies)))
