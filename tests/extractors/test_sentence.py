"""Sentence embeddings: offline, alone, and from a folder of one's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import InvalidInput, UsageError
from imer.core.types import Verdict
from imer.extractors.sentence import MiniLM, SentenceModel


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    model = MiniLM()
    model.load("cpu")
    return model


def test_meaning_is_near_meaning(minilm: MiniLM) -> None:
    texts = ["I am so happy today", "This is a joyful day for me", "The invoice number is nine"]
    glad, joyful, invoice = (minilm.extract(text).values_TD[0] for text in texts)
    assert glad.shape == (minilm.spec.dim,) == (384,)
    assert np.linalg.norm(glad) == pytest.approx(1.0, abs=1e-5)
    assert glad @ joyful > glad @ invoice + 0.3


@pytest.mark.parametrize("text", ["ok", "😀 👨‍👩‍👧", "שלום עולם", "word " * 10_000, "a\x07b\n\tc", "=SUM(A1:A9)"])
def test_odd_texts(minilm: MiniLM, text: str) -> None:
    result = minilm.extract(text)
    assert result.verdict is Verdict.ok
    assert np.array_equal(result.values_TD, minilm.extract(text).values_TD)


def test_tokens_at_frame_level(minilm: MiniLM) -> None:
    frames = MiniLM("frame")
    frames._model = minilm._model
    values = frames.extract("three small words").values_TD
    assert values.shape == (5, 384)  # with the two marks that every text gets
    assert frames.spec.fingerprint != minilm.spec.fingerprint


def test_a_folder_of_ones_own(minilm: MiniLM, tmp_path: Path) -> None:
    copy = tmp_path / "mine"
    shutil.copytree(minilm.folder, copy)
    own = SentenceModel(sentence_model=str(copy))
    assert own.spec.dim == 384
    assert own.spec.config["weights_sha256"] == minilm.spec.config["weights_sha256"]
    own.load("cpu")
    assert np.array_equal(own.extract("hello").values_TD, minilm.extract("hello").values_TD)


def test_folders_that_are_no_model(minilm: MiniLM, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--sentence-model"):
        SentenceModel()
    with pytest.raises(InvalidInput, match=r"modules\.json"):
        SentenceModel(sentence_model=str(tmp_path)).spec  # noqa: B018 - the property is what is tested
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "x.Transformer", "path": ""}]))
    with pytest.raises(InvalidInput, match="configuration"):
        SentenceModel(sentence_model=str(tmp_path)).spec  # noqa: B018
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    with pytest.raises(InvalidInput, match="safetensors"):
        SentenceModel(sentence_model=str(tmp_path)).spec  # noqa: B018
