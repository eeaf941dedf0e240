"""`sweep`: train and evaluate many runs into one folder, continued from wherever it was interrupted.

sweep.json    what was asked for
runs/<name>/  one ordinary run folder for each cell, with its evaluation in eval/
table.md      the results table; results.tsv: the same figures as rows; grid.tsv: what validation says of a grid
errors.jsonl  the cells that failed, if any
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from imer._version import __version__
from imer.batches.corpus import Corpus
from imer.batches.splits import Split
from imer.comparison.document import as_latex_document, as_markdown_document
from imer.comparison.evaluated_run import on_one_scale, read_run
from imer.comparison.report import TITLE, report_blocks
from imer.core.devices import chosen_device
from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.core.files import read_json, write_json, write_text
from imer.core.json_lines import as_json_lines
from imer.core.locks import output_lock
from imer.core.pool import Pool, job_count
from imer.evaluation.conditions import make_conditions
from imer.evaluation.evaluate import check_mask_seeds
from imer.evaluation.tables import as_tsv
from imer.experiments.cells import FINISHED, OTHER, CellJob, State, state_of
from imer.experiments.choice import Variant, choose
from imer.experiments.plan import Asked, Cell, plan
from imer.experiments.tables import all_rows, summary_of, variant_rows
from imer.masks.sampling import GRID, check_rate, reachable_grid
from imer.training.build import check_modalities, model_spec
from imer.training.data import divide, read_corpus
from imer.training.listener import Listener
from imer.training.run_folder import read_metrics
from imer.training.settings import ONE_RATE
from imer.training.settings_layers import no_use_for, useless_settings

FORMAT = "imer-sweep/1"
ERRORS_FILE = "errors.jsonl"
RESULTS = ("table.md", "table.tex", "results.tsv", "grid.tsv")


@dataclass
class SweepResult:
    """What a sweep did; or, after `dry_run`, what there is to do.

    states    name of a cell → how far it was when the sweep began
    failed    the records of errors.jsonl
    summary   one entry for every method and condition, over seeds; variants: what validation says of the grid
    label_range   of all labels, by which the metrics of its tables are ordered; None for classes
    """

    cells: list[Cell]
    states: dict[str, State]
    task: str
    label: str
    failed: list[dict[str, Any]] = field(default_factory=list)
    summary: list[dict[str, Any]] = field(default_factory=list)
    variants: list[Variant] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    label_range: list[float] | None = None

    @property
    def finished(self) -> list[str]:
        """The cells that were finished before."""
        return [name for name, state in self.states.items() if state.kind == FINISHED]


def sweep(
    features: Path,
    out: Path,
    asked: Asked,
    *,
    jobs: str = "auto",
    overwrite: bool = False,
    dry_run: bool = False,
    listener: Listener | None = None,
) -> SweepResult:
    """Train and evaluate every cell of a sweep, several at a time, and write the table of all that are finished.

    Cells that fail are in the result and in errors.jsonl; they raise nothing, and the others go on.

    Parameters
    ----------
    asked
        Without rates: the reachable ones of 0, 0.1 … 0.7.
    jobs
        Processes at a time, or `auto`: one a core.
    overwrite
        Make cells again that were made with other settings or features. Finished ones are kept.

    Raises
    ------
    UsageError
        What is asked for cannot be done by any cell: a name, a setting, a rate.
    InvalidInput
        The features are missing, damaged, or cannot be learnt from.
    OutputExists
        `out` is something else than a sweep, holds cells made with other settings, or another process works on it.
    """
    listener, out = _once(listener or Listener()), Path(out)
    n_jobs = job_count(jobs)
    _check_folder(out)
    first = plan(replace(asked, seeds=asked.seeds[:1], rates=asked.rates or (0.0,)), features)[0]
    chosen_device(first.settings.train.device)
    corpus = read_corpus(first.settings.data, listener.warn)
    splits = divide(corpus, first.settings, listener.warn)
    judged = _judged(corpus, splits, asked)
    if not asked.rates or asked.rates_reachable:
        every = [reachable_grid(corpus.present_NM[rows], asked.rates or GRID) for rows in judged]
        shared = tuple(rate for rate in every[0] if all(rate in rates for rates in every))
        asked = replace(asked, rates=shared or asked.rates)  # none of a grid: refused below
    cells = plan(asked, features)
    for cell in cells:
        check_modalities(corpus, cell.settings.run.model)
    _check(cells[0], asked, corpus, splits, judged)
    if useless := _useless(cells):
        listener.note(no_use_for(sorted({cell.settings.run.model for cell in cells}), useless))
    states = {cell.name: state_of(cell, _folder(out, cell), corpus.content_sha256) for cell in cells}
    result = SweepResult(cells, states, corpus.task, corpus.label)
    if dry_run:
        return result
    with output_lock(out, listener.note):
        _check_folder(out)
        _refuse_others(out, states, overwrite=overwrite)
        _begin(out, features, asked, states)
        _work(result, features, out, n_jobs, listener)
        _conclude(result, out)
    return result


def _useless(cells: Sequence[Cell]) -> list[str]:
    """Return the settings of `train` that were named though no run of the sweep has a use for them, sorted."""
    of_each = (useless_settings(c.settings, c.training["flags"], c.training["assignments"]) for c in cells)
    return sorted(set.intersection(*(set(names) for names in of_each)))


def _once(listener: Listener) -> Listener:
    """Return a listener that passes a warning on once: many runs say the same."""
    said: set[str] = set()

    def warn(message: str) -> None:
        if message not in said:
            said.add(message)
            listener.warn(message)

    return replace(listener, warn=warn)


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutputExists(f"{out} is a file; a sweep is a folder. Choose another name.")
    if out.is_dir() and any(out.iterdir()) and not _is_sweep(out):
        raise OutputExists(f"{out} exists and is not the folder of a sweep; choose another name.")


def _is_sweep(out: Path) -> bool:
    try:
        return bool(read_json(out / "sweep.json").get("format") == FORMAT)
    except (InvalidInput, AttributeError):
        return False


def _folder(out: Path, cell: Cell) -> Path:
    return out / "runs" / cell.name


def _judged(corpus: Corpus, splits: Sequence[Split], asked: Asked) -> list[np.ndarray]:
    """Return the rows of every part that must be able to lose as much as a missing rate says, the test part first."""
    judged = [np.unique(np.concatenate([split.test for split in splits]))]
    if not corpus.labelled_N[judged[0]].any():
        raise UsageError("A sweep compares on the test part, and there is none with labels; --folds 5 tests on all.")
    if any(protocol in ONE_RATE for protocol in asked.protocols):
        judged += [rows for split in splits for rows in (split.train, split.val)]
    return judged


def _check(cell: Cell, asked: Asked, corpus: Corpus, splits: Sequence[Split], judged: Sequence[np.ndarray]) -> None:
    """Refuse at once what would fail in every cell."""
    model_spec(corpus, splits[0].train, cell.settings.train.class_weights, splits[0].name)
    make_conditions(tuple(corpus.modalities), pattern=asked.pattern)
    for rows in judged:
        for rate in asked.rates:
            check_rate(corpus.present_NM[rows], rate)
    check_mask_seeds(asked.mask_seeds)


def _refuse_others(out: Path, states: dict[str, State], *, overwrite: bool) -> None:
    others = [(name, state) for name, state in states.items() if state.kind == OTHER]
    if others and not overwrite:
        name, state = others[0]
        more = f" ({len(others) - 1} more are of that kind)" if len(others) > 1 else ""
        raise OutputExists(
            f"{out / 'runs' / name} was made with {state.why}{more}; sweep with the same settings, choose another folder, or "
            "add --overwrite to make such runs again."
        )


def _begin(out: Path, features: Path, asked: Asked, states: dict[str, State]) -> None:
    wishes = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(asked).items()}
    document = {
        "format": FORMAT,
        "imer_version": __version__,
        "features": str(features),
        "asked": wishes,
        "runs": list(states),
    }
    # The table of another sweep, or of other features, would be taken for that of this one, should it be interrupted.
    is_another = not _is_sweep(out) or read_json(out / "sweep.json") != json.loads(json.dumps(document))
    if is_another or any(state.kind == OTHER for state in states.values()):
        _remove_results(out)
    write_json(out / "sweep.json", document)


def _remove_results(out: Path, but: Collection[Path] = ()) -> None:
    for name in RESULTS:
        if out / name not in but:
            (out / name).unlink(missing_ok=True)


def _work(result: SweepResult, features: Path, out: Path, n_jobs: int, listener: Listener) -> None:
    """Do what is not finished, and keep the list of failures up to date."""
    todo = [
        CellJob(cell, features, _folder(out, cell), anew=result.states[cell.name].kind == OTHER)
        for cell in result.cells
        if result.states[cell.name].kind != FINISHED
    ]
    done = len(result.cells) - len(todo)
    _write_errors(out, [])
    if done:
        listener.note(f"{done} of {len(result.cells)} runs are finished already.")
    if not todo:
        return
    with Pool(n_jobs) as pool:
        for outcome in pool.run(todo):
            done += 1
            name = outcome.job.cell.name
            for warning in outcome.warnings:
                listener.warn(warning)
            if outcome.failure:
                result.failed.append({"run": name, "folder": str(outcome.job.folder), **outcome.failure})
                _write_errors(out, result.failed)
                listener.note(f"{name} failed: {outcome.failure['message']}")
            listener.progress("runs", done, len(result.cells))


def _write_errors(out: Path, failed: Sequence[dict[str, Any]]) -> None:
    path = out / ERRORS_FILE
    if failed:
        write_text(path, as_json_lines(failed))
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def _conclude(result: SweepResult, out: Path) -> None:
    """Let validation choose among the settings of the grid, and write the table of what it chose."""
    failed = {one["run"] for one in result.failed}
    selected = {
        cell.name: read_metrics(_folder(out, cell))["selected"] for cell in result.cells if cell.name not in failed
    }
    if not selected:
        _remove_results(out)
        return
    result.variants = choose(result.cells, selected)
    folders = [out / "runs" / name for variant in result.variants if variant.chosen for name in variant.cells]
    runs = on_one_scale([read_run(folder) for folder in folders])
    result.label_range = runs[0].evaluation.label_range
    result.summary = summary_of(runs)
    blocks = report_blocks(runs, table=True)
    texts = {
        "table.md": as_markdown_document(TITLE, blocks),
        "table.tex": as_latex_document(TITLE, blocks),
        "results.tsv": as_tsv(all_rows(result.summary, result.task, result.label_range)),
    }
    for name, text in texts.items():
        write_text(out / name, text)
        result.written.append(out / name)
    if any(variant.settings for variant in result.variants):
        write_text(out / "grid.tsv", as_tsv(variant_rows(result.variants)))
        result.written.append(out / "grid.tsv")
    _remove_results(out, result.written)
