"""What can be named on the command line, and where it lives. Nothing is imported until a name is used.

Other people's extractors and models join through the entry-point groups `imer.extractors` and `imer.models`. Of which
modality such an extractor is, and under what licence, is in the `spec` of what it makes, and known when it is used.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Any

from imer.core.errors import ImerError, MissingDependency, UsageError, did_you_mean, lacks_memory

NONE = "none"  # switches a modality off


@dataclass(frozen=True)
class Entry:
    """One name: `target` is `module:attribute`; `modality` is empty for what belongs to none."""

    name: str
    target: str
    modality: str = ""
    description: str = ""
    licence: str = ""

    @property
    def package(self) -> str:
        """The package whose code it is: `imer`, or a plug-in's."""
        return self.target.partition(":")[0].partition(".")[0]


def _table(*entries: Entry) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


OPENSMILE_LICENCE = "audEERING Research License (research, teaching and personal use; products need a commercial one)"

EXTRACTORS = _table(
    Entry(
        "opensmile/egemaps", "imer.extractors.opensmile:EGeMAPS", "audio",
        "eGeMAPSv02: 88 functionals of pitch, loudness, voice quality and spectrum (default)", OPENSMILE_LICENCE,
    ),
    Entry(
        "opensmile/compare", "imer.extractors.opensmile:ComParE", "audio",
        "ComParE_2016: 6373 functionals of 65 low-level descriptors", OPENSMILE_LICENCE,
    ),
    Entry(
        "librosa/prosody", "imer.extractors.librosa:Prosody", "audio",
        "log-mel, MFCC, spectral shape, energy and pitch statistics", "ISC",
    ),
    Entry(
        "minilm", "imer.extractors.sentence:MiniLM", "text",
        "all-MiniLM-L6-v2 embedding of English sentences, 384 values, offline (default)", "Apache-2.0",
    ),
    Entry(
        "sentence-transformers", "imer.extractors.sentence:SentenceModel", "text",
        "any sentence-transformers model folder, by --sentence-model, such as one for other languages", "that of the model",
    ),
    Entry(
        "face/geometry-hog", "imer.extractors.geometry_hog:GeometryHog", "visual",
        "MTCNN face, landmark geometry and HOG of the aligned face; not an identity embedding (default)", "MIT",
    ),
    Entry(
        "facenet", "imer.extractors.facenet:FaceNet", "visual",
        "InceptionResnetV1 face embedding; needs --face-weights PATH or --download", "MIT; weights: VGGFace2 terms",
    ),
)  # fmt: skip

MODELS = _table(
    Entry("comp", "imer.models.comp.model:Comp", description="ComP: cross-modal prompting (AAAI 2026), two stages"),
    Entry(
        "comp-official", "imer.models.comp.official:OfficialComp",
        description="ComP as its public code behaves, faults included; use --preset comp-official",
    ),
    Entry(
        "transformer", "imer.models.baselines.transformer:Transformer",
        description="masked transformer over the whole dialogue, with the branches' own answers added",
    ),
    Entry(
        "mlp", "imer.models.baselines.mlp:Mlp",
        description="a perceptron per modality, a joint layer, the branches' own answers added",
    ),
    Entry(
        "momke", "imer.models.baselines.momke:Momke",
        description="modality experts with a soft router, after MoMKE (ACM MM 2024), two stages",
    ),
    Entry(
        "late-fusion", "imer.models.baselines.separate:LateFusion",
        description="mean of the observed modalities' own answers",
    ),
    Entry(
        "unimodal", "imer.models.baselines.separate:Unimodal",
        description="one modality alone: --set model.modality=NAME",
    ),
    Entry(
        "linear", "imer.models.baselines.linear:LinearModel",
        description="ridge or logistic regression on the zero-imputed concatenation and the mask bits, fitted",
    ),
    Entry(
        "majority", "imer.models.baselines.majority:Majority",
        description="the majority class or the mean of the training labels",
    ),
)  # fmt: skip

HEADS = _table(
    Entry(
        "linear", "imer.models.heads.linear:LinearHead", description="weighted branches, one mixing layer, late fusion"
    ),
    Entry(
        "dpl",
        "imer.models.heads.dpl:DPLHead",
        description="decoupled prototypes per class, case and modality (CVPR 2026)",
    ),
)

DEFAULT_EXTRACTORS = {"audio": "opensmile/egemaps", "text": "minilm", "visual": "face/geometry-hog"}


def entries(kind: str) -> dict[str, Entry]:
    """Return name → entry of a kind (`extractors`, `models`, `heads`), built-in ones first, then installed plug-ins."""
    found = dict({"extractors": EXTRACTORS, "models": MODELS, "heads": HEADS}[kind])
    for point in sorted(entry_points(group=f"imer.{kind}"), key=lambda point: point.name):
        found.setdefault(point.name, Entry(point.name, point.value, description=f"plug-in {point.value}"))
    return found


def resolve(kind: str, name: str) -> Any:
    """Import what a name stands for.

    Raises
    ------
    UsageError
        Nothing has that name.
    MissingDependency
        It exists, but a package that it needs is not installed, or it is a plug-in that cannot be imported.
    """
    table = entries(kind)
    if name not in table:
        raise UsageError(f"There is no {kind[:-1]} called {name!r}; {did_you_mean(name, table)}")
    module, _, attribute = table[name].target.partition(":")
    with answering(kind, name):
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise MissingDependency(f"The {kind[:-1]} {name} needs what is not installed here ({error}).") from error


@contextmanager
def answering(kind: str, name: str) -> Iterator[None]:
    """Have a plug-in answer for what fails within, such as its construction: it is no bug in imer.

    Raises
    ------
    MissingDependency
        Something failed, and the name is a plug-in's.
    """
    try:
        yield
    except ImerError:
        raise
    except Exception as error:
        entry = entries(kind)[name]
        if entry.package == "imer" or lacks_memory(error):
            raise
        raise MissingDependency(_fault(f"The {kind[:-1]} {name} of the plug-in", entry.package, error)) from error


def fault_of_plug_in(error: BaseException) -> str:
    """Return what to say of an error that came out of a plug-in's code; empty where there is none in its traceback."""
    packages = {entry.package for kind in ("extractors", "models", "heads") for entry in entries(kind).values()}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package = _package_of(frame)
        if package != "imer" and package in packages:
            return _fault("The plug-in", package, error)
    return ""


def _fault(who: str, package: str, error: BaseException) -> str:
    """Say which of a plug-in's lines was the last before an error; where none of them ran, what is wrong with it alone."""
    own = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _package_of(frame) == package]
    where = f" in {Path(own[-1][0].f_code.co_filename).name}, line {own[-1][1]}" if own else ""
    return f"{who} {package} fails{where} ({type(error).__name__}: {error}); mend it, or tell its makers."


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
