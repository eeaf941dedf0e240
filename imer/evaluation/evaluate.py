"""Evaluate a trained run over missing rates and patterns: `imer eval`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imer.core.errors import InvalidInput, UsageError
from imer.core.locks import output_lock
from imer.evaluation.bootstrap import REPLICATES
from imer.evaluation.conditions import Condition, as_far_as_reachable, make_conditions
from imer.evaluation.diagnostics import branch_metrics, learning_balance, pattern_balance
from imer.evaluation.pooled import Pooled, Progress, pooled_predictions
from imer.evaluation.publish import METRICS_FILE, check_output, publish
from imer.evaluation.results import Evaluation, area_under_curve
from imer.evaluation.source import Source, open_source
from imer.evaluation.subject import Subject, subject_of_run
from imer.evaluation.summary import Drawn, Labels, constant_baseline, summarise_condition
from imer.masks.make import draw_mask
from imer.masks.sampling import missing_rate as realised_rate
from imer.masks.table import MaskTable
from imer.metrics.calibration import calibration
from imer.metrics.compute import Metrics, constant_answer
from imer.metrics.leading import headline

if TYPE_CHECKING:
    from imer.batches.corpus import Corpus
    from imer.training.trained_fold import TrainedFold

MASK_SEEDS = 5
MOST_MASK_SEEDS = 1000  # each different mask is a pass over the data
EVALUATION_FOLDER = "eval"


def evaluate(
    run_dir: Path | Subject,
    features: Path | None = None,
    *,
    missing_rate: str | float | None = None,
    pattern: str | None = None,
    mask: Path | None = None,
    protocol: str | None = None,
    mask_seeds: int = MASK_SEEDS,
    split: str = "test",
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    replicates: int = REPLICATES,
    plots: bool = True,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluate a run under missing modalities, pooling the predictions of its folds, and write the results.

    Parameters
    ----------
    run_dir
        A run folder of `imer train`; or a subject that was opened already, such as a bundle's.
    features
        The feature store; by default the one that the run was trained on.
    missing_rate
        A rate (0.5), a list (0,0.3), a grid with its end included as far as it can be reached (0:0.7:0.1), or one per modality
        (audio=0.2,text=0.7).
    pattern
        `all`, or patterns such as `a,at`: only these modalities are observed.
    mask
        A mask file of `imer mask` (or of anyone else), covering the utterances of the split.
    protocol
        How rates become masks. Default: `nested`, which makes the masks of all rates of one seed contain each other.
    mask_seeds
        Number of masks for each rate: seeds 0 … mask_seeds − 1. A rate under which all masks are equal gets one.
    split
        train, val or test; each fold of a cross-validated run contributes its own.
    out
        Folder for the results; by default `eval` in the run folder, which is replaced.
    replicates
        Bootstrap draws of dialogues for the 95 % intervals.
    plots
        Whether to draw the plots, too.

    Raises
    ------
    UsageError
        A rate that cannot be reached, an unknown pattern or split, a protocol without a rate.
    InvalidInput
        The run or the store is missing, damaged, or does not fit the other; or the split has no labels.
    OutputExists
        `out` has content already.

    Examples
    --------
    >>> from imer import evaluate  # doctest: +SKIP
    >>> evaluate(Path("runs/comp"), missing_rate="0:0.7:0.1").aulc_mr["ua"]  # doctest: +SKIP
    0.61
    """
    check_mask_seeds(mask_seeds)
    path = run_dir.path if isinstance(run_dir, Subject) else Path(run_dir)
    folder = path / EVALUATION_FOLDER if out is None else Path(out)
    replaceable = overwrite or out is None
    check_output(folder, overwrite=replaceable)  # before anything is loaded
    subject = run_dir if isinstance(run_dir, Subject) else subject_of_run(path, device)
    source = open_source(subject, features, split=split)
    with output_lock(folder, notice):
        check_output(folder, overwrite=replaceable)
        if notice is not None and (folder / METRICS_FILE).is_file():
            notice(f"{folder} holds an evaluation, which is replaced; -o DIR keeps both.")
        table = None if mask is None else MaskTable.read(mask)
        text = None if missing_rate is None else str(missing_rate)
        conditions = make_conditions(
            source.modalities, missing_rate=text, pattern=pattern, table=table, protocol=protocol
        )
        present_RM = source.corpus.present_NM[source.rows]
        conditions, left_out = as_far_as_reachable(conditions, present_RM, text)
        drawn, masks_SNM = draw_masks(source.corpus, source.rows, conditions, split=split, mask_seeds=mask_seeds)
        pooled = pooled_predictions(source.corpus, source.folds, masks_SNM, progress)
        evaluation = summarise_all(source, pooled, drawn, split=split, replicates=replicates, progress=progress)
        evaluation = replace(
            evaluation,
            counts={**evaluation.counts, "mask_seeds": mask_seeds},
            warnings=[*evaluation.warnings, *left_out],
        )
        publish(evaluation, pooled, drawn, source.corpus, folder, plots=plots)
    return evaluation


def check_mask_seeds(mask_seeds: int) -> None:
    """Refuse a number of masks a rate that nobody can mean.

    Raises
    ------
    UsageError
        It is below 1 or above `MOST_MASK_SEEDS`.
    """
    if not 1 <= mask_seeds <= MOST_MASK_SEEDS:
        raise UsageError(f"--mask-seeds lies in 1 … {MOST_MASK_SEEDS}, but {mask_seeds} was given.")


def draw_masks(
    corpus: Corpus, rows: np.ndarray, conditions: Sequence[Condition], *, split: str, mask_seeds: int
) -> tuple[list[Drawn], np.ndarray]:
    """Draw every condition's masks over the evaluated rows.

    Returns
    -------
    The conditions with the indices of their masks, and the distinct masks bool [S, N, M] over the whole corpus (false
    outside `rows`). Equal masks are predicted once; a condition whose masks are all equal, such as rate 0, has one.
    """
    ids, present_RM = corpus.utterance_ids[rows], corpus.present_NM[rows]
    modalities = tuple(corpus.modalities)
    index_of: dict[bytes, int] = {}
    masks: list[np.ndarray] = []
    drawn = []
    for condition in conditions:
        one_mask = condition.table is not None or condition.pattern is not None
        indices, seeds = [], []
        for seed in range(1 if one_mask else mask_seeds):
            observed_RM = _observed(condition, ids, present_RM, modalities, split, seed)
            key = np.packbits(observed_RM).tobytes()
            if key not in index_of:
                index_of[key] = len(masks)
                mask_NM = np.zeros(corpus.present_NM.shape, dtype=bool)
                mask_NM[rows] = observed_RM
                masks.append(mask_NM)
            indices.append(index_of[key])
            seeds.append(seed if condition.table is None else condition.table.seed)
        if len(set(indices)) == 1:  # as at rate 0; otherwise each seed counts, so that the mean is that over seeds
            indices, seeds = indices[:1], seeds[:1]
        drawn.append(Drawn(condition, indices, seeds))
    return drawn, np.stack(masks)


def _observed(
    condition: Condition,
    ids: np.ndarray,
    present_RM: np.ndarray,
    modalities: tuple[str, ...],
    split: str,
    seed: int,
) -> np.ndarray:
    """Return `observed_RM` in the order of `ids`."""
    if condition.table is not None:
        return condition.table.rows_for(ids, modalities) & present_RM
    table = draw_mask(
        present_RM,
        ids.tolist(),
        modalities,
        protocol=condition.protocol,
        rate=condition.rate,
        rates=dict(condition.rates) or None,
        pattern=condition.pattern,
        seed=seed,
        split=split,
    )
    return table.rows_for(ids, modalities)


def summarise_all(
    source: Source,
    pooled: Pooled,
    drawn: Sequence[Drawn],
    *,
    split: str,
    replicates: int = REPLICATES,
    progress: Progress | None = None,
) -> Evaluation:
    """Turn pooled predictions into the evaluation: metrics, intervals, baseline, curve and balance.

    Raises
    ------
    InvalidInput
        No utterance that was asked about has a label.
    """
    corpus, modalities = source.corpus, list(source.modalities)
    clusters, cluster_P = np.unique(corpus.dialogue_ids[pooled.rows_P].astype(str), return_inverse=True)
    labels = Labels(corpus.target_N[pooled.rows_P], cluster_P, len(clusters), len(corpus.class_names))
    if labels.n_labelled == 0:
        raise InvalidInput(
            f"None of the {len(pooled.rows_P)} utterances of the split {split} in {source.features['path']} has the "
            f"label {source.label}, so there is nothing to measure; label some, or use `imer predict`."
        )
    fold_names = source.run["folds"]
    results, summary = [], []
    for number, one in enumerate(drawn, start=1):
        per_mask, condition = summarise_condition(
            pooled, one, labels, split=split, modalities=modalities, fold_names=fold_names, n_replicates=replicates
        )
        results += per_mask
        summary.append(condition)
        if progress is not None:
            progress("intervals", number, len(drawn))
    leading = headline(labels.task, source.label_range)
    baseline = constant_baseline(labels, pooled.fold_P, [_constant_answer(one.fold, corpus) for one in source.folds])
    return Evaluation(
        run=source.run,
        features=source.features,
        task=labels.task,
        label=source.label,
        class_names=list(corpus.class_names),
        modalities=modalities,
        split=split,
        counts={
            "utterances": len(pooled.rows_P),
            "labelled": labels.n_labelled,
            "dialogues": len(clusters),
            "folds": len(fold_names),
            "masks": len(pooled.output_SPC),
            "conditions": len(drawn),
        },
        baseline={"kind": "majority" if labels.n_classes else "mean", "metrics": baseline},
        results=results,
        summary=summary,
        aulc_mr=area_under_curve(summary, labels.task),
        diagnostics={
            "balance": pattern_balance(summary, modalities, leading, baseline),
            "branches": _own_heads(pooled, labels, modalities),
            "learning": learning_balance(source.log),
            "calibration": calibration(pooled.output_SPC, pooled.observed_SPM, labels.target_P)
            if labels.n_classes
            else [],
        },
        warnings=_warnings(source, pooled, summary_without_any=[one.without_any for one in summary]),
        label_range=source.label_range,
    )


def _constant_answer(fold: TrainedFold, corpus: Corpus) -> float | None:
    """Return the majority class or mean label of what a fold learnt from; of an older one, where that is all in the corpus."""
    if fold.constant_answer is not None:
        return fold.constant_answer
    rows = corpus.rows_of(fold.train_ids)
    return constant_answer(corpus.target_N[rows]) if len(rows) == len(fold.train_ids) else None


def _own_heads(pooled: Pooled, labels: Labels, modalities: list[str]) -> dict[str, Metrics]:
    """Return the metrics of each modality's own head under the least masked condition."""
    fullest = int(np.argmin([realised_rate(observed_PM) for observed_PM in pooled.observed_SPM]))
    branches = {m: output_SPC[fullest] for m, output_SPC in pooled.branches.items()}
    return branch_metrics(branches, pooled.observed_SPM[fullest], modalities, labels.target_P, labels.n_classes)


def _warnings(source: Source, pooled: Pooled, summary_without_any: list[float]) -> list[str]:
    found = list(source.warnings)
    most = max(summary_without_any)
    if most:
        found.append(
            f"Under some conditions up to {most:g} of {len(pooled.rows_P)} utterances have no observed modality; they are "
            "predicted from their dialogue alone, and count."
        )
    return found
