"""`--add`: what an existing store holds already is taken over, not computed again.

A value is taken over only where the same extractor with the same settings made it (equal fingerprints) from the same
source (equal digests of the file's content and segment, or of the text). Whatever failed in the old store is tried
again. The result is what extracting everything from nothing would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.registry import NONE
from imer.core.types import FAILURES, MODALITIES, FeatureSpec, Utterance, Verdict
from imer.extraction.sources import Sources
from imer.extractors.base import Extracted
from imer.store.reader import FeatureStore


def extractors_of(store: Path, asked: Mapping[str, str | None]) -> dict[str, str]:
    """Return the extractor of each modality: the one asked for, or else the store's own, or else none.

    Raises
    ------
    InvalidInput
        The store is damaged, or has several features of a modality, so that nobody knows which one is meant.
    """
    chosen: dict[str, str] = {}
    with FeatureStore.open(store, verify=False) as old:
        for modality in MODALITIES:
            names = list(old.specs.get(modality, {}))
            if not asked[modality] and len(names) > 1:
                raise InvalidInput(
                    f"{store} has several {modality} features ({listed(names)}); name one by --{modality}."
                )
            chosen[modality] = asked[modality] or (names[0] if names else NONE)
    return chosen


def adoptable(
    path: Path,
    utterances: Sequence[Utterance],
    specs: Mapping[str, FeatureSpec],
    sources: Sources,
    is_open: Callable[[int, str], bool],
    notice: Callable[[str], None],
) -> Iterator[tuple[int, str, Extracted]]:
    """Yield (row, modality, result) of every open cell that the store at `path` holds already.

    Raises
    ------
    InvalidInput
        The store is damaged, or does not say what its features were made from.
    UsageError
        The store has a feature of the same extractor that was made with other settings.
    """
    with FeatureStore.open(path) as old:
        if not old.sources:
            raise InvalidInput(
                f"{path} does not say what its features were made from (they were imported, or extracted by an older "
                "imer), so none of them can be taken over; extract without --add."
            )
        index = {name: i for i, name in enumerate(old.utterance_ids.tolist())}
        for modality, spec in specs.items():
            theirs = old.specs.get(modality, {})
            if spec.extractor not in theirs:
                if theirs:
                    notice(f"{path} has {modality} features by {listed(theirs)}; all of {spec.extractor} are computed.")
                continue
            if differing := theirs[spec.extractor].differences(spec):
                raise UsageError(
                    f"{path}: its {modality} features by {spec.extractor} were made with other settings (here "
                    f"{listed(differing, 4)} there); give the same options, or extract without --add."
                )
            feature = old.feature(modality, spec.extractor)
            for row, utterance in enumerate(utterances):
                i = index.get(utterance.utterance_id)
                if i is None or not is_open(row, modality):
                    continue
                verdict, source = Verdict(int(old.quality[modality][i])), old.sources[modality][i]
                if verdict in FAILURES or not source or source != sources.digest(row, modality):
                    continue
                yield row, modality, Extracted(verdict, feature.of(i) if verdict is Verdict.ok else None)
