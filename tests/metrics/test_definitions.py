"""Every metric has a definition that says how it averages and what it leaves out."""

from imer.metrics.compute import METRICS
from imer.metrics.definitions import DEFINITIONS, TITLES, explanation


def test_every_metric_is_defined_and_named():
    names = {name for task in METRICS.values() for name in task}
    assert names == set(DEFINITIONS) == set(TITLES)


def test_the_explanation_says_what_is_easily_mistaken():
    text = explanation()
    for name in DEFINITIONS:
        assert f"  {name} " in text
    assert "whose label is exactly 0 are left out" in DEFINITIONS["acc2_non0"]
    assert "such as ratings from 1 to 5, MAE and CCC" in " ".join(text.split())
    assert "zero labels included" in DEFINITIONS["mae"]
    assert "equal weight" in DEFINITIONS["ua"]
    assert "number of its labels as weight" in DEFINITIONS["f1_weighted"]
