"""The conditions under which a model is evaluated: missing rates, fixed patterns of modalities, or a mask file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imer.core.errors import UsageError, listed
from imer.masks.make import RATE_PROTOCOLS
from imer.masks.notation import all_patterns, parse_pattern, parse_rates
from imer.masks.sampling import Mask, is_reachable, reachable_rate
from imer.masks.table import MaskTable

MAX_RATES = 1001  # a step far too small is a slip, not a wish


@dataclass(frozen=True)
class Condition:
    """One way of hiding modalities from a model.

    protocol   a mask protocol; `pattern` for a fixed set of modalities
    rate       the nominal missing rate, None where the protocol has no single one
    rates      modality → rate, for the protocol `imbalanced`
    pattern    the modalities left, as short as can be said without doubt (`at`, or `audio+gaze`)
    table      the mask itself, when it comes from a file
    """

    protocol: str
    rate: float | None = None
    rates: tuple[tuple[str, float], ...] = ()
    pattern: str | None = None
    table: MaskTable | None = None

    @property
    def detail(self) -> str:
        """What protocol, rate and pattern leave open: the rates by modality, or which mask it is that a file holds."""
        if self.table is not None:
            return f"{self.table.detail} mask {self.table.fingerprint}".strip()
        return ",".join(f"{m}={r:g}" for m, r in self.rates)

    @property
    def name(self) -> str:
        """A short name for tables and messages."""
        if self.pattern is not None:
            return f"pattern {self.pattern}"
        if self.table is not None:
            return f"mask file ({self.protocol})"
        if self.rate is not None:
            return f"{self.protocol} {self.rate:g}"
        return f"{self.protocol} {self.detail}"


def parse_rate_grid(text: str) -> list[float]:
    """Read missing rates: one number, a comma list, or start:stop:step with the stop included.

    Raises
    ------
    UsageError
        The text is none of these, or a rate lies outside 0 … 1.

    >>> parse_rate_grid("0:0.7:0.1")
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    """
    wrong = UsageError(
        f"--missing-rate {text!r} is none of: a rate such as 0.5, a list such as 0,0.3,0.5, a grid start:stop:step such "
        "as 0:0.7:0.1."
    )
    try:
        if ":" in text:
            start, stop, step = (float(part) for part in text.split(":"))
            if not all(map(math.isfinite, (start, stop, step))) or step <= 0 or stop < start:
                raise wrong
            n_steps = int((stop - start) / step + 1e-9)
            if n_steps >= MAX_RATES:
                raise UsageError(
                    f"--missing-rate {text!r} asks for more than {MAX_RATES - 1} rates; use a larger step."
                )
            rates = [round(start + i * step, 10) for i in range(n_steps + 1)]
        else:
            rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise wrong from None
    for rate in rates:
        if not 0.0 <= rate <= 1.0:
            raise UsageError(f"A missing rate lies between 0 and 1, but {rate:g} was given.")
    return sorted(set(rates))


def as_far_as_reachable(
    conditions: Sequence[Condition], present_NM: Mask, missing_rate: str | None
) -> tuple[list[Condition], list[str]]:
    """Leave out what cannot be reached of a grid start:stop:step, of which nobody names each rate; and say so.

    Rates that are named one by one are kept, to be refused where they are drawn.
    """
    rates = parse_rate_grid(missing_rate) if missing_rate is not None and ":" in missing_rate else []
    beyond = [rate for rate in rates if not is_reachable(present_NM, rate)]
    kept = [one for one in conditions if one.table is not None or one.rate not in beyond]
    if not beyond or not kept:
        return list(conditions), []
    names = listed([f"{rate:g}" for rate in beyond], 8)
    return kept, [
        f"the missing rates {names} of {missing_rate} cannot be reached where every utterance keeps one of its "
        f"{present_NM.shape[1]} modalities (the highest is {reachable_rate(present_NM):.4f}): they are left out."
    ]


def pattern_name(columns: Sequence[int], modalities: Sequence[str]) -> str:
    """Name a set of modalities by their initials in modality order, or in full where initials are ambiguous.

    >>> pattern_name([0, 2], ["audio", "text", "visual"])
    'av'
    >>> pattern_name([0, 1], ["text", "touch"])
    'text+touch'
    """
    initials = [name[0] for name in modalities]
    chosen = sorted(set(columns))
    short = "".join(initials[c] for c in chosen)
    if len(set(initials)) == len(initials) and short not in modalities:
        return short
    return "+".join(modalities[c] for c in chosen)


def parse_patterns(text: str, modalities: Sequence[str]) -> list[str]:
    """Read `--pattern`: `all`, or patterns separated by commas (`a,at,audio+visual`); return their canonical names.

    Raises
    ------
    UsageError
        A letter or name belongs to no modality, or to more than one.
    """
    if text.strip() == "all" and "all" not in modalities:
        return [pattern_name(columns, modalities) for columns in all_patterns(len(modalities))]
    tokens = [token.strip() for token in text.split(",")]
    if not all(tokens):
        raise UsageError(f"--pattern {text!r} has an empty entry; name modalities of {listed(modalities)}, or `all`.")
    names = [pattern_name(parse_pattern(token, modalities), modalities) for token in tokens]
    return list(dict.fromkeys(names))


def make_conditions(
    modalities: Sequence[str],
    *,
    missing_rate: str | None = None,
    pattern: str | None = None,
    table: MaskTable | None = None,
    protocol: str | None = None,
) -> list[Condition]:
    """Return the conditions that the options ask for; complete data (rate 0) when they ask for nothing.

    `protocol` says how a rate becomes a mask; None: nested.

    Raises
    ------
    UsageError
        An option cannot be read, names what is not there, or has no use: a protocol without a rate to draw masks from.
    """
    if protocol is not None and protocol not in RATE_PROTOCOLS:
        raise UsageError(f"--protocol {protocol!r} draws no mask from a missing rate; choose {listed(RATE_PROTOCOLS)}.")
    if missing_rate is None and pattern is None and table is None:
        missing_rate = "0"
    if protocol is not None and (missing_rate is None or "=" in missing_rate):
        raise UsageError(
            f"--protocol {protocol} says how one rate becomes a mask; give it with --missing-rate 0.5 or the like, and not "
            "with a rate per modality, a pattern or a mask alone."
        )
    protocol = protocol or "nested"
    conditions: list[Condition] = []
    if missing_rate is not None and "=" in missing_rate:
        _, rates = parse_rates(missing_rate)
        conditions.append(Condition("imbalanced", rates=tuple(sorted((rates or {}).items()))))
    elif missing_rate is not None:
        conditions += [Condition(protocol, rate=rate) for rate in parse_rate_grid(missing_rate)]
    if pattern is not None:
        conditions += [Condition("pattern", pattern=name) for name in parse_patterns(pattern, modalities)]
    if table is not None:
        conditions.append(Condition(table.protocol, rate=table.nominal_rate, table=table))
    return conditions
