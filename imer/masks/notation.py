"""How masks are written on a command line: patterns such as `at`, rates such as 0.5 or audio=0.2,text=0.7."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from imer.core.errors import UsageError, listed


def all_patterns(n_modalities: int) -> list[tuple[int, ...]]:
    """Return the columns of every non-empty set of modalities, single ones first.

    >>> all_patterns(2)
    [(0,), (1,), (0, 1)]
    """
    columns = range(n_modalities)
    return [chosen for size in range(1, n_modalities + 1) for chosen in combinations(columns, size)]


def parse_pattern(text: str, modalities: Sequence[str]) -> tuple[int, ...]:
    """Return the columns that a pattern names: initials (`at`), or full names joined by `+` (`audio+text`).

    Raises
    ------
    UsageError
        A letter or name belongs to no modality, or an initial is shared by two.
    """
    names = list(modalities)
    tokens = [part.strip() for part in text.split("+")] if "+" in text or text in names else list(text.strip())
    columns = []
    for token in tokens:
        matches = [i for i, name in enumerate(names) if name == token]  # a whole name wins over another's initial
        matches = matches or [i for i, name in enumerate(names) if len(token) == 1 and name.startswith(token)]
        if len(matches) != 1:
            what = "more than one modality" if matches else "no modality"
            raise UsageError(f"{token!r} in the pattern {text!r} names {what}; there are {listed(names)}.")
        columns.append(matches[0])
    if not columns:
        raise UsageError(f"An empty pattern hides everything; name at least one of {listed(names)}.")
    return tuple(sorted(set(columns)))


def parse_rates(text: str | None) -> tuple[float | None, dict[str, float] | None]:
    """Read `--missing-rate`: one number → (rate, None); `audio=0.2,text=0.7` → (None, rate per modality).

    >>> parse_rates("audio=0.2,text=0.7")
    (None, {'audio': 0.2, 'text': 0.7})

    Raises
    ------
    UsageError
        It is neither a number nor names with numbers, or names a modality twice.
    """
    if text is None:
        return None, None
    try:
        if "=" not in text:
            return float(text), None
        pairs = [part.split("=", 1) for part in text.split(",") if part.strip()]
        rates = {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise UsageError(f"--missing-rate {text!r} is neither a number such as 0.5 nor audio=0.2,text=0.7.") from None
    if len(rates) < len(pairs):
        raise UsageError(f"--missing-rate {text!r} names a modality twice.")
    return None, rates
