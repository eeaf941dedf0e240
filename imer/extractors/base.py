"""What every extractor is, and what it gives back.

An extractor is made from plain options without loading anything; `load` brings its model in, once a process. It sees
arrays and texts, never paths. What it returns for one utterance never depends on any other utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from imer.core.errors import UsageError, did_you_mean
from imer.core.types import FeatureSpec, Verdict
from imer.media.sampling import Picture

LEVELS = ("utterance", "frame")


@dataclass(frozen=True)
class Extracted:
    """One modality of one utterance: float32 values [T, D] where the verdict is ok (T = 1 at utterance level)."""

    verdict: Verdict
    values_TD: np.ndarray | None = None
    message: str = ""
    code: str = ""  # one of the codes of errors.jsonl, for failures


class Extractor(Protocol):
    """What all three kinds share."""

    @property
    def spec(self) -> FeatureSpec: ...

    def load(self, device: str) -> None: ...


class AudioSession(Protocol):
    """One utterance's sound in passes of at most a minute, in order; the result when they have all come.

    A pass is float32 [samples], mono, 16 kHz, finite; the whole is at least 60 ms and not silent. Nearly every utterance
    is one pass.
    """

    def add(self, waveform: np.ndarray) -> None: ...

    def finish(self) -> Extracted: ...


class AudioExtractor(Extractor, Protocol):
    """Takes the sound of an utterance pass by pass, so that an hour needs no more memory than minutes."""

    def begin(self) -> AudioSession: ...


class TextExtractor(Extractor, Protocol):
    """Takes a text that is not empty."""

    def extract(self, text: str) -> Extracted: ...


@runtime_checkable
class TakesManyTexts(Protocol):
    """What a text extractor may do besides: take many at once. What it gives for each is what `extract` gives."""

    def extract_all(self, texts: Sequence[str]) -> list[Extracted]: ...


class FaceSession(Protocol):
    """One utterance's pictures, in order of time; the result when they have all come."""

    def add(self, picture: Picture) -> None: ...

    def finish(self) -> Extracted: ...


@runtime_checkable
class Settles(Protocol):
    """What a face session may do besides: all of its work but that which is better done for several utterances at once."""

    def settle(self) -> None: ...


class VisualExtractor(Extractor, Protocol):
    """Takes the sampled frames of an utterance one by one, so that an hour needs no more memory than a second."""

    @property
    def frames_per_s(self) -> float: ...

    def begin(self) -> FaceSession: ...


def finite(values_TD: np.ndarray, extractor: str) -> Extracted:
    """Return values as a result, or `non_finite` where an extractor made NaN or infinite numbers."""
    values = np.ascontiguousarray(values_TD, dtype=np.float32)
    if not len(values):
        return Extracted(Verdict.too_short, message=f"{extractor} gave no frame.")
    if not np.isfinite(values).all():
        share = 1.0 - float(np.isfinite(values).mean())
        return Extracted(
            Verdict.non_finite, None, f"{extractor} gave NaN or infinite values ({share:.0%}).", "E-NONFINITE"
        )
    return Extracted(Verdict.ok, values)


def as_promised(result: object, spec: FeatureSpec) -> Extracted:
    """Return a result as it can be kept; a failed one where it is not what the extractor's `spec` says."""
    if not isinstance(result, Extracted):
        return _broken(spec, f"a {type(result).__name__}, which is no Extracted")
    if result.verdict is not Verdict.ok:
        return result
    values = result.values_TD
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        return _broken(spec, "no array of numbers")
    of_utterance = spec.level == "utterance"
    if values.ndim != 2 or values.shape[1] != spec.dim or (of_utterance and len(values) != 1):
        rows = "1" if of_utterance else "frames"
        return _broken(spec, f"values of shape {values.shape}, and not ({rows}, {spec.dim}) as its spec says")
    return finite(values, spec.extractor)


def _broken(spec: FeatureSpec, what: str) -> Extracted:
    return Extracted(Verdict.decode_error, None, f"the extractor {spec.extractor} gave {what}.", "E-EXTRACT")


def checked_level(level: str) -> str:
    """Return the level, or say which there are.

    Raises
    ------
    UsageError
        It is neither utterance nor frame.
    """
    if level not in LEVELS:
        raise UsageError(f"There is no feature level {level!r}; {did_you_mean(level, LEVELS)}")
    return level
