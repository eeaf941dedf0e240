"""Tables say what was measured, and survive awkward names."""

import csv
import io
from dataclasses import replace

import pytest

from imer.evaluation.results import MetricSummary
from imer.evaluation.tables import (
    as_latex,
    as_markdown,
    as_tsv,
    condition_table,
    interval,
    number,
    terminal_tables,
    tidy_table,
)
from imer.metrics.compute import METRICS
from imer.metrics.leading import telling
from tests.evaluation.examples import example


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_condition_table_has_every_metric_and_the_baseline(task):
    columns, rows = condition_table(example(task))
    assert set(METRICS[task]) <= set(columns)
    assert len(rows) == 8 + 7 + 1
    assert rows[-1][0].startswith("baseline")
    assert rows[7][columns.index("missing_rate")] == "0.7"
    assert rows[7][columns.index("realised")] == "0.667"
    assert all(len(row) == len(columns) for row in rows)


def test_of_ratings_mae_and_ccc_come_first_with_their_intervals():
    ratings = example("regression", label_range=[1.0, 5.0])
    columns, rows = condition_table(ratings)
    first = columns.index("n") + 1
    assert columns[first : first + 6] == ["mae", "mae 95 %", "ccc", "ccc 95 %", "corr", "acc2_non0"]
    assert (rows[0][first], rows[0][first + 2], rows[-1][first + 2]) == ("0.600", "0.850", "–")
    (_, (headline, cells)), (_, (others, _)) = terminal_tables(ratings)
    assert headline == ["condition", "realised", "mae", "ccc"]
    assert cells[0][2] == "0.600 [0.550, 0.640]"
    assert others == ["condition", "corr"]
    for table in (condition_table, terminal_tables):
        assert table(example("regression", label_range=[-3.0, 3.0])) == table(example("regression"))


@pytest.mark.parametrize(
    ("task", "label_range"), [("classification", None), ("regression", None), ("regression", [0.0, 100.0])]
)
def test_the_tables_of_a_terminal_fit_80_columns_and_lose_no_metric_that_says_something(task, label_range):
    parts = terminal_tables(example(task, label_range=label_range))
    shown = [name for _, (columns, _) in parts for name in columns]
    assert set(telling(task, label_range)) == set(METRICS[task]) & set(shown)
    for _, (columns, rows) in parts:
        widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
        assert sum(widths) + 3 * len(widths) + 1 <= 80
        assert [row[0] for row in rows][7:9] == ["0.7", "a"]


def test_the_tidy_table_reads_back():
    columns, rows = tidy_table(example("regression"))
    found = list(csv.DictReader(io.StringIO(as_tsv((columns, rows))), delimiter="\t"))
    assert len(found) == (8 + 7) * len(METRICS["regression"])
    one = next(r for r in found if r["missing_rate"] == "0.5" and r["metric"] == "mae")
    assert float(one["mean"]) == pytest.approx(1.0)
    assert (float(one["ci_low"]), float(one["ci_high"])) == pytest.approx((0.95, 1.04))
    assert (one["n_masks"], one["n"], one["baseline"]) == ("5", "300", "1.3")


def test_undefined_is_a_dash_for_people_and_empty_for_programs():
    evaluation = example("regression")
    nothing = MetricSummary(None, None, None, None)
    first = replace(evaluation.summary[0], metrics={**evaluation.summary[0].metrics, "corr": nothing})
    evaluation = replace(evaluation, summary=[first])
    columns, rows = condition_table(evaluation)
    assert rows[0][columns.index("corr")] == number(None) == "–"
    columns, rows = tidy_table(evaluation)
    assert next(row for row in rows if row[columns.index("metric")] == "corr")[columns.index("mean")] == ""
    assert interval(0.1, None) == "–"


def test_markdown_and_latex_escape_what_they_must():
    table = (["a|b", "n_masks"], [["50 % & more", "0.5"], ["x", "–"]])
    assert as_markdown(table).splitlines()[:2] == [r"| a\|b | n_masks |", "| --- | ---: |"]
    latex = as_latex(table, caption="100 %")
    assert r"50 \% \& more & 0.5 \\" in latex
    assert r"\begin{tabular}{lr}" in latex
    assert r"\caption{100 \%}" in latex
    assert as_tsv((["a"], [["tab\there"]])) == "a\ntab here\n"
    words = (["metric", "definition", "value"], [["acc2", "predictions > 0 " * 9, "+0.034 [+0.008, +0.061] *"]])
    assert r"\begin{tabular}{lp{0.6\linewidth}r}" in as_latex(words)
    assert r"predictions $>$ 0" in as_latex(words)


def test_what_a_mask_is_stands_beside_it():
    evaluation = example()
    assert "detail" not in condition_table(evaluation)[0]
    of_file = replace(evaluation.summary[0], detail="mask 1e4de")
    columns, rows = condition_table(replace(evaluation, summary=[of_file, *evaluation.summary[1:]]))
    assert [row[columns.index("detail")] for row in rows[:2]] == ["mask 1e4de", "–"]
    assert {len(row) for row in rows} == {len(columns)}
