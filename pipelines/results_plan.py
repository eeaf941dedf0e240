"""What the results table and the ablation are made of: corpora, methods, and the cells that these make.

`results_table.py` runs them. To add a corpus or a method, add it here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Corpus:
    """arrays: modality → file beside the manifest; extracted: audio features that are made from the clips first."""

    name: str
    arrays: dict[str, str]
    label: str
    folds: str = ""
    folder: str = ""
    extracted: str = ""

    @property
    def modalities(self) -> list[str]:
        return [*(["audio"] if self.extracted else []), *self.arrays]

    @property
    def rates(self) -> list[float]:
        """The reachable ones of 0 … 0.7: every utterance keeps a modality, so (M − 1)/M is the end (0.7 names 2/3)."""
        return [r / 10 for r in range(8 if len(self.modalities) == 3 else 6)]


CORPORA = {
    one.name: one
    for one in (
        Corpus(
            "mosi_clean",
            {"audio": "audio.npy", "text": "text_minilm.npy", "visual": "visual.npy"},
            label="sentiment",
            folds="fold",
        ),
        # Without its visual array, which was learnt with labels of videos in the official test part.
        Corpus("mosi", {"audio": "audio.npy", "text": "text_minilm.npy"}, label="sentiment"),
        Corpus("ravdess", {"visual": "visual_au.npy"}, label="emotion", folds="fold", extracted="opensmile/egemaps"),
        Corpus("meld", {"audio": "audio.npy", "text": "text_minilm.npy"}, label="emotion", folds="fold"),
    )
}


@dataclass(frozen=True)
class Method:
    """How `imer train` is called: the model, its head (empty: the default), a preset, and other settings."""

    model: str = "comp"
    head: str = ""
    preset: str = ""
    settings: tuple[str, ...] = ()


METHODS = {
    "majority": Method("majority"),
    "unimodal": Method("unimodal"),  # one for each modality of the corpus
    "late-fusion": Method("late-fusion"),
    "linear": Method("linear"),
    "mlp": Method("mlp"),
    "transformer": Method("transformer"),
    "momke": Method("momke"),
    "comp": Method(),
    "comp-dpl": Method(head="dpl"),
    # At a seventh of its public schedule (20 + 20 epochs instead of 150 + 150), with the learning rate that this needs.
    "comp-official": Method(
        preset="comp-official",
        settings=("train.max_epochs_branches=20", "train.max_epochs_joint=20", "train.learning_rate=5e-4"),
    ),
}
MATCHED = ("comp", "linear", "mlp", "transformer")  # methods that are also trained for one missing rate at a time
# One idea changed at a time; a row that is the default anyway is left out.
ABLATION = {
    "comp": Method(),
    "no-propagation": Method(settings=("model.blocks=0",)),
    "no-prompts": Method(settings=("model.prompts=false",)),
    "no-regulator": Method(settings=("model.regulator=off",)),
    "coordinator-mean": Method(settings=("model.coordinator=uniform",)),
    "coordinator-hard": Method(settings=("model.coordinator_mask=hard",)),
    "coordinator-soft": Method(settings=("model.coordinator_mask=soft",)),
    "no-stage1": Method(settings=("model.stage1=false",)),
    "no-positions": Method(settings=("model.positions=none",)),
    "comp-linear": Method(head="linear"),
    "comp-dpl": Method(head="dpl"),
}


@dataclass(frozen=True)
class Cell:
    """What one process trains and evaluates."""

    corpus: str
    method: str
    protocol: str
    seed: int
    model: str
    head: str
    preset: str
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.corpus}/{self.method}/{self.protocol}/seed{self.seed}"

    def runs(self, out: Path) -> Iterator[tuple[Path, float | None]]:
        """Yield the run folders, each with the only missing rate it is for (None: all)."""
        folder = out / "runs" / self.name
        if self.protocol == "mixed":
            yield folder, None
        else:
            for rate in CORPORA[self.corpus].rates:
                yield folder / f"rate{rate:g}", rate

    def options(self, rate: float | None) -> dict[str, Any]:
        """Return the arguments of `imer.train` besides the store and the folder."""
        corpus = CORPORA[self.corpus]
        train = {"protocol": self.protocol, "seed": self.seed, "threads": 1}
        if rate is not None:
            train["missing_rate"] = f"{rate:g}"
        flags = {"run": {}, "data": {"label": corpus.label, "folds": corpus.folds}, "train": train}
        if not self.preset:
            flags["run"] = {"model": self.model, **({"head": self.head} if self.head else {})}
        return {"preset": self.preset or None, "flags": flags, "assignments": list(self.settings)}


def cells(args: argparse.Namespace) -> list[Cell]:
    """Return the cells asked for, quick corpora and seed 0 of every method first."""
    methods = ABLATION if args.ablation else METHODS
    found = []
    for seed in range(args.seeds):
        for corpus in args.corpora:
            for name in args.methods or methods:
                method = methods[name]
                for protocol in args.protocols:
                    if protocol == "mixed" or (name in MATCHED and not args.ablation):
                        found += [
                            Cell(corpus, label, protocol, seed, method.model, method.head, method.preset, settings)
                            for label, settings in _variants(name, method, CORPORA[corpus], tuple(args.set))
                        ]
    return [
        cell for cell in found if cell.method == "comp" or not args.ablation or not _is_default(cell, tuple(args.set))
    ]


def _is_default(cell: Cell, more: tuple[str, ...]) -> bool:
    from imer.training.settings import load_settings

    own, plain = cell.options(None), replace(cell, head="", settings=more).options(None)
    both = [load_settings(preset=o["preset"], flags=o["flags"], assignments=o["assignments"]) for o in (own, plain)]
    return both[0] == both[1]


def _variants(name: str, method: Method, corpus: Corpus, more: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    settings = (*method.settings, *more)
    if method.model != "unimodal":
        return [(name, settings)]
    return [(f"{name}-{m}", (*settings, f"model.modality={m}")) for m in corpus.modalities]
