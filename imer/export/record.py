"""Where an exported model came from and how good it is: what `bundle.json` and the model card say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imer.core.errors import listed
from imer.core.files import followed, sha256_file
from imer.core.settings import flat
from imer.export.card import CardFacts
from imer.metrics.leading import telling
from imer.training.origin import Origin
from imer.training.run_folder import RunFolder
from imer.training.selection import is_optimistic
from imer.training.settings import NOT_THE_RESULT
from imer.training.trained_fold import TrainedFold

_PARTS = {"val": "validation", "test": "test"}


def run_record(run: RunFolder, fold: TrainedFold) -> dict[str, Any]:
    """Return where a model came from and how good it is: what `bundle.json` and the card say."""
    metrics = run.metrics
    of_fold = next(entry for entry in metrics["folds"] if entry["name"] == fold.name)
    return {
        "name": followed(run.path).name,
        "model": run.settings["run"]["model"],
        "head": run.settings["run"]["head"],
        "fold": fold.name,
        "n_folds": len(run.folds),
        "content_sha256": Origin.read(run.path).content_sha256,
        "metrics_sha256": sha256_file(run.path / "metrics.json"),
        "protocol": metrics["protocol"],
        "missing_rate": metrics["missing_rate"],
        "seed": run.settings["train"]["seed"],
        "settings": {key: value for key, value in flat(run.settings).items() if key not in NOT_THE_RESULT},
        "utterances": of_fold["utterances"],
        "labelled": of_fold["n"],
        "taught": len(fold.train_ids),  # by all members together: each may have left out others for its validation
        "selected": fold.selected,
        "optimistic": is_optimistic(fold.selected),
        "longest_dialogue": fold.longest_dialogue,
        "constant_answer": fold.constant_answer,
        "val": fold.val,
        "test": _test_means(metrics["test"]),
        # Without its bins; a run of before has none.
        "calibration": [{k: v for k, v in one.items() if k != "bins"} for one in metrics.get("calibration", [])],
    }


def _test_means(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one entry per test condition: metrics averaged over its masks, None where one of them is undefined."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for result in results:
        key = (result["protocol"], str(result["missing_rate"]), result["pattern"])
        groups.setdefault(key, []).append(result)
    means = []
    for group in groups.values():
        first = group[0]
        columns = {key: [one["metrics"][key] for one in group] for key in first["metrics"]}
        means.append(
            {
                "protocol": first["protocol"],
                "missing_rate": first["missing_rate"],
                "pattern": first["pattern"],
                "realised_rate": float(np.mean([one["realised_rate"] for one in group])),
                "masks": len(group),
                "n": first["n"],
                "metrics": {
                    key: None if any(v is None for v in values) else float(np.mean(values))
                    for key, values in columns.items()
                },
            }
        )
    return means


def card_facts(fold: TrainedFold, about: Mapping[str, Any], n_parameters: int) -> CardFacts:
    """Return what the card states of an exported model."""
    selected, counts = fold.selected, dict(about["utterances"])
    optimistic = is_optimistic(selected)
    judged = "test" if optimistic else "val"
    where = f"{_PARTS[judged]}, at the selected epoch" + (", which was chosen on it" if optimistic else "")
    taught = about.get("taught", counts["train"])
    if taught > counts["train"]:
        where = "validation, mean of the members, each on a part of its own, at the selected epochs"
        counts["train"] = f"{taught} (by all members together; each leaves out about {counts['val']} of them)"
        del counts["val"]  # each member has its own
    metrics = {where: {"n": about["labelled"][judged], **fold.val}}
    pooled = f", all {about['n_folds']} folds pooled" if about["n_folds"] > 1 else ""
    for entry in about["test"]:
        metrics[f"test, {_condition(entry)}{pooled}"] = {"n": entry["n"], **entry["metrics"]}
    # Acc-2 of labels from 0 to 100 would look like a result in a card.
    told = ("n", *telling(fold.task, fold.spec.target_range))
    metrics = {where: {name: value for name, value in of.items() if name in told} for where, of in metrics.items()}
    chosen = f"{_epochs(selected)}, by {selected['metric']} on the {_PARTS[judged]} part"
    return CardFacts(
        name=about["name"],
        task=fold.task,
        label=fold.label,
        class_names=fold.class_names,
        model=f"{about['model']} (head: {about['head']})",
        fold=fold.name,
        specs=[fold.specs[name] for name in fold.modalities],
        metrics=metrics,
        counts=counts,
        data_sha256=about["content_sha256"],
        training={
            "Modalities hidden in training": " ".join(str(v) for v in (about["protocol"], about["missing_rate"]) if v),
            "Selected": f"{chosen}: **all figures of it are optimistic**" if optimistic else chosen,
            "Seed": about["seed"],
            "Longest dialogue": f"{fold.longest_dialogue} utterances" if fold.longest_dialogue else "",
            **({"Features relative to their speaker": listed(fold.within_speaker)} if fold.within_speaker else {}),
        },
        n_parameters=n_parameters,
        calibration=about.get("calibration", []),
    )


def _condition(entry: Mapping[str, Any]) -> str:
    """Say what was hidden in a test."""
    if entry["pattern"]:
        return str(entry["pattern"])
    if entry["protocol"] == "complete":
        return "as the data are"
    rate = "" if entry["missing_rate"] is None else f"{entry['missing_rate']:g}, "
    realised = f", {entry['realised_rate']:.3f} realised" if "realised_rate" in entry else ""
    return f"missing rate {rate}{entry['protocol']}{realised}"


def _epochs(selected: Mapping[str, Any]) -> str:
    """Say which epoch was selected, or which of each member of an ensemble."""
    each = selected.get("epochs")
    return f"epochs {listed(each)} of its {len(each)} members" if each else f"epoch {selected['epoch']}"
