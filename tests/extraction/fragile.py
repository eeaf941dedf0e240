"""Extractors that some texts and sounds break, as some files break what reads them."""

from __future__ import annotations

import os
import signal

import numpy as np

from imer.core.types import FeatureSpec, Verdict
from imer.extractors.base import Extracted
from tests.campaigns.cheap import Letters


class Fragile(Letters):
    """The text `crash` ends its process, and `hang` never comes to an end."""

    def extract(self, text: str) -> Extracted:
        if text == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        while text == "hang":
            pass
        return super().extract(text)


class Startled:
    """A sound of full scale ends its process, and one that is quiet all through never comes to an end."""

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec("audio", "test/startled", "1", "utterance", 1, hop_s=None)

    def load(self, device: str) -> None:
        return None

    def begin(self) -> Startled:
        return self

    def add(self, waveform: np.ndarray) -> None:
        if np.abs(waveform).max() > 0.9:
            os.kill(os.getpid(), signal.SIGKILL)
        while np.abs(waveform).max() < 0.1:
            pass

    def finish(self) -> Extracted:
        return Extracted(Verdict.ok, np.ones((1, 1), dtype=np.float32))
