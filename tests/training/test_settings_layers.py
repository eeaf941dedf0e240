"""How a run's settings come together: what a missing rate alone means."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.core.errors import UsageError
from imer.training.settings import Settings
from imer.training.settings_layers import load_settings, useless_settings


def with_rate(rate: str, **given: object) -> Settings:
    return load_settings(flags={"train": {"missing_rate": rate, **given}})


def test_a_missing_rate_alone_names_its_protocol() -> None:
    assert with_rate("0.3").train.protocol == "matched"
    assert with_rate("text=0.3").train.protocol == "imbalanced"
    assert with_rate("0.3", protocol="instance").train.protocol == "instance"


def test_a_protocol_that_is_written_somewhere_is_kept(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[train]\nprotocol = "instance"\n')
    flags = {"train": {"missing_rate": "0.3"}}
    assert load_settings(config=config, flags=flags).train.protocol == "instance"
    there = {"IMER_TRAIN_PROTOCOL": "matched-static"}
    assert load_settings(flags=flags, environment=there).train.protocol == "matched-static"
    assert load_settings(flags=flags, assignments=["train.protocol=instance"]).train.protocol == "instance"


def test_what_a_fitted_model_has_no_use_for_is_named() -> None:
    """As a flag and as an assignment; what it has a use for is not, nor anything where a network is trained."""
    flags = {"train": {"max_epochs_joint": 3, "seed": 1}}
    assignments = ["train.learning_rate=0.5", "class_weights=none"]
    for model, useless in (("linear", ["learning_rate", "max_epochs_joint"]), ("mlp", [])):
        chosen = {**flags, "run": {"model": model}}
        settings = load_settings(flags=chosen, assignments=assignments)
        assert useless_settings(settings, chosen, assignments) == useless


def test_a_preset_is_no_name_for_the_settings_of_another(tmp_path: Path) -> None:
    """The settings of a finished run come after a preset and overrule all of it; a few of one's own are welcome."""
    resolved, own = tmp_path / "resolved.toml", tmp_path / "own.toml"
    resolved.write_text(load_settings(preset="comp").to_toml())
    own.write_text('[run]\npreset = "comp"\n[model]\nhidden = 64\n')
    for assignments in ([], ["run.preset=dpl"]):
        with pytest.raises(UsageError, match=r"of the preset 'comp', .* the preset 'dpl' says of run\.head"):
            load_settings(preset=None if assignments else "dpl", config=resolved, assignments=assignments)
    assert load_settings(preset="comp", config=resolved).run.head == "linear"
    mine = load_settings(preset="dpl", config=own)
    assert (mine.run.preset, mine.run.head, mine.model.hidden) == ("dpl", "dpl", 64)
