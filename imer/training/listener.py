"""Whom a training tells what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Listener:
    """Where a training says what happens: notes, warnings, and how far it is."""

    note: Callable[[str], None] = lambda message: None
    warn: Callable[[str], None] = lambda message: None
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
