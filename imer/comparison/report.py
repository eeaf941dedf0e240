"""`imer report`: evaluated runs side by side, with everything that a reader needs to believe a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from imer.comparison.contestants import MARKED, marked
from imer.comparison.document import (
    Block,
    Grid,
    Heading,
    Paragraph,
    Picture,
    as_html,
    as_latex_document,
    as_markdown_document,
)
from imer.comparison.evaluated_run import EvaluatedRun, check_distinct, data_key, on_one_scale, read_run
from imer.comparison.matched import join_matched
from imer.comparison.methods import Method, group_methods, same_test_part
from imer.comparison.over_runs import left_out, over_runs
from imer.comparison.provenance import methods_section, runs_section
from imer.comparison.scoreboard import by_protocol, scoreboard
from imer.comparison.sections import (
    balance_blocks,
    calibration_blocks,
    class_blocks,
    difference_blocks,
    fold_blocks,
    metric_table,
    pattern_conditions,
    rate_conditions,
)
from imer.core.errors import InvalidInput, OutputExists, UsageError, listed
from imer.core.files import published_file, write_bytes
from imer.core.locks import output_lock
from imer.evaluation.balance_plots import balance_png, learning_png
from imer.evaluation.calibration_plot import calibration_png
from imer.evaluation.drawing import INTERVAL
from imer.evaluation.plots import confusion_png, curves_png, patterns_png, weights_png
from imer.evaluation.results import Evaluation
from imer.metrics.compute import METRICS
from imer.metrics.definitions import CALIBRATION_DEFINITION, CURVE_DEFINITION, DEFINITIONS, TITLES, lower_is_better
from imer.metrics.leading import telling

TITLE = "Emotion recognition with missing modalities"
FORMATS = (".html", ".md", ".tex")


def write_report(
    run_dirs: Sequence[Path],
    out: Path,
    *,
    reference: str | None = None,
    table: bool = False,
    overwrite: bool = False,
    warn: Callable[[str], None] = lambda _: None,
    notice: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write a report on evaluated runs; the ending of `out` chooses HTML, Markdown or LaTeX.

    Parameters
    ----------
    reference
        The method that the others are compared to; by default the first, and with `table` the best baseline.
    table
        Write the results table alone: methods × missing rates, with every method's difference to the reference.
    warn, notice
        Are told what the report leaves out, and whose lock was taken over.

    Returns
    -------
    The files written: the report, and its plots where the format cannot hold them.

    Raises
    ------
    UsageError
        No run, the same model twice, another ending, or a reference that is no method of the report.
    InvalidInput
        A run has not been evaluated, or the runs of a method were evaluated in nothing that all of them have.
    OutputExists
        `out` exists and `overwrite` is false, or another process is writing it.
    """
    out = Path(out)
    ending = out.suffix.lower()
    if ending not in FORMATS:
        raise UsageError(f"A report ends in one of {listed(FORMATS)}, but -o {out} was given.")
    if not run_dirs:
        raise UsageError("Name at least one run folder to report on.")
    if out.exists() and not overwrite:
        raise OutputExists(f"{out} exists already; choose another name or add --overwrite.")
    with output_lock(out, notice):
        runs = [read_run(path) for path in run_dirs]
        blocks = report_blocks(runs, prefix=out.stem, reference=reference, table=table, warn=warn)
        render = {".html": as_html, ".md": as_markdown_document, ".tex": as_latex_document}[ending]
        pictures = {out.parent / b.name: b.png for b in blocks if isinstance(b, Picture) and ending != ".html"}
        # The same runs in another format have the same pictures.
        other = [path for path, png in pictures.items() if path.exists() and not _holds(path, png)]
        if other and not overwrite:
            raise OutputExists(f"{other[0]} exists already; choose another name or add --overwrite.")
        for path, png in pictures.items():
            write_bytes(path, png)
        with published_file(out, overwrite=overwrite) as part:
            part.write_text(render(TITLE, blocks), encoding="utf-8")
        return [out, *pictures]


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _sections(runs: Sequence[EvaluatedRun]) -> list[list[Method]]:
    """Return the methods by data set and test part."""
    by_data: dict[tuple[str, ...], list[EvaluatedRun]] = {}
    for run in runs:
        by_data.setdefault(data_key(run.evaluation), []).append(run)
    by_data = {key: join_matched(on_one_scale(members)) for key, members in by_data.items()}
    return [methods for members in by_data.values() for methods in same_test_part(group_methods(members))]


def _omissions(methods: Iterable[Method]) -> list[str]:
    """Say what the means over runs leave out, since not all runs have it.

    Raises
    ------
    InvalidInput
        Nothing is left of a method.
    """
    sentences = []
    for method in methods:
        missing = left_out(method)
        if missing and not over_runs(method).summary:
            raise InvalidInput(
                f"The {len(method.runs)} runs of {method.name} were evaluated under nothing that all of them have "
                f"({listed(missing)}); evaluate them alike."
            )
        if missing:
            sentences.append(f"Not every run of {method.name} was evaluated under {listed(missing)}: left out.")
    return sentences


def report_blocks(
    runs: Sequence[EvaluatedRun],
    *,
    prefix: str = "report",
    reference: str | None = None,
    table: bool = False,
    warn: Callable[[str], None] = lambda _: None,
) -> list[Block]:
    """Return the report: one section per data set and test part, then the runs and what the metrics mean.

    With `table` a section is the results table alone (see `scoreboard`); `warn` is told what the report leaves out.

    Raises
    ------
    UsageError
        `reference` is no method of the report, or a run is named twice.
    """
    check_distinct(runs)
    sections = _sections(runs)
    tables = [_runs_of(methods) for methods in sections]
    if table:
        tables = [runs for members in tables for runs in by_protocol(members).values()]
    names = {method.name for members in tables for method in group_methods(members)}
    if reference is not None and reference not in names:
        raise UsageError(f"--reference {reference!r} is no method of this report; there are {listed(sorted(names))}.")
    blocks: list[Block] = []
    for sentence in _omissions(method for methods in sections for method in methods):
        warn(sentence)
        blocks.append(Paragraph(sentence))
    for number, methods in enumerate(sections, start=1):
        name = prefix if len(sections) == 1 else f"{prefix}-{number}"
        blocks += _head(methods)
        if table:
            blocks += [*_warned(methods), *scoreboard(_runs_of(methods), reference)]
        else:
            blocks += _data_section(methods, name, reference)
    blocks += methods_section(sections) if table else runs_section(runs)
    tasks = {run.evaluation.task for run in runs}
    told = {name for methods in sections for name in _told(methods[0].evaluation)}
    rows = [[name, TITLES[name], DEFINITIONS[name]] for task in sorted(tasks) for name in METRICS[task] if name in told]
    blocks += [
        Heading("What the metrics mean"),
        Grid((["metric", "name", "definition"], rows)),
        Paragraph(CURVE_DEFINITION),
        *([Paragraph(CALIBRATION_DEFINITION)] if "classification" in tasks and not table else []),
    ]
    return blocks


def _head(methods: Sequence[Method]) -> list[Block]:
    """Say which data and how much of it."""
    first = methods[0].evaluation
    counts = first.counts
    source = Path(str(first.features["path"])).name
    folds = f" of {counts['folds']} folds pooled" if counts["folds"] > 1 else ""
    constant = f" Baseline: always the {'majority class' if first.class_names else 'mean label'} of training."
    baseline = constant if first.baseline["metrics"] is not None else ""
    return [
        Heading(f"{first.label} on {source}, {first.split} split"),
        Paragraph(
            f"{counts['labelled']} labelled utterances of {counts['dialogues']} dialogues{folds} "
            f"({counts['utterances']} utterances with context); modalities: {', '.join(first.modalities)}.{baseline}"
        ),
    ]


def _told(evaluation: Evaluation) -> list[str]:
    """Return the metrics that say something of the label, the headline first."""
    return list(dict.fromkeys([*evaluation.headline, *telling(evaluation.task, evaluation.label_range)]))


def _runs_of(methods: Iterable[Method]) -> list[EvaluatedRun]:
    return [run for method in methods for run in method.runs]


def _warned(methods: Sequence[Method]) -> list[Block]:
    """Repeat what the evaluations warned of, and say of which methods."""
    said: dict[str, dict[str, None]] = {}
    for method in methods:
        for run in method.runs:
            for sentence in run.evaluation.warnings:
                said.setdefault(sentence, {})[method.name] = None
    everybody = len(methods) > 1
    return [
        Paragraph(f"{'All' if everybody and len(names) == len(methods) else listed([*names], 20)}: {sentence}")
        for sentence, names in said.items()
    ]


def _data_section(methods: Sequence[Method], prefix: str, reference: str | None) -> list[Block]:
    first = methods[0].evaluation
    merged = [(marked(method), over_runs(method)) for method in methods]
    several = any(len(method.runs) > 1 for method in methods)
    cells = []
    if several:
        cells.append("mean ± sd over runs (each the mean over its masks)")
    if any(len(method.runs) == 1 for method in methods):
        cells.append(f"{'of a single run the ' if several else ''}mean over masks, with the {INTERVAL}")
    blocks: list[Block] = [Paragraph(f"Cells: {'; '.join(cells)}.")]
    blocks += _warned(methods)
    if any(one.run.get("optimistic") for _, one in merged):
        blocks.append(Paragraph(MARKED))
    for conditions, what in (
        (rate_conditions(merged), "missing rate (nominal / realised)"),
        (pattern_conditions(merged), "observed modalities"),
    ):
        for metric in _told(first) if conditions else ():
            blocks.append(
                Grid(
                    metric_table(merged, methods, conditions, metric),
                    f"{TITLES[metric]} by {what}{lower_is_better(metric)}.",
                )
            )
    blocks += _uneven_curves(merged)
    name, shown = merged[0]
    of_first = " (its first run)" if len(methods[0].runs) > 1 else ""
    where = "at the lowest and highest missing rate" if shown.rate_curve() else "in the first and the last condition"
    pictures = [
        ("curve", curves_png(merged, _band_name(methods)), "Headline metrics over the realised missing rate."),
        ("patterns", patterns_png(shown, _band_name(methods[:1])), f"{name}: fixed sets of observed modalities."),
        ("weights", weights_png(shown), f"{name}: mean coordinator weight of each modality."),
        ("balance", balance_png(shown), f"{name}: what each modality can do, adds, and how it is weighed{of_first}."),
        ("learning", learning_png(shown), f"{name}: the modalities in training, mean over folds{of_first}."),
        ("calibration", calibration_png(shown), f"{name}: how often answers of a probability are right{of_first}."),
        ("confusion", confusion_png(shown), f"{name}: confusion {where}."),
    ]
    blocks += [Picture(f"{prefix}-{kind}.png", png, caption) for kind, png, caption in pictures if png is not None]
    blocks += class_blocks(merged)
    blocks += difference_blocks(methods, reference)
    blocks += fold_blocks(methods)
    blocks += balance_blocks(methods)
    blocks += calibration_blocks(methods)
    return blocks


def _uneven_curves(merged: Sequence[tuple[str, Evaluation]]) -> list[Block]:
    """Say where areas under curves over missing rates are of different rates."""
    spans = {
        name: f"{curve[0].realised_rate:.3f} to {curve[-1].realised_rate:.3f}"
        for name, one in merged
        if one.aulc_mr and (curve := one.rate_curve())
    }
    if len(set(spans.values())) < 2:
        return []
    told = listed([f"{name} {span}" for name, span in spans.items()], 10)
    return [Paragraph(f"AULC-MR is over different missing rates, and not to be compared: {told}.")]


def _band_name(methods: Sequence[Method]) -> str:
    counts = {len(method.runs) > 1 for method in methods}
    if counts == {False}:
        return INTERVAL
    return "± 1 sd over runs" if counts == {True} else f"± 1 sd over runs; {INTERVAL} for a single run"
