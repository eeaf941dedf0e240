"""One small store for all tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stores import write_small_store
from tests.training.small import quick


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("train") / "small.h5")


@pytest.fixture(scope="session")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the official split, classification."""
    out = tmp_path_factory.mktemp("runs") / "run"
    quick(store, out)
    return out
