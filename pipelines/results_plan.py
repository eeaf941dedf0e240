"""What the results table and the ablation are made of: corpora, methods, and the cells that these make.

`results_table.py` runs them. To add a corpus or a method, add it here.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass, replace
from typing import Any

from imer.experiments.plan import Cell
from imer.training.settings_layers import load_settings


@dataclass(frozen=True)
class Corpus:
    """arrays: modality → file beside the manifest; extracted: audio features that are made from the clips first.

    folder: where the manifest is, and the name of the store, unless they are the corpus's.
    """

    name: str
    arrays: dict[str, str]
    label: str
    folds: str = ""
    folder: str = ""
    extracted: str = ""

    @property
    def source(self) -> str:
        return self.folder or self.name

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
# Labels that no default was chosen with: not part of the table unless they are named.
CORPORA_BESIDE = {
    one.name: one
    for one in (
        replace(CORPORA["meld"], name="meld_polarity", label="polarity", folder="meld"),
        replace(CORPORA["ravdess"], name="ravdess_intensity", label="intensity", folder="ravdess"),
    )
}


@dataclass(frozen=True)
class Method:
    """How `imer train` is called: the model, its head (empty: the default), a preset, and other settings."""

    model: str = "comp"
    head: str = ""
    preset: str = ""
    settings: tuple[str, ...] = ()


SINGLE, THREE = ("train.members=1",), ("train.members=3",)
METHODS = {
    "majority": Method("majority"),
    "unimodal": Method("unimodal"),  # one for each modality of the corpus
    "late-fusion": Method("late-fusion"),
    "linear": Method("linear"),
    "mlp": Method("mlp"),
    "transformer": Method("transformer"),
    "momke": Method("momke"),
    # ComP answers as the mean of three models by default: beside it one alone, and what three do for the strongest others.
    "late-fusion-three": Method("late-fusion", settings=THREE),
    "transformer-three": Method("transformer", settings=THREE),
    "comp-single": Method(settings=SINGLE),
    "comp": Method(),
    "comp-dpl": Method(head="dpl"),
    "comp-official": Method(preset="comp-official"),  # 300 epochs: ten minutes a fold of CMU-MOSI
    # A fifth of them where an epoch has many batches: on RAVDESS still more steps than all 300 are on CMU-MOSI.
    "comp-official-60": Method(
        preset="comp-official", settings=("train.max_epochs_branches=30", "train.max_epochs_joint=30")
    ),
}
MATCHED = ("comp", "comp-single", "linear", "mlp", "transformer")  # also trained for one missing rate at a time
CURVES = ("comp", "comp-single", "transformer", "mlp", "linear", "late-fusion")  # methods that the page plots
# One idea of a single model changed at a time (and then three of the default); a row that is the default anyway is left out.
ABLATED = "comp-single"
ABLATION = {
    ABLATED: Method(settings=SINGLE),
    "no-propagation": Method(settings=("model.blocks=0", *SINGLE)),
    "no-prompts": Method(settings=("model.prompts=false", *SINGLE)),
    "no-regulator": Method(settings=("model.regulator=off", *SINGLE)),
    "coordinator-mean": Method(settings=("model.coordinator=uniform", *SINGLE)),
    "coordinator-hard": Method(settings=("model.coordinator_mask=hard", *SINGLE)),
    "coordinator-soft": Method(settings=("model.coordinator_mask=soft", *SINGLE)),
    "no-magnitudes": Method(settings=("model.magnitudes_up_to=0", *SINGLE)),
    "no-stage1": Method(settings=("model.stage1=false", *SINGLE)),
    "no-positions": Method(settings=("model.positions=none", *SINGLE)),
    "linear-single": Method(head="linear", settings=SINGLE),
    "dpl-single": Method(head="dpl", settings=SINGLE),
    "comp": Method(),
}


def cells(args: argparse.Namespace) -> list[tuple[Corpus, Cell]]:
    """Return the cells asked for, quick corpora and seed 0 of every method first."""
    methods = ABLATION if args.ablation else METHODS
    found: list[tuple[Corpus, Cell]] = []
    for seed, corpus in itertools.product(
        range(args.seeds), ((CORPORA | CORPORA_BESIDE)[name] for name in args.corpora)
    ):
        default = _cell(corpus, ABLATED, ABLATION[ABLATED], "mixed", seed, None, args)
        for name, protocol in itertools.product(args.methods or methods, args.protocols):
            if protocol != "mixed" and (name not in MATCHED or args.ablation):
                continue
            for label, method in _variants(name, methods[name], corpus):
                for rate in (None,) if protocol == "mixed" else corpus.rates:
                    cell = _cell(corpus, label, method, protocol, seed, rate, args)
                    if not args.ablation or name == ABLATED or cell.settings != default.settings:
                        found.append((corpus, cell))
    return found


def _cell(
    corpus: Corpus, label: str, method: Method, protocol: str, seed: int, rate: float | None, args: argparse.Namespace
) -> Cell:
    """Return one run. A rate is that of a model which is trained and judged for it alone."""
    train = {"protocol": protocol, "seed": seed, "threads": 1, "missing_rate": "" if rate is None else f"{rate:g}"}
    run = {} if method.preset else {"model": method.model, **({"head": method.head} if method.head else {})}
    data = {"features": str(args.stores / f"{corpus.source}.h5"), "label": corpus.label, "folds": corpus.folds}
    training: dict[str, Any] = {
        "preset": method.preset or None,
        "flags": {"run": run, "data": data, "train": train},
        "assignments": [*method.settings, *args.set],
    }
    judging = {
        "missing_rate": ",".join(f"{r:g}" for r in (corpus.rates if rate is None else (rate,))),
        "pattern": "all" if rate is None else None,
        "mask_seeds": args.mask_seeds,
    }
    name = f"{corpus.name}/{label}/{protocol}/seed{seed}" + ("" if rate is None else f"/rate{rate:g}")
    return Cell(name, label, (), seed, rate, training, judging, load_settings(**training))


def _variants(name: str, method: Method, corpus: Corpus) -> list[tuple[str, Method]]:
    if method.model != "unimodal":
        return [(name, method)]
    alone = {m: replace(method, settings=(*method.settings, f"model.modality={m}")) for m in corpus.modalities}
    return [(f"{name}-{modality}", one) for modality, one in alone.items()]
