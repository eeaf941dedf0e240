"""openSMILE's two standard sets: eGeMAPSv02 and ComParE_2016.

openSMILE is under the audEERING Research License: free for research, teaching and personal use; a product needs
audEERING's commercial licence. The library is imported only when one of these is used.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from imer.core.registry import OPENSMILE_LICENCE
from imer.core.types import FeatureSpec
from imer.extractors.base import Extracted, checked_level, finite
from imer.extractors.passes import CONTEXT_S, Passes
from imer.media.sampling import LONGEST_PASS_S, SAMPLE_RATE_HZ

_HOP_S = 0.01


class OpenSmile:
    """A feature set of openSMILE: functionals over the utterance, or low-level descriptors every 10 ms.

    openSMILE needs half a megabyte per second of audio, so an utterance of more than a minute comes in several passes;
    its functionals are their mean.
    """

    name = ""
    feature_set = ""

    def __init__(self, level: str = "utterance") -> None:
        self.level = checked_level(level)
        self._smile: Any = None

    def _made(self) -> Any:
        if self._smile is None:
            import opensmile

            level = opensmile.FeatureLevel.Functionals
            if self.level == "frame":
                level = opensmile.FeatureLevel.LowLevelDescriptors
            self._smile = opensmile.Smile(feature_set=opensmile.FeatureSet[self.feature_set], feature_level=level)
        return self._smile

    @property
    def spec(self) -> FeatureSpec:
        names = tuple(self._made().feature_names)
        return FeatureSpec(
            modality="audio",
            extractor=self.name,
            version=f"opensmile {version('opensmile')}",
            level=self.level,
            dim=len(names),
            hop_s=_HOP_S if self.level == "frame" else None,
            config={
                "feature_set": self.feature_set,
                "sample_rate_hz": SAMPLE_RATE_HZ,
                "pass_s": LONGEST_PASS_S,
                **({"context_s": CONTEXT_S} if self.level == "frame" else {}),
            },
            dim_names=names,
            licence=OPENSMILE_LICENCE,
        )

    def load(self, device: str) -> None:
        self._made()

    def rows(self, waveform: np.ndarray) -> np.ndarray:
        """Return the functionals [1, D] or the low-level descriptors [T, D] of a waveform float32 [samples]."""
        return np.asarray(self._made().process_signal(waveform, SAMPLE_RATE_HZ).to_numpy())

    def begin(self) -> OpenSmileSession:
        return OpenSmileSession(self)


class OpenSmileSession:
    """One utterance: the mean of its passes' functionals, weighted by their lengths, or all its descriptors."""

    def __init__(self, extractor: OpenSmile) -> None:
        self._extractor = extractor
        hop = round(_HOP_S * SAMPLE_RATE_HZ)
        self._passes = Passes(extractor.rows, hop) if extractor.level == "frame" else None
        self._rows: list[np.ndarray] = []
        self._weights: list[int] = []

    def add(self, waveform: np.ndarray) -> None:
        if self._passes is not None:
            self._passes.add(waveform)
            return
        self._rows.append(self._extractor.rows(waveform))
        self._weights.append(len(waveform))

    def finish(self) -> Extracted:
        if self._passes is not None:
            return finite(self._passes.rows(), self._extractor.name)
        if len(self._rows) == 1:
            return finite(self._rows[0], self._extractor.name)
        passes = np.concatenate(self._rows).astype(np.float64)
        return finite(np.average(passes, axis=0, weights=self._weights)[None, :], self._extractor.name)


class EGeMAPS(OpenSmile):
    """eGeMAPSv02: 88 functionals (25 low-level descriptors at frame level)."""

    name = "opensmile/egemaps"
    feature_set = "eGeMAPSv02"


class ComParE(OpenSmile):
    """ComParE_2016: 6373 functionals (65 low-level descriptors at frame level)."""

    name = "opensmile/compare"
    feature_set = "ComParE_2016"
