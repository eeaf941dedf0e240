"""A run that was evaluated, as a comparison reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput, UsageError
from imer.core.files import read_json
from imer.core.folders import FOLDER_MANIFEST, stated_digest, verify_folder
from imer.evaluation.evaluate import EVALUATION_FOLDER
from imer.evaluation.publish import METRICS_FILE, PREDICTIONS_FILE
from imer.evaluation.results import Evaluation
from imer.metrics.leading import widest
from imer.training.origin import ORIGIN_FILE


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluation with the folders that it was read from, each with the only rate it speaks for (None: all)."""

    folders: tuple[tuple[Path, float | None], ...]
    evaluation: Evaluation


def read_run(path: Path) -> EvaluatedRun:
    """Read the evaluation of a run folder, or of an evaluation folder itself.

    Raises
    ------
    InvalidInput
        There is no such folder, it has not been evaluated, what was evaluated is not the model that lies in it,
        or its settings were changed.
    """
    path = Path(path)
    if not path.is_dir():
        raise InvalidInput(f"{path} is not a folder; name run folders of `imer train` that were evaluated.")
    own = path / PREDICTIONS_FILE
    folder = path if own.is_file() and not (path / "checkpoint").exists() else path / EVALUATION_FOLDER
    if (path / "sweep.json").is_file():
        raise InvalidInput(
            f"{path} is a sweep, whose table is {path / 'table.md'} and table.tex; to compare its runs with others, name them "
            f"({path / 'runs'}/*)."
        )
    if (path / "bundle.json").is_file():
        raise InvalidInput(
            f"{path} is a bundle; report on what `imer eval {path} FEATURES.h5 -o DIR` finds, or on the run that it came from."
        )
    if not (folder / METRICS_FILE).is_file():
        command = f"`imer eval {path}`"
        if not _was_tested(path):
            command = f"`imer eval {path} OTHER.h5`, since its training had no test part with labels"
        raise InvalidInput(f"{path} has not been evaluated: {folder / METRICS_FILE} is missing; run {command}.")
    if (folder / FOLDER_MANIFEST).is_file():
        verify_folder(folder, (METRICS_FILE, PREDICTIONS_FILE))
    evaluation = Evaluation.read(folder / METRICS_FILE)
    model = path / "checkpoint"
    if model.is_dir() and (path / FOLDER_MANIFEST).is_file():
        verify_folder(path, (ORIGIN_FILE, "config.toml"))
    if model.is_dir() and stated_digest(model) != evaluation.run["sha256"]:
        raise InvalidInput(f"{folder} is the evaluation of another model than {model}; run `imer eval {path}` again.")
    return EvaluatedRun(((folder, None),), evaluation)


def _was_tested(run: Path) -> bool:
    """Say whether the training of a run measured it; whoever cannot tell assumes so."""
    try:
        return bool(read_json(run / METRICS_FILE).get("test", True))
    except (InvalidInput, AttributeError):
        return True


def check_distinct(runs: Sequence[EvaluatedRun]) -> None:
    """Refuse one model twice on the same data: it would count as two seeds.

    Raises
    ------
    UsageError
        Two of the evaluations are of the same model on the same data and split.
    """
    seen: dict[tuple[Any, ...], Path] = {}
    for run in runs:
        folder = run.folders[0][0]
        model = (str(run.evaluation.run["sha256"]), run.evaluation.run.get("seed"), *data_key(run.evaluation))
        if model in seen:
            raise UsageError(
                f"{seen[model]} and {folder} are evaluations of one model, which would count as two seeds; name one of them, "
                "or evaluate all conditions at once (imer eval --missing-rate … --pattern …)."
            )
        seen[model] = folder


def on_one_scale(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    """Give runs on the same data the range of all their labels, so that the same metrics lead for all of them.

    What each learnt from may differ with its seed, and evaluations of earlier versions do not say it.
    """
    shared = widest(run.evaluation.label_range for run in runs)
    return [replace(run, evaluation=replace(run.evaluation, label_range=shared)) for run in runs]


def joint_digest(facts: Iterable[dict[str, Any]]) -> str:
    """Return one digest for several runs, over those of their checkpoints in order."""
    return hashlib.sha256("".join(str(one["sha256"]) for one in facts).encode()).hexdigest()


def data_key(evaluation: Evaluation) -> tuple[str, ...]:
    """Return what two evaluations must share to be put into one table: data, label and split."""
    return (str(evaluation.features["content_sha256"]), evaluation.task, evaluation.label, evaluation.split)
