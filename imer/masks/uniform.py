"""Uniform numbers that depend on (seed, utterance id, call) alone: a mask stays the same when utterances are added."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_BYTES_PER_NUMBER = 8


class KeyedUniform:
    """Such a source of numbers, by blake2b in counter mode: 53 bits a number, equal on every machine."""

    def __init__(self, utterance_ids: Sequence[str], *key: object) -> None:
        self._ids = [name.encode() for name in utterance_ids]
        self._key = "\x1f".join(str(part) for part in key).encode()
        self._calls = 0

    def random(self, size: tuple[int, int]) -> NDArray[np.float64]:
        n, width = size
        if n > len(self._ids):  # the cpm rule pads short tables to 32 rows
            self._ids += [f"\x00padding {i}".encode() for i in range(len(self._ids), n)]
        blocks = range(-(-width * _BYTES_PER_NUMBER // 64))
        call = self._calls.to_bytes(4, "big")
        heads = [call + block.to_bytes(4, "big") + self._key + b"\x1f" for block in blocks]
        digests = [hashlib.blake2b(head + name).digest() for name in self._ids[:n] for head in heads]
        self._calls += 1
        bits = np.frombuffer(b"".join(digests), dtype=">u8").reshape(n, len(blocks) * 8)[:, :width]
        return (bits >> np.uint64(11)).astype(np.float64) / float(1 << 53)
