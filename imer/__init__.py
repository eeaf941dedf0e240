"""imer: incomplete multi-modal emotion recognition, from raw clips to answers.

The five public functions are imported when first used, so that `import imer` costs nothing:
`extract`, `make_mask`, `train`, `evaluate`, `export`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from imer._version import __version__

# ONNX Runtime (1.29 and later) reports to its makers, in native code that no guard in Python sees, and keeps files in the
# user's cache for it. It looks at this when it is loaded, here and in every worker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_PUBLIC = {
    "extract": "imer.extraction.runner",
    "make_mask": "imer.masks.make",
    "train": "imer.training.train",
    "evaluate": "imer.evaluation.evaluate",
    "export": "imer.export.publish",
}

__all__ = ["__version__", "evaluate", "export", "extract", "make_mask", "train"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'imer' has no attribute {name!r}")
