"""Which extractor makes which modality, and with what options: all that a worker must be told."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imer.core.errors import ImerError, MissingDependency, UsageError, listed
from imer.core.registry import DEFAULT_EXTRACTORS, NONE, answering, entries, resolve
from imer.core.types import MODALITIES, FeatureSpec
from imer.extractors.search import DEFAULT_STRIDE

_FACES = "--visual face/geometry-hog or facenet"
# Options that not every extractor takes → how they are written, what they are where nobody asks, and what takes them.
OF_SOME = {
    "sentence_model": ("--sentence-model", None, "--text sentence-transformers"),
    "face_weights": ("--face-weights", None, "--visual facenet"),
    "download": ("--download", False, "--visual facenet"),
    "face_precision": ("--face-precision", "float32", "--visual facenet"),
    "face_policy": ("--face-policy", "largest", _FACES),
    "face_stride": ("--face-stride", DEFAULT_STRIDE, _FACES),
    "frames_per_s": ("--fps", 5.0, _FACES),
    "level": ("--level", "utterance", "an extractor that has levels, such as --audio opensmile/egemaps"),
}


def taken_by(extractor: str) -> frozenset[str]:
    """Return the options that an extractor's constructor names."""
    with answering("extractors", extractor):
        return frozenset(inspect.signature(resolve("extractors", extractor)).parameters)


@dataclass(frozen=True)
class Recipe:
    """Extractor names by modality, and options; an extractor gets those options that its constructor names."""

    extractors: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @classmethod
    def of(
        cls, audio: str | None, text: str | None, visual: str | None, options: Mapping[str, Any], device: str
    ) -> Recipe:
        """Make a recipe from what was asked for; None is a modality's default, `none` switches it off.

        Raises
        ------
        UsageError
            A name is unknown or belongs to another modality, or every modality is switched off.
        """
        asked = {"audio": audio, "text": text, "visual": visual}
        chosen = {m: asked[m] or DEFAULT_EXTRACTORS[m] for m in MODALITIES}
        table = entries("extractors")
        for modality, name in chosen.items():
            if name == NONE:
                continue
            fitting = [entry.name for entry in table.values() if entry.modality in ("", modality)]
            if name not in fitting:
                raise UsageError(f"There is no {modality} extractor {name!r}; there are {listed([*fitting, NONE])}.")
        kept = {m: name for m, name in chosen.items() if name != NONE}
        if not kept:
            raise UsageError("Every modality is switched off; keep at least one of --audio, --text and --visual.")
        return cls(kept, dict(options), device)

    def build(self, modality: str) -> Any:
        """Make the extractor of a modality; nothing is loaded yet."""
        name = self.extractors[modality]
        given = {key: value for key, value in self.options.items() if key in taken_by(name)}
        with answering("extractors", name):
            return resolve("extractors", name)(**given)

    def loaded(self, modality: str) -> Any:
        """Make the extractor of a modality and load what it needs.

        Raises
        ------
        MissingDependency
            Its models cannot be loaded, or it is a plug-in that fails.
        """
        name = self.extractors[modality]
        extractor = self.build(modality)
        try:
            with answering("extractors", name):
                extractor.load(self.device)
        except ImerError:
            raise
        except Exception as error:  # whatever its own library raises
            raise MissingDependency(
                f"The extractor {name} cannot be loaded ({type(error).__name__}: {error})."
            ) from error
        return extractor

    def useless(self) -> list[str]:
        """Return the options that were asked for and that no chosen extractor takes."""
        taken = {name for chosen in self.extractors.values() for name in taken_by(chosen)}
        return [
            name
            for name, (_, usual, _) in OF_SOME.items()
            if self.options.get(name, usual) != usual and name not in taken
        ]

    def specs(self) -> dict[str, FeatureSpec]:
        """Return modality → what its feature will be.

        Raises
        ------
        UsageError
            An extractor makes features of another modality, as only a plug-in's own description can tell.
        MissingDependency
            A plug-in fails.
        """
        specs = {}
        for modality, name in self.extractors.items():
            with answering("extractors", name):
                specs[modality] = spec = self.build(modality).spec
            if spec.modality != modality:
                raise UsageError(f"--{modality} {name}: this extractor makes {spec.modality} features.")
        return specs
