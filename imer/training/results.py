"""What a finished training says about itself: `metrics.json` and `predictions.jsonl`.

The test part is predicted here, once, with the selected weights and under the fixed masks of the training protocol. One
without labels is predicted as it is, and not measured; there may be none at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from imer._version import __version__
from imer.batches.corpus import Corpus
from imer.batches.splits import Split
from imer.core.files import write_json, write_text
from imer.core.json_lines import as_json_lines
from imer.masks.sampling import missing_rate
from imer.metrics.calibration import calibration
from imer.metrics.compute import metrics_of
from imer.metrics.leading import widest
from imer.metrics.weights import mean_weights
from imer.training.history import mean_shares, read_log
from imer.training.inference import Prediction
from imer.training.masks import FixedMask, Masks
from imer.training.run_folder import fold_folder, publish_digests
from imer.training.selection import TEST_BEST, mean_value
from imer.training.settings import Settings
from imer.training.trained_fold import TrainedFold, load_fold

TEST_MASK_SEEDS = 5
# Trained for any missing rate: tested as the data are, and over the grid of rates.
TESTED_OVER_GRID = ("mixed", "pattern", "complete2incomplete")


def write_results(
    out: Path, corpus: Corpus, splits: list[Split], masks: Masks, settings: Settings, device: str
) -> dict[str, Any]:
    """Predict the test part of every fold; write `predictions.jsonl`, `metrics.json`, and the digests of what is there."""
    folds = [load_fold(fold_folder(out, split.name), device) for split in splits]
    rows = np.concatenate([split.test for split in splits])
    is_measured = bool(corpus.labelled_N[rows].any())
    conditions = conditions_of_test(masks, splits, settings)
    if not is_measured:  # what is handed in of it is answered from all that there is
        conditions = [masks.natural(np.sort(rows))] if len(rows) else []
    results, lines, outputs, observed = [], [], [], []
    for number, condition in enumerate(conditions):
        found = [f.predict(corpus, s.test, condition.observed_NM) for f, s in zip(folds, splits, strict=True)]
        if number == 0:
            lines = [_line(corpus, f, p, i) for f, p in zip(folds, found, strict=True) for i in range(len(p.rows_N))]
        outputs.append(np.concatenate([p.probabilities_NC for p in found]))
        observed.append(np.concatenate([p.observed_NM for p in found]))
        if is_measured:
            weights_NM = np.concatenate([p.weights_NM for p in found])
            results.append(_result(corpus, rows, condition, outputs[-1], observed[-1], weights_NM))
    has_classes = is_measured and corpus.task == "classification"
    write_text(out / "predictions.jsonl", as_json_lines(lines))
    metrics = {
        "schema": "imer.metrics/1",
        "imer_version": __version__,
        "task": corpus.task,
        "label": corpus.label,
        "class_names": list(corpus.class_names),
        **_learnt_range(folds),
        "protocol": settings.train.protocol,
        "missing_rate": settings.train.missing_rate or None,
        "members": settings.train.members,
        "selected": _selected(folds),
        "optimistic": settings.train.select == TEST_BEST,
        "within_speaker": list(folds[0].within_speaker),
        "folds": [_fold_record(corpus, fold, split) for fold, split in zip(folds, splits, strict=True)],
        "gradient_share": mean_shares(read_log(out)),
        "predictions": _named(conditions[0]) if conditions else None,
        "test": results,
        "calibration": calibration(np.stack(outputs), np.stack(observed), corpus.target_N[rows]) if has_classes else [],
    }
    write_json(out / "metrics.json", metrics)
    publish_digests(out, [split.name for split in splits])
    return metrics


def conditions_of_test(masks: Masks, splits: list[Split], settings: Settings) -> list[FixedMask]:
    """Return the conditions of the test, the one that predictions are written for first; none where nothing is tested."""
    rows = np.sort(np.concatenate([split.test for split in splits]))
    if not len(rows):
        return []
    if settings.train.protocol in TESTED_OVER_GRID and not settings.train.pattern:
        return [masks.natural(rows), *masks.grid(rows, "test")[1:]]
    return masks.fixed(rows, "test", TEST_MASK_SEEDS)


def _result(
    corpus: Corpus,
    rows: np.ndarray,
    condition: FixedMask,
    output_NC: np.ndarray,
    observed_NM: np.ndarray,
    weights_NM: np.ndarray,
) -> dict[str, Any]:
    """Return what all folds together scored under one condition."""
    return {
        **_named(condition),
        "realised_rate": round(missing_rate(condition.observed_NM[rows]), 6),
        "n": int(corpus.labelled_N[rows].sum()),
        "metrics": metrics_of(corpus.target_N[rows], output_NC, len(corpus.class_names)),
        "mean_weight": mean_weights(weights_NM, observed_NM, list(corpus.modalities)),
    }


def _named(condition: FixedMask) -> dict[str, Any]:
    return {
        "protocol": condition.protocol,
        "missing_rate": condition.missing_rate,
        "pattern": condition.pattern or None,
        "mask_seed": condition.mask_seed,
    }


def _line(corpus: Corpus, fold: TrainedFold, found: Prediction, i: int) -> dict[str, Any]:
    """Return one line of predictions.jsonl."""
    row = int(found.rows_N[i])
    target = corpus.target_N[row]
    label: str | float | None
    if corpus.task == "classification":
        label = corpus.class_names[int(target)] if target >= 0 else None
    else:
        label = float(target) if np.isfinite(target) else None
    return {
        "utterance_id": str(corpus.utterance_ids[row]),
        "fold": fold.name,
        "split": "test",
        "label": label,
        **found.in_words(i, corpus.modalities, corpus.class_names),
    }


def _selected(folds: list[TrainedFold]) -> dict[str, Any]:
    """Return the selection of a single split, or of folds with the mean of their values."""
    if len(folds) == 1:
        return folds[0].selected
    each = [fold.selected for fold in folds]
    lists: dict[str, Any] = {key: [one[key] for one in each] for key in ("epoch", "epochs") if key in each[0]}
    return {**each[0], **lists, "value": mean_value(each)}


def _learnt_range(folds: list[TrainedFold]) -> dict[str, Any]:
    """Return the smallest and the largest number learnt from; nothing for classes."""
    return {"label_range": widest(f.spec.target_range for f in folds)} if folds[0].task == "regression" else {}


def _fold_record(corpus: Corpus, fold: TrainedFold, split: Split) -> dict[str, Any]:
    labelled = corpus.labelled_N
    parts = {"train": split.train, "val": split.val, "test": split.test}
    return {
        "name": fold.name,
        "n": {part: int(labelled[rows].sum()) for part, rows in parts.items()},
        "utterances": {part: len(rows) for part, rows in parts.items()},
        "selected": fold.selected,
        "val": fold.val,
    }
