"""Evaluations as JSON, summaries over masks, and the area under the curve."""

import json
from dataclasses import replace

import pytest

from imer.core.errors import InvalidInput
from imer.core.files import write_json
from imer.evaluation.results import Evaluation, MetricSummary, area_under_curve, rounded, summarise
from tests.evaluation.examples import example


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_evaluation_reads_back(tmp_path, task):
    evaluation = example(task)
    write_json(tmp_path / "metrics.json", evaluation.to_json())
    again = Evaluation.read(tmp_path / "metrics.json")
    assert again.to_json() == evaluation.to_json()
    assert again.summary[3].metrics["ua" if task == "classification" else "mae"].ci_low is not None


def test_an_evaluation_says_of_which_range_its_labels_are_and_an_older_one_leads_as_it_did(tmp_path):
    ratings, sentiment = (example("regression", label_range=one) for one in ([1.0, 5.0], [-3.0, 2.8]))
    for number, evaluation in enumerate((ratings, sentiment)):
        path = tmp_path / f"{number}.json"
        write_json(path, evaluation.to_json())
        assert Evaluation.read(path).headline == evaluation.headline
        document = evaluation.to_json()
        del document["label_range"]
        write_json(path, document)
        assert Evaluation.read(path).headline == ("acc2_non0", "mae")
        assert Evaluation.read(path).to_json() == document
    assert (ratings.headline, sentiment.headline) == (("mae", "ccc"), ("acc2_non0", "mae"))
    assert ratings.metric_names[:3] == ("mae", "ccc", "corr")
    assert "label_range" not in example("classification").to_json()


@pytest.mark.parametrize("document", ["[]", "{}", '{"schema": "imer.evaluation/1"}', "no json"])
def test_another_file_is_refused(tmp_path, document):
    (tmp_path / "metrics.json").write_text(document)
    with pytest.raises(InvalidInput, match=r"metrics\.json"):
        Evaluation.read(tmp_path / "metrics.json")


def test_a_straight_line_has_its_middle_as_area():
    evaluation = example("classification")
    curve = evaluation.rate_curve()
    assert [one.missing_rate for one in curve] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    middle = (curve[0].metrics["ua"].mean + curve[-1].metrics["ua"].mean) / 2
    assert evaluation.aulc_mr["ua"] == pytest.approx(middle)


def test_the_area_needs_a_curve_and_defined_values():
    evaluation = example("regression")
    assert area_under_curve(evaluation.summary[:1], "regression") == {}
    assert area_under_curve(evaluation.patterns(), "regression") == {}
    undefined = {**evaluation.summary[1].metrics, "corr": MetricSummary(None, None, None, None)}
    summary = [evaluation.summary[0], replace(evaluation.summary[1], metrics=undefined), evaluation.summary[2]]
    areas = area_under_curve(summary, "regression")
    assert areas["corr"] is None
    assert areas["mae"] == pytest.approx(0.68)


def test_summaries_over_masks():
    assert summarise([0.5, 0.7], (0.4, 0.8)) == MetricSummary(
        pytest.approx(0.6), pytest.approx(0.2**0.5 / 10**0.5), 0.4, 0.8
    )
    assert summarise([0.5], None) == MetricSummary(0.5, None, None, None)
    assert summarise([0.5, None], (0.4, 0.8)) == MetricSummary(None, None, None, None)


def test_json_has_no_nan():
    assert json.loads(json.dumps(rounded({"a": [float("nan"), 1 / 3], "b": (True, 2)}), allow_nan=False)) == {
        "a": [None, 0.333333333333],
        "b": [True, 2],
    }
