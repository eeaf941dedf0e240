"""Corpora made in memory."""

from __future__ import annotations

import numpy as np

from imer.batches.corpus import Corpus


def small_corpus(
    lengths: list[int],
    *,
    modalities: dict[str, int] | None = None,
    task: str = "classification",
    seed: int = 0,
    present: float = 1.0,
    speakers: list[list[str]] | None = None,
) -> Corpus:
    """Return a corpus of dialogues of these lengths, three classes or values, its rows in random order."""
    rng = np.random.default_rng(seed)
    modalities = modalities or {"audio": 4, "text": 3}
    n = sum(lengths)
    dialogue = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(length) for length in lengths]) if lengths else np.zeros(0, int)
    speaker = [name for names in speakers for name in names] if speakers else [f"s{d}" for d in dialogue]
    order = rng.permutation(n)
    present_NM = rng.random((n, len(modalities))) < present
    features = {
        name: np.where(present_NM[:, [u]], rng.normal(size=(n, width)) * 3 + 1, 0).astype(np.float32)
        for u, (name, width) in enumerate(modalities.items())
    }
    target = rng.integers(0, 3, n) if task == "classification" else rng.normal(size=n) * 2
    return Corpus(
        n=n,
        modalities=modalities,
        features=features,
        present_NM=present_NM,
        utterance_ids=np.array([f"d{d}_u{p}" for d, p in zip(dialogue[order], position[order], strict=True)], object),
        dialogue_ids=np.array([f"d{d}" for d in dialogue[order]], dtype=object),
        positions=position[order],
        speakers=np.array(speaker, dtype=object)[order],
        splits=np.full(n, "", dtype=object),
        target_N=target,
        task=task,
        label="emotion",
        class_names=("a", "b", "c") if task == "classification" else (),
        columns={"speaker": np.array(speaker, dtype=object)[order]},
    )
