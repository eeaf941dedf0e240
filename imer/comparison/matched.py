"""Runs that were trained for one missing rate each, joined into one curve."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from imer.comparison.evaluated_run import EvaluatedRun, joint_digest
from imer.comparison.methods import method_settings
from imer.core.errors import InvalidInput
from imer.evaluation.results import area_under_curve, rounded
from imer.training.settings import ONE_RATE


def join_matched(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    """Join runs that were trained for one missing rate each, and are equal otherwise, into one curve.

    Each speaks for its own rate alone: that is what the protocol `matched` means. Other runs stay as they are. A rate that was
    trained again with the same seed is a curve of its own.

    Raises
    ------
    InvalidInput
        One of them was not evaluated at its own rate.
    """
    families: dict[tuple[str, object, int], list[tuple[float, EvaluatedRun]]] = {}
    met: Counter[tuple[str, object, float]] = Counter()
    for number, run in enumerate(runs):
        rate = _trained_rate(run)
        if rate is None:
            families[str(number), None, 0] = [(-1.0, run)]
            continue
        method = json.dumps({**method_settings(run), "train.missing_rate": None}, sort_keys=True)
        seed = run.evaluation.run["seed"]
        families.setdefault((method, seed, met[method, seed, rate]), []).append((rate, run))
        met[method, seed, rate] += 1
    # A seed of which only one rate was finished is still a curve beside its other seeds.
    curves = {method for (method, *_), members in families.items() if len({rate for rate, _ in members}) > 1}
    joined = []
    for (method, *_), members in families.items():
        if method in curves:
            joined.append(_joined(sorted(members, key=lambda member: member[0])))
        else:
            joined += [run for _, run in members]
    return joined


def _trained_rate(run: EvaluatedRun) -> float | None:
    settings = run.evaluation.run["settings"]
    if settings["train.protocol"] not in ONE_RATE:
        return None
    try:
        return float(rounded(float(settings["train.missing_rate"])))  # as the summary has it
    except ValueError:
        return None


def _joined(members: Sequence[tuple[float, EvaluatedRun]]) -> EvaluatedRun:
    summary, folders = [], []
    for rate, run in members:
        own = [one for one in run.evaluation.summary if one.pattern is None and one.missing_rate == rate]
        if not own:
            path = run.evaluation.run["path"]
            raise InvalidInput(
                f"{path} was trained for the missing rate {rate:g}, as one of several that make a curve together, but it was "
                f"not evaluated there: `imer eval {path} --missing-rate {rate:g}`."
            )
        summary += own
        folders += [(folder, rate) for folder, _ in run.folders]
    first = members[0][1].evaluation
    settings = {**first.run["settings"], "train.missing_rate": ""}
    evaluation = replace(
        first,
        run={**first.run, "settings": settings, **_facts_together([run.evaluation.run for _, run in members])},
        summary=summary,
        results=[],
        aulc_mr=area_under_curve(summary, first.task),
        diagnostics={},
    )
    return EvaluatedRun(tuple(folders), evaluation)


def _facts_together(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what joined runs have in common: the mean of their validation scores, one digest, any optimism."""
    found: dict[str, Any] = {"sha256": joint_digest(facts), "optimistic": any(one.get("optimistic") for one in facts)}
    selected = [one.get("selected") or {} for one in facts]
    values = [one["value"] for one in selected if one.get("value") is not None]
    if values:
        found["selected"] = {**selected[0], "value": float(np.mean(values)) if len(values) == len(facts) else None}
    return found
