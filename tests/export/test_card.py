"""The model card: front matter that parses, the run's own numbers, the licences that apply."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from imer.core.registry import OPENSMILE_LICENCE
from imer.core.types import FeatureSpec
from imer.export.card import CardFacts, model_card
from imer.export.record import card_facts, run_record
from imer.training.run_folder import RunFolder
from tests.export.conftest import Shipped

AUDIO = FeatureSpec("audio", "opensmile/egemaps", "opensmile 2.6.0", "utterance", 88, licence=OPENSMILE_LICENCE)
TEXT = FeatureSpec("text", "minilm", "1", "utterance", 384, licence="Apache-2.0")
FACTS = CardFacts(
    name="comp-demo",
    task="classification",
    label="emotion",
    class_names=("angry", "happy"),
    model="comp",
    fold="fold-2",
    specs=(AUDIO, TEXT),
    metrics={"val": {"n": 20, "wa": 0.8125, "ua": None}, "test": {"n": 30, "wa": 0.75, "ua": 0.7}},
    counts={"train": 100, "val": 20, "test": 30},
    data_sha256="ab" * 32,
    training={"Masks while training": "matched 0.5", "Stopped at": None},
    n_parameters=1234567,
)


def test_the_front_matter_is_yaml_with_the_runs_numbers() -> None:
    _, front, _ = model_card(FACTS).split("---\n", 2)
    parsed = yaml.safe_load(front)
    assert parsed["license"] == "other"
    results = parsed["model-index"][0]["results"]
    assert [r["dataset"]["split"] for r in results] == ["val", "test"]
    assert results[0]["metrics"] == [{"type": "wa", "name": "WA (overall accuracy)", "value": 0.8125}]
    assert [m["value"] for m in results[1]["metrics"]] == [0.75, 0.7]


def test_the_card_says_what_where_from_and_how_good() -> None:
    card = model_card(FACTS)
    for wanted in (
        "of an utterance from audio and text",
        "1,234,567 parameters",
        "fold `fold-2`",
        "| val | 20 | 0.8125 | undefined |",
        "ab" * 32,
        "100 train, 20 val, 30 test",
        "matched 0.5",
        f"`{AUDIO.fingerprint[:12]}`",
        "all_missing",
    ):
        assert wanted in card
    assert "Stopped at" not in card


@pytest.mark.parametrize(
    ("specs", "mentioned"), [((AUDIO, TEXT), True), ((TEXT, replace(TEXT, modality="gaze")), False)]
)
def test_opensmiles_licence_is_named_where_it_applies(specs: tuple[FeatureSpec, ...], mentioned: bool) -> None:
    assert ("audEERING" in model_card(replace(FACTS, specs=specs))) is mentioned


def test_a_run_without_metrics_says_so() -> None:
    assert "The run recorded no metrics" in model_card(replace(FACTS, metrics={}))


def test_a_card_has_no_polarity_of_ratings_from_1_to_5(regressor: Shipped) -> None:
    run = RunFolder.open(regressor.run)
    about = run_record(run, regressor.fold)
    assert "Acc-2" in model_card(card_facts(regressor.fold, about, 1))
    rated = replace(regressor.fold, spec=replace(regressor.fold.spec, target_range=(1.0, 5.0)))
    card = model_card(card_facts(rated, about, 1))
    assert "Acc-" not in card
    assert "MAE" in card
