"""Make a mask table from a feature store: the same ids, protocol, rate and seed give the same table on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imer.core.errors import UsageError, did_you_mean, listed
from imer.masks import sampling
from imer.masks.notation import parse_pattern
from imer.masks.sampling import Mask
from imer.masks.table import MaskTable
from imer.masks.uniform import KeyedUniform

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
RATE_PROTOCOLS = {
    "exact": sampling.exact,
    "nested": sampling.nested,
    "bernoulli": sampling.bernoulli,
    "cpm": sampling.cpm,
    "instance": sampling.instance,  # its rate is the probability of an incomplete utterance
}


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
    if protocol in RATE_PROTOCOLS:
        if rate is None and protocol == "instance":
            raise UsageError("The protocol instance needs --missing-rate: the probability of an incomplete utterance.")
        if rate is None:
            raise UsageError(f"The protocol {protocol} needs one --missing-rate, such as 0.5.")
        key += [] if protocol == "nested" else [f"{rate:.6f}"]
        observed = RATE_PROTOCOLS[protocol](present, rate, KeyedUniform(sorted_ids, *key))
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
        nominal_rate=rate if protocol in RATE_PROTOCOLS else None,
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
