"""One thread for the networks: the tests share the machine, and results are those of the workers."""

from __future__ import annotations

import os

import pytest

from imer.extraction import runner, staging
from tests.extraction.inline import Inline


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `extract` do its tasks in this process, and keep them in small shards."""
    monkeypatch.setattr(runner, "make_engine", Inline)
    monkeypatch.setattr(staging, "SHARD_CELLS", 3)
