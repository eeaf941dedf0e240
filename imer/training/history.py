"""What a training log (`log.jsonl`) tells about the modalities: their share of the gradient, their own heads' scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imer.core.json_lines import read_json_lines

Log = Sequence[Mapping[str, Any]]
LOG_FILE = "log.jsonl"  # in a run folder


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the records of a run's training log, one an epoch; none where there is no log.

    Raises
    ------
    InvalidInput
        It is damaged.
    """
    return read_json_lines(run / LOG_FILE) if (run / LOG_FILE).is_file() else []


def mean_shares(log: Log) -> dict[str, dict[str, float]]:
    """Return the mean share of each modality in the gradient, over epochs and folds: stage → modality → share."""
    found: dict[str, dict[str, list[float]]] = {}
    for record in log:
        for modality, share in record.get("gradient_share", {}).items():
            found.setdefault(record["stage"], {}).setdefault(modality, []).append(share)
    return {
        stage: {modality: round(sum(shares) / len(shares), 6) for modality, shares in by_modality.items()}
        for stage, by_modality in found.items()
    }


def curves(log: Log) -> list[dict[str, Any]]:
    """Return one entry per stage and epoch, averaged over the folds that were still learning.

    Each has `stage`, `epoch`, `gradient_share` (modality → share), `metric` and `branches` (modality → validation score
    of its own head, where it is observed).
    """
    order: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    stages = list(dict.fromkeys(record["stage"] for record in log))
    for record in log:
        order.setdefault((record["stage"], record["epoch"]), []).append(record)
    found = []
    for stage, epoch in sorted(order, key=lambda place: (stages.index(place[0]), place[1])):
        records = order[stage, epoch]
        branches = [_branches(record) for record in records]
        metrics = {name for one in branches for scores in one.values() for name in scores}
        metric = min(metrics) if metrics else ""
        found.append(
            {
                "stage": stage,
                "epoch": epoch,
                "gradient_share": _means([record.get("gradient_share", {}) for record in records]),
                "metric": metric,
                "branches": _means([{m: scores.get(metric) for m, scores in one.items()} for one in branches]),
            }
        )
    return found


def _branches(record: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return modality → metric → score of a record of either kind of stage."""
    if "val_branches" in record:
        return dict(record["val_branches"])
    return {name: scores for name, scores in record.get("val", {}).items() if isinstance(scores, dict)}


def _means(values: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    names = list(dict.fromkeys(name for one in values for name in one))
    means = {}
    for name in names:
        defined = [value for one in values if (value := one.get(name)) is not None]
        if defined:
            means[name] = round(sum(defined) / len(defined), 6)
    return means
