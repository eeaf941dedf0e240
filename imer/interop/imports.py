"""The kinds of features that can be imported, and what each asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imer.core.errors import UsageError, did_you_mean, listed
from imer.core.files import spare_inputs
from imer.interop.arrays import import_arrays
from imer.interop.csd import import_csd
from imer.interop.feature_tables import import_csv
from imer.interop.gcnet import import_gcnet
from imer.interop.incoming import Imported
from imer.interop.mmsa import import_mmsa

KINDS = ("csv", "arrays", "gcnet", "mmsa", "csd")
_TAKES = {
    "csv": ("--manifest", "--features"),
    "arrays": ("--manifest", "--features"),
    "gcnet": ("SOURCE", "--features"),
    "mmsa": ("SOURCE",),
    "csd": ("--labels", "--features"),
}


@dataclass(frozen=True)
class Request:
    """What was asked for: a kind, and where its parts are. `features` are texts MODALITY=NAME."""

    kind: str
    source: Path | None = None
    manifest: Path | None = None
    features: tuple[str, ...] = ()
    labels: Path | None = None


def import_features(request: Request, out: Path | None, *, overwrite: bool = False) -> tuple[Path, Imported]:
    """Import features of any kind into a store at `out`; return where that is, and what the import gave.

    Raises
    ------
    UsageError
        The kind is unknown, or something that it needs was not named.
    InvalidInput
        A file is missing, unsafe, or not what it should be.
    OutputExists
        `out` exists and `overwrite` is false.
    """
    kind = request.kind
    if kind not in KINDS:
        raise UsageError(f"There is no importer {kind!r}; {did_you_mean(kind, KINDS)}")
    given = {
        "SOURCE": request.source, "--manifest": request.manifest, "--features": request.features, "--labels": request.labels,
    }  # fmt: skip
    if useless := [name for name, value in given.items() if value and name not in _TAKES[kind]]:
        raise UsageError(f"imer data import {kind} takes no {listed(useless)}; it takes {listed(_TAKES[kind])}.")
    if out is None:
        raise UsageError(f"imer data import {kind} needs -o FEATURES.h5, the store to write.")
    named = [text.partition("=")[2] for text in request.features]
    spare_inputs(out, request.manifest, request.source, request.labels, *named)
    if kind == "csv":
        manifest = _needed(request.manifest, kind, "--manifest m.csv")
        pairs = {modality: Path(name) for modality, name in _features(request, "audio=audio.csv").items()}
        made = import_csv(manifest, pairs, out, overwrite=overwrite)
    elif kind == "arrays":
        manifest = _needed(request.manifest, kind, "--manifest m.csv")
        pairs = {modality: Path(name) for modality, name in _features(request, "audio=audio.npy").items()}
        made = import_arrays(manifest, pairs, out, overwrite=overwrite)
    elif kind == "mmsa":
        made = import_mmsa(
            _needed(request.source, kind, "the pickle, such as aligned_50.pkl"), out, overwrite=overwrite
        )
    elif kind == "gcnet":
        folder = _needed(request.source, kind, "the corpus folder, such as dataset/CMUMOSI")
        made = import_gcnet(folder, _features(request, "audio=wav2vec-large-c-UTT"), out, overwrite=overwrite)
    else:
        labels = _needed(request.labels, kind, "--labels labels.csd")
        pairs = {modality: Path(name) for modality, name in _features(request, "audio=COVAREP.csd").items()}
        made = import_csd(labels, pairs, out, overwrite=overwrite)
    return out, made


def _needed(path: Path | None, kind: str, what: str) -> Path:
    if path is None:
        raise UsageError(f"imer data import {kind} needs {what}.")
    return path


def _features(request: Request, example: str) -> Mapping[str, str]:
    pairs = [text.split("=", 1) for text in request.features]
    if not pairs:
        raise UsageError(
            f"imer data import {request.kind} needs at least one --features, such as --features {example}."
        )
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise UsageError(f"--features takes MODALITY=NAME, such as {example}, not {' '.join(request.features)!r}.")
    if len({name for name, _ in pairs}) < len(pairs):
        raise UsageError("--features names a modality twice.")
    return {modality: name for modality, name in pairs}
