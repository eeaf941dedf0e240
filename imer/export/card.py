"""The model card: what the model is, what it was trained on, how good it is, what it may and may not be used for.

The card starts with YAML front matter as model hubs read it. YAML contains JSON, so every value is written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imer._version import __version__
from imer.core.types import FeatureSpec

_CARD_METRICS = {
    "wa": "WA (overall accuracy)",
    "ua": "UA (mean recall over classes)",
    "f1_weighted": "weighted F1",
    "f1_macro": "macro F1",
    "acc2_non0": "Acc-2 (negative/positive)",
    "f1_non0": "F1 (negative/positive)",
    "acc2_has0": "Acc-2 (negative/non-negative)",
    "f1_has0": "F1 (negative/non-negative)",
    "acc7": "Acc-7",
    "mae": "MAE",
    "corr": "Corr",
    "ccc": "CCC",
}

LIMITS = """\
- The model gives an **estimate of how an utterance comes across**, in the categories and the language of its training
  data. It does not read what a person feels, and it does not detect truth, intent or illness.
- It was measured on the data named above only. Other languages, cultures, ages, recording conditions and acted against
  spontaneous speech all change the error rate, and by how much is not known until it is measured there.
- With fewer observed modalities the answer is less reliable; an answer with `all_missing` is the model's constant and
  says nothing about the clip. Probabilities mean what they say as far as stands above, and less on other data.
- The coordinator's weights say how much each modality counted in the model, not why a person made an impression."""

USE = """\
For research and for building on with care: measure it on your own labelled data first (`imer eval BUNDLE FEATURES.h5
-o RESULTS`), and tell the people concerned. Not for decisions about individuals: hiring, education, policing, credit,
insurance, health. In the European Union, inferring emotions at the workplace or in education is prohibited but for
medical or safety reasons (Regulation (EU) 2024/1689, article 5), and other emotion recognition systems are high-risk
(annex III)."""


@dataclass(frozen=True)
class CardFacts:
    """Everything that the card states.

    `metrics` maps what was measured on to the metrics and `n`, the number of labelled utterances; `specs` are the
    features that the model reads, in its order; `counts` are utterances per split; `training` are further facts of the
    run, one line each; `calibration` is how often answers were right by how many modalities were observed.
    """

    name: str
    task: str
    label: str
    class_names: tuple[str, ...]
    model: str
    fold: str
    specs: Sequence[FeatureSpec]
    metrics: Mapping[str, Mapping[str, float | None]]
    counts: Mapping[str, int | str]
    data_sha256: str
    training: Mapping[str, Any]
    n_parameters: int
    calibration: Sequence[Mapping[str, float]] = ()


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown with YAML front matter."""
    classification = facts.task == "classification"
    answer = f"one of {', '.join(facts.class_names)}" if classification else "a number in the label's own units"
    sections = [
        _front_matter(facts),
        f"# {facts.name}\n\n"
        f"Predicts **{facts.label}** ({answer}) of an utterance from {_and([s.modality for s in facts.specs])}, any of which "
        f"may be missing. A {facts.model} model of {facts.n_parameters:,} parameters, made by imer {__version__}"
        + (f"; fold `{facts.fold}` of its run." if facts.fold else "."),
        "## What it reads\n\n" + _features(facts.specs),
        "Standardisation is part of the model. A modality that is not observed is told by the mask, never by zeros.",
        "## How it was trained\n\n" + _facts(facts),
        "## How good it is\n\n" + _metrics(facts.metrics),
        *_calibration(facts),
        "## Use\n\n" + USE,
        "## Limits\n\n" + LIMITS,
        "## Licences\n\n" + _licences(facts.specs),
    ]
    return "\n\n".join(sections) + "\n"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _front_matter(facts: CardFacts) -> str:
    task = {"type": "emotion-recognition", "name": f"{facts.label} ({facts.task})"}
    store = f"feature store {facts.data_sha256[:12]}"
    results: list[dict[str, Any]] = [
        {
            "task": task,
            "dataset": {"type": "private", "name": store, "split": split},
            "metrics": [
                {"type": key, "name": _CARD_METRICS[key], "value": round(value, 6)}
                for key, value in metrics.items()
                if key in _CARD_METRICS and value is not None
            ],
        }
        for split, metrics in facts.metrics.items()
    ]
    lines = {
        "library_name": "imer",
        "license": "other",
        "tags": ["emotion-recognition", "missing-modalities", "multimodal", *(s.modality for s in facts.specs)],
        "model-index": [{"name": facts.name, "results": results}],
    }
    return "\n".join(
        ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in lines.items()), "---"]
    )


def _features(specs: Sequence[FeatureSpec]) -> str:
    rows = [f"| {s.modality} | {s.extractor} | {s.version} | {s.dim} | `{s.fingerprint[:12]}` |" for s in specs]
    return "\n".join(["| modality | extractor | version | width | fingerprint |", "|---|---|---|---|---|", *rows])


def _facts(facts: CardFacts) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in facts.counts.items())
    lines: dict[str, Any] = {
        "Training data": f"feature store with content sha256 `{facts.data_sha256}`",
        "Utterances": counts,
        **facts.training,
    }
    return "\n".join(f"- {key}: {value}" for key, value in lines.items() if value not in ("", None))


def _metrics(metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    if not metrics:
        return "The run recorded no metrics. Measure it with `imer eval RUN` before using it."
    keys = [key for key in _CARD_METRICS if any(key in values for values in metrics.values())]
    header = f"| measured on | utterances | {' | '.join(_CARD_METRICS[key] for key in keys)} |"
    rows = [
        f"| {what} | {values['n']:.0f} | {' | '.join(_number(values.get(key)) for key in keys)} |"
        for what, values in metrics.items()
    ]
    return "\n".join([header, "|---" * (len(keys) + 2) + "|", *rows])


def _calibration(facts: CardFacts) -> list[str]:
    """Say how far probabilities can be taken at their word; a regression has none."""
    if not facts.class_names:
        return []
    if not facts.calibration:
        return ["How far its probabilities can be taken at their word was not measured."]
    rows = [
        f"| {one['observed']} | {one['n']} | {one['confidence']:.3f} | {one['accuracy']:.3f} | {one['ece']:.3f} |"
        for one in facts.calibration
    ]
    header = (
        "| observed modalities | answers | mean probability of the answer | share that is right | calibration error |"
    )
    return ["\n".join([header, "|---" * 5 + "|", *rows]) + "\n\nOn the test part, under all its masks together."]


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _licences(specs: Sequence[FeatureSpec]) -> str:
    lines = [
        "- The weights: whoever trained the model decides, within what the licence of the training recordings allows.",
        "- imer itself: MIT.",
    ]
    for spec in specs:
        if spec.extractor.startswith("opensmile/"):
            lines.append(
                f"- {spec.modality} features by openSMILE, under the **audEERING Research License**: free for research, "
                "teaching and personal use. A product that extracts these features, as this model needs them, requires a "
                "commercial licence from audEERING."
            )
        elif spec.licence:
            lines.append(f"- {spec.modality} features by {spec.extractor}: {spec.licence}.")
    return "\n".join(lines)
