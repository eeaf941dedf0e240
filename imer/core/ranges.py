"""What values a setting may have, declared beside its type and checked when its settings are made.

@dataclass(frozen=True)
class Example:
    hidden: Count = 96
    dropout: Share = 0.5
    optimiser: Annotated[str, OneOf("adamw", "adam")] = "adamw"

    def __post_init__(self) -> None:
        check_ranges(self, "train")
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, get_type_hints

from imer.core.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Range:
    """Numbers from low to high; an open end is excluded. `words` finish the sentence "model.hidden …"."""

    words: str
    low: float
    high: float = float("inf")
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.open_low else number >= self.low
        return above and (number < self.high if self.open_high else number <= self.high)


class OneOf(tuple[str, ...]):
    """The words that a setting may be."""

    def __new__(cls, *words: str) -> OneOf:
        return super().__new__(cls, words)


Count = Annotated[int, Range("is at least 1", 1)]
CountOrZero = Annotated[int, Range("is not below 0", 0)]
Amount = Annotated[float, Range("is not below 0", 0)]
Positive = Annotated[float, Range("is above 0", 0, open_low=True)]
Share = Annotated[float, Range("lies in 0 … 1 (1 excluded)", 0, 1, open_high=True)]


def check_ranges(settings: object, section: str) -> None:
    """Compare every value of these settings with what its field declares.

    Raises
    ------
    UsageError
        A value that the declaration does not allow; the sentence names section and key.
    """
    kind: type = type(settings)
    for name, allowed in declared(kind).items():
        value = getattr(settings, name)
        if value in allowed:
            continue
        if isinstance(allowed, OneOf):
            raise UsageError(f"{section}.{name} cannot be {value!r}; {did_you_mean(str(value), allowed)}")
        raise UsageError(f"{section}.{name} {allowed.words}, but {value} was given.")


@cache
def declared(kind: type) -> dict[str, Range | OneOf]:
    """Return what the fields of this dataclass declare, by name."""
    hints = get_type_hints(kind, include_extras=True)
    by_name = {}
    for field in fields(kind):
        for extra in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(extra, Range | OneOf):
                by_name[field.name] = extra
    return by_name
