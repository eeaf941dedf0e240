"""Sentence embeddings: offline, alone, and from a folder of one's own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path, PurePath

import numpy as np
import pytest

from imer.core.errors import InvalidInput, MissingDependency
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
    own = SentenceModel(sentence_model=str(copied(minilm, tmp_path / "mine")))
    assert own.spec.dim == 384
    own.load("cpu")
    assert np.array_equal(own.extract("hello").values_TD, minilm.extract("hello").values_TD)


def copied(model: SentenceModel, folder: Path) -> Path:
    """Copy a model's folder; the weights, which no test changes, are linked."""
    return shutil.copytree(
        model.folder,
        folder,
        copy_function=lambda a, b: os.symlink(a, b) if a.endswith(".safetensors") else shutil.copy(a, b),
    )


def fingerprint(folder: Path) -> str:
    return SentenceModel(sentence_model=str(folder)).spec.fingerprint


def test_the_models_own_fingerprint_stays(minilm: MiniLM) -> None:
    """Stores are known by it."""
    assert minilm.spec.config == {
        "model": "all-MiniLM-L6-v2",
        "weights_sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    }


def test_a_model_is_known_by_its_files_and_not_by_its_name(minilm: MiniLM, tmp_path: Path) -> None:
    mine, other = copied(minilm, tmp_path / "mine"), copied(minilm, tmp_path / "other")
    before = fingerprint(mine)
    assert fingerprint(other) == before
    (other / "README.md").write_text("Notes.")
    (other / ".cache").mkdir()
    (other / ".cache" / "download.json").write_text("{}")
    (other / "pytorch_model.bin").write_bytes(b"not read, since there is a safetensors file")
    assert fingerprint(other) == before
    found = {before}
    (other / "2_Dense").mkdir()
    (other / "2_Dense" / "pytorch_model.bin").write_bytes(b"read")
    found.add(fingerprint(other))
    for name in ("1_Pooling/config.json", "sentence_bert_config.json", "tokenizer.json", "vocab.txt"):
        file = other / name
        file.write_text(file.read_text().replace("128", "64") + "\n")
        found.add(fingerprint(other))
    assert len(found) == 6


def test_a_transformer_in_a_folder_of_its_own(minilm: MiniLM, tmp_path: Path) -> None:
    """As older versions of the library saved it."""
    old = copied(minilm, tmp_path / "old")
    (old / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors", "sentence_bert_config.json", "special_tokens_map.json",
                 "tokenizer.json", "tokenizer_config.json", "vocab.txt"):  # fmt: skip
        (old / name).rename(old / "0_Transformer" / name)
    modules = json.loads((old / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (old / "modules.json").write_text(json.dumps(modules))
    model = SentenceModel(sentence_model=str(old))
    assert model.spec.dim == 384
    model.load("cpu")
    assert np.array_equal(model.extract("hello").values_TD, minilm.extract("hello").values_TD)


def test_folders_that_are_no_model(minilm: MiniLM, tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="--sentence-model"):
        SentenceModel()
    with pytest.raises(InvalidInput, match=r"modules\.json"):
        SentenceModel(sentence_model=str(tmp_path)).spec  # noqa: B018 - the property is what is tested
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "x.Transformer", "path": ""}]))
    with pytest.raises(InvalidInput, match="configuration"):
        SentenceModel(sentence_model=str(tmp_path)).spec  # noqa: B018
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    with pytest.raises(InvalidInput, match="safetensors"):
        SentenceModel(sentence_model=str(tmp_path)).spec  # noqa: B018


def test_a_model_has_one_fingerprint_where_paths_are_sorted_without_capitals(
    minilm: MiniLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows does: a bundle that was made on Linux must know its model there."""
    mine = copied(minilm, tmp_path / "mine")
    (mine / "Zones.json").write_text("{}")
    before = fingerprint(mine)
    monkeypatch.setattr(PurePath, "__lt__", lambda one, other: str(one).casefold() < str(other).casefold())
    assert fingerprint(mine) == before
