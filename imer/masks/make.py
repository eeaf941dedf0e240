"""Make a mask table from a feature store: the same ids, protocol, rate and seed give the same table on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imer.core.errors import UsageError, did_you_mean, listed
from imer.masks import sampling
from imer.masks.sampling import Mask
from imer.masks.table import MaskTable

if TYPE_CHECKING:
    from imer.store.reader import FeatureStore

# protocol → one sentence, for `imer ls protocols` and messages
PROTOCOLS = {
    "exact": "exactly the missing rate: one modality kept per utterance, the other cells without replacement",
    "nested": "as exact, with the masks of higher rates contained in those of lower ones: smooth, paired curves",
    "bernoulli": "one modality kept per utterance, every other cell by an independent coin: the rate on average",
    "pattern": "the same modalities of every utterance, such as `at` for audio and text",
    "instance": "with the given probability an utterance is incomplete, its pattern uniform",
    "imbalanced": "a rate of its own for every modality",
    "mixed": "a random non-empty subset of the modalities for every utterance",
    "cpm": "the rule of the public ComP code, to compare with published numbers",
}
_RATE_PROTOCOLS = {
    "exact": sampling.exact,
    "nested": sampling.nested,
    "bernoulli": sampling.bernoulli,
    "cpm": sampling.cpm,
    "instance": sampling.instance,  # its rate is the probability of an incomplete utterance
}
_BYTES_PER_NUMBER = 8


class KeyedUniform:
    """Uniform numbers that depend on (seed, utterance id, call) alone, so that an utterance's numbers stay the same
    when others are added. blake2b in counter mode: 53 bits a number, equal on every machine."""

    def __init__(self, utterance_ids: Sequence[str], *key: object) -> None:
        self._ids = [name.encode() for name in utterance_ids]
        self._key = "\x1f".join(str(part) for part in key).encode()
        self._calls = 0

    def random(self, size: tuple[int, int]) -> NDArray[np.float64]:
        n, width = size
        if n > len(self._ids):  # the cpm rule pads short tables to 32 rows
            self._ids += [f"\x00padding {i}".encode() for i in range(len(self._ids), n)]
        blocks = -(-width * _BYTES_PER_NUMBER // 64)
        rows = []
        for name in self._ids[:n]:
            counter = (self._calls.to_bytes(4, "big") + block.to_bytes(4, "big") for block in range(blocks))
            rows.append(b"".join(hashlib.blake2b(c + self._key + b"\x1f" + name).digest() for c in counter))
        self._calls += 1
        bits = np.frombuffer(b"".join(rows), dtype=">u8").reshape(n, blocks * 8)[:, :width]
        return (bits >> np.uint64(11)).astype(np.float64) / float(1 << 53)


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


def draw_mask(
    present_NM: Mask,
    utterance_ids: Sequence[str],
    modalities: Sequence[str],
    *,
    protocol: str | None = None,
    rate: float | None = None,
    rates: dict[str, float] | None = None,
    pattern: str | None = None,
    seed: int = 0,
    split: str = "",
) -> MaskTable:
    """Draw a mask over the utterances, in the sorted order of their ids.

    Without a protocol it is the one that the other arguments speak of: pattern, imbalanced (`rates`) or exact.

    Raises
    ------
    UsageError
        The protocol is unknown, an argument of its own is missing or one of another's is given, or the rate cannot be
        reached.
    """
    protocol = protocol or ("pattern" if pattern else "imbalanced" if rates else "exact")
    _check_wishes(protocol, rate, rates, pattern, seed)
    order = np.argsort(np.asarray(utterance_ids, dtype=object), kind="stable")
    sorted_ids = [utterance_ids[i] for i in order]
    present = present_NM[order]
    detail = ""
    # A mask of one protocol is nested over rates only if the rate is not part of the key.
    key: list[object] = ["imer-mask", protocol, split, seed]
    if protocol in _RATE_PROTOCOLS:
        if rate is None and protocol == "instance":
            raise UsageError("The protocol instance needs --missing-rate: the probability of an incomplete utterance.")
        if rate is None:
            raise UsageError(f"The protocol {protocol} needs one --missing-rate, such as 0.5.")
        key += [] if protocol == "nested" else [f"{rate:.6f}"]
        observed = _RATE_PROTOCOLS[protocol](present, rate, KeyedUniform(sorted_ids, *key))
    elif protocol == "pattern":
        if not pattern:
            raise UsageError("The protocol pattern needs --pattern, such as `at` for audio and text.")
        columns = parse_pattern(pattern, modalities)
        detail = "+".join(modalities[c] for c in columns)
        observed = sampling.pattern(present, columns)
    elif protocol == "imbalanced":
        rates_M = _rates_per_modality(rates, modalities)
        detail = ",".join(f"{m}={r:g}" for m, r in zip(modalities, rates_M, strict=True))
        observed = sampling.imbalanced(present, rates_M, KeyedUniform(sorted_ids, *key, detail))
    else:
        observed = sampling.mixed(present, KeyedUniform(sorted_ids, *key))
    return MaskTable(
        protocol=protocol,
        nominal_rate=rate if protocol in _RATE_PROTOCOLS else None,
        seed=seed,
        split=split,
        modalities=tuple(modalities),
        utterance_ids=tuple(sorted_ids),
        observed_NM=observed,
        detail=detail,
    )


def _check_wishes(
    protocol: str, rate: float | None, rates: dict[str, float] | None, pattern: str | None, seed: int
) -> None:
    """Refuse what cannot be meant together."""
    if protocol not in PROTOCOLS:
        raise UsageError(f"There is no mask protocol {protocol!r}; {did_you_mean(protocol, PROTOCOLS)}")
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed lies in 0 … 2^63 - 1, but {seed} was given.")
    rated = rate is not None or bool(rates)
    if pattern and (rated or protocol != "pattern"):
        raise UsageError("--pattern says itself what is hidden; give it without --missing-rate and other protocols.")
    if rated and protocol in ("pattern", "mixed"):
        raise UsageError(f"The protocol {protocol} takes no --missing-rate; drop one of the two.")
    if rates and protocol != "imbalanced":
        raise UsageError(f"The protocol {protocol} takes one rate, such as 0.5; one per modality is for imbalanced.")


def _rates_per_modality(rates: dict[str, float] | None, modalities: Sequence[str]) -> list[float]:
    if not rates:
        raise UsageError(
            "The protocol imbalanced needs a rate per modality, such as --missing-rate audio=0.2,text=0.7."
        )
    unknown = [name for name in rates if name not in modalities]
    if unknown:
        raise UsageError(f"There is no modality {unknown[0]!r}; {did_you_mean(unknown[0], modalities)}")
    return [rates.get(name, 0.0) for name in modalities]


def make_mask(
    store: FeatureStore,
    protocol: str | None = None,
    *,
    rate: float | None = None,
    rates: dict[str, float] | None = None,
    pattern: str | None = None,
    seed: int = 0,
    split: str | None = None,
) -> MaskTable:
    """Make a mask over the utterances of a store (of one split, or of all with `split=None`).

    Raises
    ------
    UsageError
        The split has no utterances, or see `draw_mask`.
    """
    rows = np.arange(store.n) if split is None else np.flatnonzero(store.splits == split)
    if not len(rows):
        known = sorted({s for s in store.splits.tolist() if s})
        raise UsageError(
            f"{store.path} has no utterance of split {split!r}; it has {listed(known) or 'no splits at all'}."
        )
    return draw_mask(
        store.present_NM()[rows],
        store.utterance_ids[rows].tolist(),
        store.modalities,
        protocol=protocol,
        rate=rate,
        rates=rates,
        pattern=pattern,
        seed=seed,
        split=split or "",
    )


def parse_rates(text: str | None) -> tuple[float | None, dict[str, float] | None]:
    """Read `--missing-rate`: one number → (rate, None); `audio=0.2,text=0.7` → (None, rate per modality).

    >>> parse_rates("audio=0.2,text=0.7")
    (None, {'audio': 0.2, 'text': 0.7})
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
