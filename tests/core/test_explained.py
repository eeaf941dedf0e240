"""Docstrings of settings are read as they are written."""

from __future__ import annotations

from dataclasses import dataclass

from imer.core.explained import explained


@dataclass(frozen=True)
class Walk:
    """Of a walk. There may be  two spaces in a sentence, and a word  that is no field.

    speed, pace   how fast,
                  and in which steps
    Section
        stops     where to rest  (never at night)

    silent: is not explained
    """

    speed: float = 1.0
    pace: int = 2
    stops: tuple[str, ...] = ()
    silent: bool = False


@dataclass(frozen=True)
class Hike(Walk):
    """Of a longer one.

    boots   which
    pace    slower
    """

    boots: str = ""


def test_fields_are_explained_by_their_lines() -> None:
    assert explained(Walk) == {
        "speed": "how fast, and in which steps",
        "pace": "how fast, and in which steps",
        "stops": "where to rest  (never at night)",
    }


def test_a_class_inherits_and_overrides() -> None:
    assert explained(Hike) == {**explained(Walk), "pace": "slower", "boots": "which"}
