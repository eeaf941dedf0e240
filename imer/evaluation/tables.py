"""Tables of results: rows for a terminal, TSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

from imer.evaluation.results import ConditionSummary, Evaluation
from imer.metrics.leading import telling

Table = tuple[list[str], list[list[str]]]  # column names, rows
UNDEFINED = "–"
_NUMERIC = re.compile(r"[-+−]?(\d|\[)[\d.,e\s±+−\[\]*-]*")
_LONG_CELL, _LATEX_TEXT = 60, r"p{0.6\linewidth}"  # letters; a column of sentences
_LATEX_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "≥": r"$\geq$", "−": "$-$",
        "<": "$<$", ">": "$>$",
    }
)  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """Write a number for a table; a dash where it is undefined."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"


def mean_and_sd(mean: float | None, sd: float | None) -> str:
    """Write mean ± sd; the mean alone where there is no deviation."""
    return number(mean) if mean is None or sd is None else f"{mean:.3f} ± {sd:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Write a 95 % interval as [low, high]; a dash where there is none."""
    return UNDEFINED if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def condition_table(evaluation: Evaluation) -> Table:
    """One row per condition with every metric, intervals for the headline metrics, and the baseline as last row."""
    names = evaluation.metric_names
    headline = evaluation.headline
    detailed = any(one.detail for one in evaluation.summary)  # rates by modality, or which mask file
    columns = ["protocol", "missing_rate", "realised", "pattern", *(["detail"] if detailed else []), "masks", "n"]
    for name in names:
        columns += [name, f"{name} 95 %"] if name in headline else [name]
    rows = [_condition_row(one, names, headline, detailed=detailed) for one in evaluation.summary]
    if evaluation.baseline["metrics"] is not None:
        cells = [f"baseline ({evaluation.baseline['kind']})", *([UNDEFINED] * (columns.index("n") - 1))]
        cells.append(str(evaluation.counts["labelled"]))
        for name in names:
            value = number(evaluation.baseline["metrics"][name])
            cells += [value, UNDEFINED] if name in headline else [value]
        rows.append(cells)
    return columns, rows


def terminal_tables(evaluation: Evaluation) -> list[tuple[str, Table]]:
    """Return the condition table in two parts that fit a terminal of 80 columns: headline metrics, and the others.

    Metrics that say nothing of labels like these are left out; they are in the files.
    """
    headline = evaluation.headline
    others = [name for name in telling(evaluation.task, evaluation.label_range) if name not in headline]
    counts = evaluation.counts
    title = (
        f"{evaluation.run['name']}: {evaluation.label}, {evaluation.split} split, {counts['labelled']} utterances of "
        f"{counts['dialogues']} dialogues, [95 % interval over dialogues]"
    )
    first = [[one.name, number(one.realised_rate)] for one in evaluation.summary]
    second = [[one.name] for one in evaluation.summary]
    for one, left, right in zip(evaluation.summary, first, second, strict=True):
        for name in headline:
            metric = one.metrics[name]
            bounds = "" if metric.ci_low is None else f" {interval(metric.ci_low, metric.ci_high)}"
            left.append(number(metric.mean) + bounds)
        right += [number(one.metrics[name].mean) for name in others]
    if evaluation.baseline["metrics"] is not None:
        value = {name: number(found) for name, found in evaluation.baseline["metrics"].items()}
        first.append(["baseline", UNDEFINED, *(value[name] for name in headline)])
        second.append(["baseline", *(value[name] for name in others)])
    return [(title, (["condition", "realised", *headline], first)), ("", (["condition", *others], second))]


def _condition_row(
    one: ConditionSummary, names: Sequence[str], headline: Sequence[str], *, detailed: bool
) -> list[str]:
    rate = UNDEFINED if one.missing_rate is None else f"{one.missing_rate:g}"
    cells = [one.protocol, rate, number(one.realised_rate), one.pattern or UNDEFINED]
    cells += [*([one.detail or UNDEFINED] if detailed else []), str(one.n_masks), str(one.n)]
    for name in names:
        metric = one.metrics[name]
        cells.append(number(metric.mean))
        if name in headline:
            cells.append(interval(metric.ci_low, metric.ci_high))
    return cells


def tidy_table(evaluation: Evaluation) -> Table:
    """One row per condition and metric, for R, pandas or a spreadsheet; empty cells where undefined."""
    columns = ["run", "split", "protocol", "missing_rate", "realised_rate", "pattern", "metric", "mean", "sd", "ci_low"]
    columns += ["ci_high", "n_masks", "n", "baseline", "detail"]
    baseline = evaluation.baseline["metrics"] or {}
    rows = []
    for one in evaluation.summary:
        for name, metric in one.metrics.items():
            values = [metric.mean, metric.sd, metric.ci_low, metric.ci_high]
            rows.append(
                [
                    str(evaluation.run["name"]),
                    one.split,
                    one.protocol,
                    _plain(one.missing_rate),
                    _plain(one.realised_rate),
                    one.pattern or "",
                    name,
                    *map(_plain, values),
                    str(one.n_masks),
                    str(one.n),
                    _plain(baseline.get(name)),
                    one.detail,
                ]
            )
    return columns, rows


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def as_tsv(table: Table) -> str:
    """Write a table as tab-separated text with a header line."""
    columns, rows = table
    clean = [[cell.replace("\t", " ").replace("\n", " ") for cell in row] for row in [columns, *rows]]
    return "".join("\t".join(row) + "\n" for row in clean)


def as_markdown(table: Table) -> str:
    """Write a table as GitHub Markdown; columns of numbers are right-aligned."""
    columns, rows = table
    clean = [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in [columns, *rows]]
    rule = ["---:" if numeric else "---" for numeric in _numeric_columns(table)]
    return "".join("| " + " | ".join(row) + " |\n" for row in [clean[0], rule, *clean[1:]])


def as_latex(table: Table, caption: str = "") -> str:
    """Write a table as LaTeX (needs the package booktabs)."""
    columns, rows = table
    widest = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    kinds = ["r" if numeric else _LATEX_TEXT if width > _LONG_CELL else "l"
             for numeric, width in zip(_numeric_columns(table), widest, strict=True)]  # fmt: skip
    layout = "".join(kinds)
    body = [" & ".join(cell.translate(_LATEX_SPECIAL) for cell in row) + r" \\" for row in [columns, *rows]]
    lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{layout}}}", r"\toprule", body[0], r"\midrule"]
    lines += [*body[1:], r"\bottomrule", r"\end{tabular}"]
    if caption:
        lines.append(rf"\caption{{{caption.translate(_LATEX_SPECIAL)}}}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def latex_text(text: str) -> str:
    """Escape plain text for LaTeX."""
    return text.translate(_LATEX_SPECIAL)


def _numeric_columns(table: Table) -> list[bool]:
    columns, rows = table
    return [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]


def _is_number(cell: str) -> bool:
    """Say whether a cell is a number, with or without its spread or its interval."""
    return cell in (UNDEFINED, "") or _NUMERIC.fullmatch(cell) is not None
