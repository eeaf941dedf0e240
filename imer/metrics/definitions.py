"""What each metric means, in words: printed by `imer eval --explain` and at the foot of every report."""

from __future__ import annotations

from textwrap import fill

from imer.metrics.compute import LOWER_IS_BETTER, METRICS

_WIDTH = 100  # columns of the explanation

TITLES = {
    "wa": "WA",
    "ua": "UA",
    "f1_weighted": "weighted F1",
    "f1_macro": "macro F1",
    "acc2_non0": "Acc-2 (neg/pos)",
    "f1_non0": "F1 (neg/pos)",
    "acc2_has0": "Acc-2 (neg/non-neg)",
    "f1_has0": "F1 (neg/non-neg)",
    "acc7": "Acc-7 (round)",
    "acc7_sdk": "Acc-7 (sdk)",
    "mae": "MAE",
    "corr": "Corr",
    "ccc": "CCC",
}

DEFINITIONS = {
    "wa": "overall accuracy: correct utterances / labelled utterances. Not weighted by class.",
    "ua": "unweighted average recall (UAR): recall of each class, averaged with equal weight over the classes that "
    "occur among the labels; a class without a labelled utterance is left out (balanced accuracy).",
    "f1_weighted": "F1 of each class, averaged with the number of its labels as weight.",
    "f1_macro": "F1 of each class, averaged with equal weight over the classes that occur among the labels or the "
    "predictions.",
    "acc2_non0": "negative against positive (MMSA's Non0): utterances whose label is exactly 0 are left out; positive "
    "means > 0 for label and prediction alike (a prediction of 0 counts as negative); accuracy.",
    "f1_non0": "on the utterances and the two classes of acc2_non0: F1 of each class, averaged with the number of its "
    "labels as weight.",
    "acc2_has0": "negative against non-negative (MMSA's Has0): all labelled utterances; non-negative means ≥ 0 for "
    "label and prediction alike; accuracy.",
    "f1_has0": "on the utterances and the two classes of acc2_has0: F1 of each class, averaged with the number of its "
    "labels as weight.",
    "acc7": "label and prediction clipped to −3 … 3 and rounded to the nearest whole number, halves to the even one; "
    "share of equal pairs over all labelled utterances.",
    "acc7_sdk": "label and prediction clipped to −3 … 3 and rounded away from zero (the CMU Multimodal SDK's rule); "
    "share of equal pairs over all labelled utterances.",
    "mae": "mean absolute error over all labelled utterances, zero labels included, in the label's own units. Lower is "
    "better.",
    "corr": "Pearson correlation over all labelled utterances, zero labels included; undefined (null) when labels or "
    "predictions are constant.",
    "ccc": "concordance correlation, 2·cov / (var + var + difference of means²) with population variances, over all "
    "labelled utterances; undefined (null) when labels or predictions are constant.",
}

CURVE_DEFINITION = (
    "AULC-MR: area under the metric–missing-rate curve by the trapezoid rule over the realised rates, divided by their "
    "range, so that it has the metric's own units."
)

CALIBRATION_DEFINITION = (
    "Calibration error (ECE): answers are put into ten bins of equal width by the probability that the model gives them; the "
    "mean over answers of the distance between their bin's mean probability and the share of it that is right. 0 is perfect."
)


def lower_is_better(metric: str) -> str:
    """Return what a caption adds behind the title of a metric; nothing where higher is better, as everybody assumes."""
    return ", lower is better" if metric in LOWER_IS_BETTER else ""


def explanation() -> str:
    """Return the text of `imer eval --explain`: every metric with its averaging and what is left out."""
    lines = [
        "Labels always come first, predictions second. Utterances without a label are left out of every metric, but stay "
        "in their dialogue as context. Undefined values are null, never 0."
    ]
    for task, names in METRICS.items():
        lines += ["", f"{task}:"]
        lines += [f"  {name:12s} {TITLES[name]}: {DEFINITIONS[name]}" for name in names]
    lines += [
        "",
        f"Higher is better except for {', '.join(sorted(LOWER_IS_BETTER))}.",
        "Of numbers on both sides of 0 and within ±3, as sentiment is, Acc-2 and MAE lead tables and plots; of all others, "
        "such as ratings from 1 to 5, MAE and CCC do, since Acc-2, its F1 and Acc-7 say little of them.",
        CURVE_DEFINITION,
        CALIBRATION_DEFINITION,
    ]
    hanging = " " * 15
    return "\n".join(
        fill(line, _WIDTH, subsequent_indent=hanging if line.startswith("  ") else "") if line else "" for line in lines
    )
