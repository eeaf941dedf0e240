"""Of ratings MAE and CCC lead in comparisons, too: also where not every evaluation says of what its labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from imer.comparison.contestants import contestants_of
from imer.comparison.document import Block, Grid, Paragraph
from imer.comparison.evaluated_run import EvaluatedRun, on_one_scale, read_run
from imer.comparison.report import report_blocks
from imer.core.files import write_json
from imer.evaluation.evaluate import evaluate
from imer.evaluation.results import Evaluation
from imer.training.train import train
from tests.stores import write_small_store


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[EvaluatedRun]:
    """A ridge and a perceptron of hardly any training, which learnt ratings on three folds."""
    folder = tmp_path_factory.mktemp("ratings")
    store = write_small_store(folder / "features.h5", sentiment_around=3.0)
    for model in ("mlp", "linear"):
        shared = {"data": {"label": "sentiment", "folds": "3"}, "run": {"model": model}}
        train(store, folder / model, flags=shared, assignments=["train.max_epochs_joint=1", "train.threads=1"])
        evaluate(folder / model, missing_rate="0,0.5", pattern="all", mask_seeds=2, device="cpu", replicates=100)
    return [read_run(folder / model) for model in ("mlp", "linear")]


def saying(run: EvaluatedRun, label_range: list[float] | None) -> EvaluatedRun:
    return replace(run, evaluation=replace(run.evaluation, label_range=label_range))


def captions(blocks: Sequence[Block]) -> list[str]:
    return [block.caption for block in blocks if isinstance(block, Grid)]


def test_the_results_table_leads_with_mae_and_finds_the_best_baseline_by_it(runs: list[EvaluatedRun]) -> None:
    blocks = report_blocks(runs, table=True)
    of_rates = [caption for caption in captions(blocks) if "by missing rate (" in caption]
    assert [caption.split(" by ")[0] for caption in of_rates] == ["MAE", "CCC", "Corr"]
    scores = {one.name: one.over_rates("mae") for one in contestants_of(runs)}
    assert min(scores, key=scores.__getitem__) == "linear"
    assert "minus the mean of linear" in of_rates[0]
    assert "lower is better" in of_rates[0]
    against = "MAE: each method minus linear, negative is better, with its 95 % interval, "
    assert {caption.removeprefix(against) for caption in captions(blocks) if caption.startswith("MAE: ")} == {
        "at each missing rate.",
        "by observed modalities.",
    }
    assert "MAE by observed modalities, lower is better." in captions(blocks)
    assert not any("Acc-2 (" in caption or "F1 (" in caption for caption in captions(blocks))


def test_a_report_shows_and_explains_what_says_something_of_ratings(runs: list[EvaluatedRun]) -> None:
    blocks = report_blocks(runs)
    by_rate = [caption for caption in captions(blocks) if "by missing rate" in caption]
    assert [caption.split(" by ")[0] for caption in by_rate] == ["MAE", "CCC", "Corr"]
    assert [caption for caption in captions(blocks) if "lower is better" in caption] == [
        "MAE by missing rate (nominal / realised), lower is better.",
        "MAE by observed modalities, lower is better.",
    ]
    assert [c.split(":")[0] for c in captions(blocks) if c.endswith(": difference.")] == ["MAE", "CCC"]
    grids = [block.table for block in blocks if isinstance(block, Grid)]
    assert next(columns for columns, _ in grids if "worst fold" in columns)[2] == "MAE pooled"
    (defined,) = [rows for columns, rows in grids if "definition" in columns]
    assert [row[0] for row in defined] == ["mae", "corr", "ccc"]


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_of_evaluations_that_disagree_all_labels_decide(runs: list[EvaluatedRun], first: int, table: bool) -> None:
    """The evaluation of an earlier version says nothing; that of another seed may have learnt from a narrower range."""
    older = [saying(run, None) if number == first else run for number, run in enumerate(runs)]
    assert str(report_blocks(older, table=table)) == str(report_blocks(runs, table=table))
    two_sided = [saying(runs[first], [0.2, 2.9]), saying(runs[1 - first], [-2.5, 1.0])]
    assert [one.evaluation.label_range for one in on_one_scale(two_sided)] == [[-2.5, 2.9]] * 2
    assert any(caption.startswith("Acc-2 (neg/pos) by") for caption in captions(report_blocks(two_sided, table=table)))


@pytest.mark.parametrize("table", [False, True])
def test_evaluations_from_before_are_shown_as_they_were(runs: list[EvaluatedRun], tmp_path: Path, table: bool) -> None:
    document = runs[0].evaluation.to_json()
    del document["label_range"]
    write_json(tmp_path / "metrics.json", document)
    older = [replace(runs[0], evaluation=Evaluation.read(tmp_path / "metrics.json")), saying(runs[1], None)]
    blocks = report_blocks(older, table=table)
    usual = ["F1 (neg/pos)", "Acc-2 (neg/pos)", "MAE", "Corr"] if table else ["Acc-2 (neg/pos)", "MAE", "F1 (neg/pos)"]
    assert [c.split(" by ")[0] for c in captions(blocks) if "by missing rate" in c][: len(usual)] == usual
    assert str(blocks) == str(report_blocks([saying(run, [-3.0, 3.0]) for run in runs], table=table))
    assert any(isinstance(block, Paragraph) and "Acc-2" in block.text for block in blocks)  # the warning
