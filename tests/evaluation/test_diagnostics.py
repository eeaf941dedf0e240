"""Balance figures against cases worked out by hand."""

from __future__ import annotations

import pytest

from imer.evaluation.diagnostics import evenness, learning_balance, mean_gains, pattern_balance
from tests.evaluation.examples import example

MODALITIES = ["audio", "text", "visual"]
ADDITIVE = {"a": 0.3, "t": 0.5, "v": 0.2, "at": 0.6, "av": 0.3, "tv": 0.5, "atv": 0.6}  # 0.2 + .1 audio + .3 text


def test_what_only_adds_up_is_what_each_modality_gains() -> None:
    gains = mean_gains(ADDITIVE, MODALITIES, 0.2, 1.0)
    assert gains == pytest.approx({"audio": 0.1, "text": 0.3, "visual": 0.0})
    halves = mean_gains({"a": 0.6, "t": 0.6, "at": 0.6}, ["audio", "text"], 0.5, 1.0)
    assert halves == pytest.approx({"audio": 0.05, "text": 0.05})  # either says it all


def test_gains_sum_to_the_whole_and_a_lower_error_is_a_gain() -> None:
    errors = {name: 2 - value for name, value in ADDITIVE.items()}
    gains = mean_gains(errors, MODALITIES, 1.8, -1.0)
    assert gains == pytest.approx(mean_gains(ADDITIVE, MODALITIES, 0.2, 1.0))
    assert sum(gains.values()) == pytest.approx(ADDITIVE["atv"] - 0.2)
    assert mean_gains({**ADDITIVE, "tv": None}, MODALITIES, 0.2, 1.0) == {}
    assert mean_gains(ADDITIVE, MODALITIES, None, 1.0) == {}


def test_evenness_runs_from_none_to_all() -> None:
    assert evenness([0.2, 0.2, 0.2, 0.2]) == pytest.approx(1.0)
    assert evenness([0.7, 0.0, 0.0]) == 0.0
    assert evenness([0.5, 0.5, 0.0]) == pytest.approx(0.6309, abs=1e-4)
    assert evenness([0.0, 0.0]) is None


def test_the_worst_pattern_and_the_loss_without_a_modality() -> None:
    evaluation = example()
    found = pattern_balance(evaluation.summary, MODALITIES, ["ua"], {"ua": 0.25, "wa": 0.3})["ua"]
    value = {one.pattern: one.metrics["ua"].mean for one in evaluation.patterns()}
    assert found["worst_pattern"]["value"] == min(value.values())
    assert found["drop_one"]["text"] == pytest.approx(value["atv"] - value["av"])
    assert found["equity"] == pytest.approx(1.0)  # the example's scores depend on how many there are, not on which


def test_of_an_error_the_highest_is_the_worst_and_a_rise_is_a_loss() -> None:
    evaluation = example("regression")
    found = pattern_balance(evaluation.summary, MODALITIES, ["mae"])["mae"]
    value = {one.pattern: one.metrics["mae"].mean for one in evaluation.patterns()}
    assert found["worst_pattern"]["value"] == max(value.values()) > min(value.values())
    assert found["drop_one"] == pytest.approx(
        {m: value[rest] - value["atv"] for m, rest in zip(MODALITIES, ("tv", "av", "at"), strict=True)}
    )
    assert min(found["drop_one"].values()) > 0


def test_gains_in_agreement_are_from_that_of_a_constant_on_which_is_none() -> None:
    evaluation = example("regression", label_range=[1.0, 5.0])
    value = {one.pattern: one.metrics["ccc"].mean for one in evaluation.patterns()}
    assert evaluation.baseline["metrics"]["ccc"] is None
    gains = evaluation.diagnostics["balance"]["ccc"]["contribution"]
    assert gains == pytest.approx(mean_gains(value, MODALITIES, 0.0, 1.0))
    assert sum(gains.values()) == pytest.approx(value["atv"])
    assert pattern_balance(evaluation.summary, MODALITIES, ["ccc"])["ccc"]["contribution"] == {}


def test_learning_balance_is_the_mean_over_epochs_and_folds() -> None:
    log = [
        {"fold": fold, "stage": "joint", "epoch": epoch, "gradient_share": {"audio": share, "text": 1 - share},
         "val_branches": {"audio": {"ua": 0.4}, "text": {"ua": 0.6 + 0.1 * fold}}}
        for fold, epoch, share in ((0, 1, 0.2), (0, 2, 0.4), (1, 1, 0.6))
    ]  # fmt: skip
    found = learning_balance(log)
    assert found["gradient_share"]["joint"] == pytest.approx({"audio": 0.4, "text": 0.6})
    assert found["learning_balance"]["joint"] == pytest.approx(0.97095, abs=1e-4)
    first, second = found["curves"]
    assert (first["gradient_share"]["audio"], second["gradient_share"]["audio"]) == pytest.approx((0.4, 0.4))
    assert (first["metric"], first["branches"]["text"]) == ("ua", pytest.approx(0.65))
    assert learning_balance([]) == {}
