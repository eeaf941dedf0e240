"""What a store holds, as plain facts: for `imer data inspect` and its JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from imer.store.reader import FeatureStore, Label

MAX_CLASSES_SHOWN = 12


def describe(store: FeatureStore) -> dict[str, Any]:
    """Return the facts about a store: digest, counts per modality, verdicts, labels, splits, features, provenance."""
    present_NM = store.present_NM()
    return {
        "path": str(store.path),
        "content_sha256": store.content_sha256,
        "written_by": store.imer_version,
        "n_utterances": store.n,
        "n_dialogues": len(set(store.dialogue_ids.tolist())),
        "n_speakers": len({s for s in store.speakers.tolist() if s}),
        "modalities": list(store.modalities),
        "present": dict(zip(store.modalities, present_NM.sum(axis=0).tolist(), strict=True)),
        "patterns": _patterns(present_NM, store.modalities),
        "quality": store.verdict_counts(),
        "splits": dict(sorted(Counter(store.splits.tolist()).items())),
        "labels": {name: _label_facts(label) for name, label in store.labels.items()},
        "features": [
            _feature_facts(store, modality, name) for modality in store.modalities for name in store.specs[modality]
        ],
        "provenance": store.provenance,
    }


def _patterns(present_NM: np.ndarray, modalities: tuple[str, ...]) -> dict[str, int]:
    """Count the utterances with each combination of present modalities, most frequent first."""
    names = ["+".join(m for m, here in zip(modalities, row, strict=True) if here) or "none" for row in present_NM]
    return dict(Counter(names).most_common())


def _label_facts(label: Label) -> dict[str, Any]:
    if label.classes is None:
        values = label.values[~np.isnan(label.values)]
        summary = f"{values.min():g} to {values.max():g}" if len(values) else "empty"
        return {"kind": "number", "labelled": len(values), "summary": summary}
    counts = Counter(label.classes[v] for v in label.values.tolist() if v >= 0)
    shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())[:MAX_CLASSES_SHOWN])
    if len(counts) > MAX_CLASSES_SHOWN:
        shown += f", … ({len(counts) - MAX_CLASSES_SHOWN} more)"
    return {"kind": "class", "labelled": sum(counts.values()), "summary": shown, "n_classes": len(label.classes)}


def _feature_facts(store: FeatureStore, modality: str, name: str) -> dict[str, Any]:
    spec = store.specs[modality][name]
    feature = store.feature(modality, name)
    present = feature.present
    frames = np.diff(feature.offsets)[present]
    facts: dict[str, Any] = {
        "modality": modality,
        "extractor": spec.extractor,
        "version": spec.version,
        "level": spec.level,
        "dim": spec.dim,
        "hop_s": spec.hop_s,
        "present": int(present.sum()),
        "fingerprint": spec.fingerprint,
        "licence": spec.licence,
        "config": spec.config,
    }
    if spec.level == "frame" and len(frames):
        facts["frames"] = {"min": int(frames.min()), "median": float(np.median(frames)), "max": int(frames.max())}
    return facts
