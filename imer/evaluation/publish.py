"""The folder of an evaluation: metrics.json, results.tsv, predictions.jsonl and the plots, published in one step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imer.core.errors import InvalidInput, OutputExists
from imer.core.files import read_json, write_json, write_text
from imer.core.folders import published_folder
from imer.evaluation.plots import all_plots
from imer.evaluation.pooled import Pooled
from imer.evaluation.results import SCHEMA, Evaluation
from imer.evaluation.summary import Drawn
from imer.evaluation.tables import as_tsv, tidy_table
from imer.metrics.compute import labelled, predicted_values

if TYPE_CHECKING:
    from imer.batches.corpus import Corpus

METRICS_FILE = "metrics.json"
TABLE_FILE = "results.tsv"
PREDICTIONS_FILE = "predictions.jsonl"


def check_output(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that an evaluation must not replace.

    Raises
    ------
    OutputExists
        `out` has content that is no evaluation, or is one and `overwrite` is false.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not _is_evaluation(out):
        raise OutputExists(f"{out} exists and does not hold the results of `imer eval`; choose another folder with -o.")
    if not overwrite:
        raise OutputExists(f"{out} holds an evaluation already; choose another folder or add --overwrite.")


def _is_evaluation(out: Path) -> bool:
    if not (out / METRICS_FILE).is_file():
        return False
    try:
        document = read_json(out / METRICS_FILE)
    except InvalidInput:
        return False
    return isinstance(document, dict) and document.get("schema") == SCHEMA


def publish(
    evaluation: Evaluation, pooled: Pooled, drawn: Sequence[Drawn], corpus: Corpus, out: Path, *, plots: bool = True
) -> None:
    """Write the folder `out`, replacing what `check_output` allowed to be replaced."""
    with published_folder(out, overwrite=True) as part:
        write_json(part / METRICS_FILE, evaluation.to_json())
        write_text(part / TABLE_FILE, as_tsv(tidy_table(evaluation)))
        with open(part / PREDICTIONS_FILE, "w", encoding="utf-8") as file:
            file.writelines(prediction_lines(evaluation, pooled, drawn, corpus))
        for name, png in all_plots(evaluation).items() if plots else ():
            (part / name).write_bytes(png)


def prediction_lines(evaluation: Evaluation, pooled: Pooled, drawn: Sequence[Drawn], corpus: Corpus) -> Iterator[str]:
    """Yield one JSON line per condition, mask and utterance: every metric can be recomputed from them."""
    modalities = evaluation.modalities
    heads = _row_heads(evaluation, pooled, corpus)
    observed = _observed_texts(modalities)
    code_M = 1 << np.arange(len(modalities))
    for one in drawn:
        condition = one.condition
        for index, mask_seed in zip(one.mask_index, one.mask_seeds, strict=True):
            shared = json.dumps(
                {
                    "protocol": condition.protocol,
                    "missing_rate": condition.rate,
                    "pattern": condition.pattern,
                    "detail": condition.detail,
                    "mask_seed": mask_seed,
                }
            )[1:-1]
            output_PC = pooled.output_SPC[index]
            answers = _answers(output_PC, evaluation.class_names)
            weights = np.round(pooled.weights_SPM[index].astype(np.float64), 6).tolist()
            codes = (pooled.observed_SPM[index] * code_M).sum(axis=1).tolist()
            for head, answer, weight, code in zip(heads, answers, weights, codes, strict=True):
                shares = json.dumps(dict(zip(modalities, weight, strict=True)))
                yield f'{{{head}, {shared}, {answer}, "observed": {observed[code]}, "weights": {shares}}}\n'


def _answers(output_PC: np.ndarray, class_names: Sequence[str]) -> Iterator[str]:
    """Yield the prediction of each row as the inside of a JSON object."""
    outputs = output_PC.astype(np.float64)
    if not class_names:
        for value in outputs[:, 0].tolist():
            yield f'"prediction": {value}, "value": {value}'
        return
    chosen = predicted_values(outputs, len(class_names)).tolist()
    for winner, shares in zip(chosen, np.round(outputs, 6).tolist(), strict=True):
        answer = {"prediction": class_names[winner], "probabilities": dict(zip(class_names, shares, strict=True))}
        yield json.dumps(answer, ensure_ascii=False)[1:-1]


def _row_heads(evaluation: Evaluation, pooled: Pooled, corpus: Corpus) -> list[str]:
    """Return the part of each line that is the same under every mask."""
    target_P = corpus.target_N[pooled.rows_P]
    known_P = labelled(target_P)
    heads = []
    for row, fold, target, known in zip(
        pooled.rows_P.tolist(), pooled.fold_P.tolist(), target_P.tolist(), known_P.tolist(), strict=True
    ):
        label: Any = None
        if known:
            label = evaluation.class_names[target] if evaluation.class_names else target
        head = {
            "utterance_id": corpus.utterance_ids[row],
            "dialogue_id": corpus.dialogue_ids[row].lstrip("\0"),
            "fold": evaluation.run["folds"][fold],
            "split": evaluation.split,
            "label": label,
        }
        heads.append(json.dumps(head, ensure_ascii=False)[1:-1])
    return heads


def _observed_texts(modalities: Sequence[str]) -> list[str]:
    """Return the JSON list of observed modalities for every bit pattern."""
    return [
        json.dumps([m for bit, m in enumerate(modalities) if code >> bit & 1]) for code in range(1 << len(modalities))
    ]
