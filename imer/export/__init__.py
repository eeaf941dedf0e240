"""A trained model as something to hand on: a bundle, an ONNX file, a torch.export program."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """`imer.export` is this package and one of the public functions: calling the one calls the other."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from imer.export.publish import export

        return export(*args, **options)


sys.modules[__name__].__class__ = _Callable
