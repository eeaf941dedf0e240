"""Import facenet-pytorch and transformers whatever torchvision is there: one that fits torch, one that does not, none.

facenet-pytorch imports two names of torchvision for its own detector, of which `imer` takes nothing but the networks
(`cascade` calls them in its own way), and transformers imports torchvision whenever it is installed. A torchvision built
for another torch fails on import and takes both down with it. So torchvision is made invisible before transformers is
imported, and empty modules stand in for it while facenet-pytorch is imported, also where torchvision works.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

_NAME = "torchvision"


def _loaded() -> dict[str, Any]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == _NAME}


def _purge() -> None:
    for name in _loaded():
        del sys.modules[name]


@lru_cache(maxsize=1)
def torchvision_state() -> tuple[str, str]:
    """Return ("works", ""), ("absent", "") or ("broken", why)."""
    if sys.modules.get(_NAME) is not None:
        return "works", ""
    hidden = _NAME in sys.modules
    if hidden:
        del sys.modules[_NAME]
    try:
        if find_spec(_NAME) is None:
            return "absent", ""
        import_module(_NAME)
    except Exception as error:  # noqa: BLE001 - whatever a mismatched binary raises on import
        _purge()
        return "broken", f"{type(error).__name__}: {error}"
    finally:
        if hidden:
            sys.modules[_NAME] = None  # type: ignore[assignment]  # None: "not to be imported"
    return "works", ""


def hide_torchvision() -> None:
    """Make torchvision invisible to what is imported from now on, unless this process uses it already."""
    if sys.modules.get(_NAME) is None:
        sys.modules[_NAME] = None  # type: ignore[assignment]  # None: "not to be imported"


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Put empty modules where facenet-pytorch looks for torchvision's, and take them away again."""
    before = _loaded()
    _purge()
    modules = {
        name: types.ModuleType(name)
        for name in (
            _NAME,
            f"{_NAME}.transforms",
            f"{_NAME}.transforms.functional",
            f"{_NAME}.ops",
            f"{_NAME}.ops.boxes",
        )
    }
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    modules[f"{_NAME}.ops.boxes"].__dict__["batched_nms"] = None  # imported by name, never called
    sys.modules.update(modules)
    try:
        yield
    finally:
        _purge()
        sys.modules.update(before)


def library_versions() -> str:
    """Return the versions of facenet-pytorch and of the torch that it runs on."""
    return f"facenet-pytorch {version('facenet-pytorch')}, torch {version('torch').partition('+')[0]}"


@lru_cache(maxsize=1)
def facenet_pytorch() -> Any:
    """Import facenet-pytorch and return the package; its networks work, its own detector does not."""
    with _stand_ins():
        return import_module("facenet_pytorch")
