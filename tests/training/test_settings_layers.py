"""How a run's settings come together: what a missing rate alone means."""

from __future__ import annotations

from pathlib import Path

from imer.training.settings import Settings
from imer.training.settings_layers import load_settings


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
