"""What `imer ls` lists, gathered from the parts that own the names."""

from __future__ import annotations

from collections.abc import Callable

Rows = list[dict[str, str]]


def _protocols() -> Rows:
    from imer.masks.make import PROTOCOLS

    return [{"protocol": name, "what it does": text} for name, text in PROTOCOLS.items()]


def _metrics() -> Rows:
    from imer.metrics.compute import LOWER_IS_BETTER
    from imer.metrics.definitions import DEFINITIONS

    return [
        {"metric": key, "better": "lower" if key in LOWER_IS_BETTER else "higher", "definition": text}
        for key, text in DEFINITIONS.items()
    ]


_CATALOGUES: dict[str, Callable[[], Rows]] = {"protocols": _protocols, "metrics": _metrics}


def catalogue(kind: str) -> Rows:
    """Return one row per name of this kind."""
    return _CATALOGUES[kind]()
