"""Ranges of settings: what is declared beside a type is what the settings allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.core.errors import UsageError
from imer.core.ranges import Amount, Count, CountOrZero, OneOf, Positive, Range, Share, check_ranges


@dataclass(frozen=True)
class Knobs:
    count: Count = 1
    index: CountOrZero = 0
    amount: Amount = 0.0
    positive: Positive = 1.0
    share: Share = 0.0
    inner: Annotated[float, Range("lies between 0 and 1", 0, 1, open_low=True, open_high=True)] = 0.5
    word: Annotated[str, OneOf("huber", "mse")] = "mse"
    free: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "knobs")


@dataclass(frozen=True)
class MoreKnobs(Knobs):
    more: Count = 1


ALLOWED = {
    "count": lambda x: x >= 1,
    "index": lambda x: x >= 0,
    "amount": lambda x: x >= 0,
    "positive": lambda x: x > 0,
    "share": lambda x: 0 <= x < 1,
    "inner": lambda x: 0 < x < 1,
    "free": lambda x: True,
}


@given(name=st.sampled_from(sorted(ALLOWED)), value=st.sampled_from([-1, 0, 1, 2]) | st.floats(-2, 2))
def test_a_number_is_allowed_where_its_declaration_says_so(name: str, value: float) -> None:
    if ALLOWED[name](value):
        assert getattr(Knobs(**{name: value}), name) == value
    else:
        with pytest.raises(UsageError, match=rf"^knobs\.{name} (is|lies) .*, but {value} was given\.$"):
            Knobs(**{name: value})


def test_nan_is_in_no_range() -> None:
    for name in ALLOWED.keys() - {"free"}:
        with pytest.raises(UsageError, match=name):
            Knobs(**{name: float("nan")})


def test_a_word_is_one_of_those_declared_and_the_nearest_is_named() -> None:
    with pytest.raises(UsageError, match=r"knobs\.word cannot be 'hubert'; did you mean 'huber'\?"):
        Knobs(word="hubert")


def test_settings_that_extend_others_keep_their_ranges() -> None:
    for name in ("more", "count"):
        with pytest.raises(UsageError, match=rf"knobs\.{name} is at least 1"):
            MoreKnobs(**{name: 0})
