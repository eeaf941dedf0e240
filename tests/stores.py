"""Small feature stores for the tests, made by the real writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.store.writer import vector_block, write_store

WIDTHS = {"audio": 6, "text": 5, "visual": 4}
EMOTIONS = ("angry", "happy", "sad")


def write_small_store(
    path: Path,
    *,
    n_dialogues: int = 24,
    length: int = 5,
    seed: int = 0,
    modalities: tuple[str, ...] = ("audio", "text", "visual"),
    prefix: str = "",
    n_speakers: int = 6,
    speakers: bool = True,
    speaker_spread: float = 0.0,
    unlabelled_splits: tuple[str, ...] = (),
    sentiment_around: float = 0.0,
    sentiment_step: float = 2.0,
) -> Path:
    """Write a learnable store: each modality carries a noisy copy of the emotion, some of it is absent by nature.

    Dialogues are split 60/20/20 into train, val and test; `sentiment` is a number, `emotion` a class; every ninth
    utterance has no label. Features of speakers differ by `speaker_spread`; without `speakers` nobody is named.
    `unlabelled_splits` have no labels at all. Sentiment around 3 is a rating from 1 to 5, as it were; from one emotion to the
    next it changes by `sentiment_step`.
    """  # fmt: skip
    rng = np.random.default_rng(seed)
    utterances, states = [], []
    for d in range(n_dialogues):
        split = "train" if d % 5 < 3 else ("val" if d % 5 == 3 else "test")
        for position in range(length):
            state = int(rng.integers(3))
            states.append(state)
            unlabelled = len(states) % 9 == 0 or split in unlabelled_splits
            labels = {
                "emotion": "" if unlabelled else EMOTIONS[state],
                "sentiment": ""
                if unlabelled
                else f"{sentiment_around + (state - 1) * sentiment_step + rng.normal() * 0.3:.3f}",
                "take": str(d % 3),
            }
            name = f"{prefix}d{d:02d}_u{position}"
            utterances.append(
                Utterance(
                    name,
                    f"d{d:02d}",
                    position,
                    line=len(states) + 1,
                    row=len(states) - 1,
                    speaker=f"s{d % n_speakers}" if speakers else "",
                    session=f"{d % 4}",
                    split=split,
                    text=f"words of {name}",
                    labels=labels,
                )
            )
    state_N = np.array(states)
    blocks, quality = [], {}
    for modality in modalities:
        centre_CD = rng.normal(size=(3, WIDTHS[modality])) * 1.5
        values = centre_CD[state_N] + rng.normal(size=(len(states), WIDTHS[modality]))
        if speaker_spread:
            own_SD = rng.normal(size=(n_speakers, WIDTHS[modality])) * speaker_spread
            values += own_SD[np.arange(len(states)) // length % n_speakers]
        present = rng.random(len(states)) < 0.95
        spec = FeatureSpec(modality, f"test/{modality}", "1", "utterance", WIDTHS[modality])
        blocks.append(vector_block(spec, values, present))
        quality[modality] = np.where(present, Verdict.ok, Verdict.no_stream)
    write_store(path, utterances, blocks, quality, provenance={"made_by": "tests"}, overwrite=True)
    return path
