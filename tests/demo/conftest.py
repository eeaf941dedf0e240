"""One small demo corpus for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.demo.corpus import DemoCorpus, make_demo

N_UTTERANCES = 14


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> DemoCorpus:
    folder: Path = tmp_path_factory.mktemp("demo") / "corpus"
    return make_demo(folder, n_utterances=N_UTTERANCES, seed=3, workers=2)
