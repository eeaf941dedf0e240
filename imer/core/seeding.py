"""Seeds by name: every random choice has its own generator, so that adding one never moves another."""

from __future__ import annotations

import hashlib

import numpy as np


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on all the parts and on nothing else, on any machine.

    >>> derived_seed(0, "mask", "test") == derived_seed(0, "mask", "test")
    True
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def member_part(member: int) -> tuple[str, ...]:
    """Return what the seeds of an ensemble's member name besides; those of the first are those of a model alone.

    >>> member_part(0), member_part(2)
    ((), ('member 2',))
    """
    return (f"member {member}",) if member else ()


def generator(*parts: object) -> np.random.Generator:
    """Return a NumPy generator (PCG64) seeded by the parts."""
    return np.random.Generator(np.random.PCG64(derived_seed(*parts)))
