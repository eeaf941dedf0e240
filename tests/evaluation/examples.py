"""A finished evaluation made of plain numbers, for the tests of tables and plots."""

import numpy as np

from imer.evaluation.diagnostics import learning_balance, pattern_balance
from imer.evaluation.results import ConditionSummary, Evaluation, MaskResult, MetricSummary, area_under_curve
from imer.metrics.calibration import calibration
from imer.metrics.compute import METRICS
from imer.metrics.leading import headline

CLASSES = ["angry", "happy", "neutral", "sad"]


def example(
    task: str = "classification", name: str = "comp", shift: float = 0.0, label_range: list[float] | None = None
) -> Evaluation:
    """Return a sweep over eight rates and seven patterns with smooth, made-up numbers; of labels of this range."""
    rates = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    conditions = [("nested", r, min(r, 2 / 3), None, 5 if r else 1) for r in rates]
    patterns = ["a", "t", "v", "at", "av", "tv", "atv"]
    conditions += [("pattern", None, 1 - len(p) / 3, p, 1) for p in patterns]
    summary, results = [], []
    for protocol, rate, realised, pattern, n_masks in conditions:
        metrics = {m: _metric(m, realised, shift) for m in METRICS[task]}
        confusion = (np.full((4, 4), 20 * realised) + np.eye(4) * (100 - 60 * realised)).tolist()
        summary.append(
            ConditionSummary(
                split="test", protocol=protocol, missing_rate=rate, realised_rate=realised, pattern=pattern, n=300,
                n_masks=n_masks, metrics=metrics, confusion=confusion if task == "classification" else [],
                weights={"audio": 0.8, "text": 1.3 - realised / 3, "visual": 0.9 + realised / 3} if realised < 0.66 else {},
            )
        )  # fmt: skip
        plain = {m: value.mean for m, value in metrics.items()}
        results += [MaskResult("test", protocol, rate, realised, pattern, s, 300, plain) for s in range(n_masks)]
    return Evaluation(
        run={"name": name, "path": f"runs/{name}", "seed": 0},
        features={"path": "features.h5", "content_sha256": "0" * 64},
        task=task,
        label="emotion" if task == "classification" else "sentiment",
        class_names=CLASSES if task == "classification" else [],
        modalities=["audio", "text", "visual"],
        split="test",
        counts={"utterances": 310, "labelled": 300, "dialogues": 20},
        baseline={"kind": "majority" if task == "classification" else "mean", "metrics": _baseline(task)},
        results=results,
        summary=summary,
        aulc_mr=area_under_curve(summary, task),
        diagnostics=_diagnostics(summary, task, label_range),
        label_range=label_range,
    )


def _diagnostics(summary: list[ConditionSummary], task: str, label_range: list[float] | None) -> dict:
    modalities = ["audio", "text", "visual"]
    log = [
        {
            "stage": stage, "epoch": epoch, "gradient_share": dict(zip(modalities, (0.5, 0.3, 0.2), strict=True)),
            "val_branches": {m: {"ua": 0.5 + 0.01 * epoch} for m in modalities},
        }
        for stage in ("branches", "joint") for epoch in range(1, 6)
    ]  # fmt: skip
    return {
        "balance": pattern_balance(summary, modalities, headline(task, label_range), _baseline(task)),
        "branches": {m: dict.fromkeys(METRICS[task], 0.6) for m in modalities},
        "learning": learning_balance(log),
        "calibration": _calibration() if task == "classification" else [],
    }


def _calibration() -> list[dict]:
    """Answers of four classes under one, two and three observed modalities, the fewer the less sure."""
    rng = np.random.default_rng(0)
    output_SPC = np.stack([rng.dirichlet(np.full(4, 1.5 / n), 600) for n in (1, 2, 3)])
    observed_SPM = np.stack([np.arange(3) < np.full((600, 1), n) for n in (1, 2, 3)])
    return calibration(output_SPC, observed_SPM, rng.integers(4, size=600))


def _metric(name: str, realised: float, shift: float) -> MetricSummary:
    value = 0.6 + 0.8 * realised - shift if name == "mae" else 0.85 - 0.4 * realised + shift
    return MetricSummary(value, 0.01, value - 0.05, value + 0.04)


def _baseline(task: str) -> dict[str, float | None]:
    values = dict.fromkeys(METRICS[task], 0.3) if task == "classification" else dict.fromkeys(METRICS[task], 0.5)
    return {**values, **({"corr": None, "ccc": None, "mae": 1.3} if task == "regression" else {})}
