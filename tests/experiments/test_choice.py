"""Validation chooses among the settings of a grid; a variant that failed in part is not preferred for its luck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imer.experiments.choice import choose
from imer.experiments.plan import Asked, plan

CELLS = plan(Asked(models=("mlp", "linear"), seeds=(0, 1), grid=("model.hidden=8,16",)), Path("features.h5"))


def chosen(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    return {one.family: one.settings for one in choose(CELLS, found) if one.chosen}


def test_the_best_mean_over_seeds_within_each_method() -> None:
    values = {"mlp_mixed_hidden=8": (0.9, 0.1), "mlp_mixed_hidden=16": (0.6, 0.5), "linear_mixed": (0.3, 0.3)}
    found = {cell.name: {"metric": "ua", "value": values[cell.name[:-6]][cell.seed]} for cell in CELLS}
    assert chosen(found) == {"mlp_mixed": ("model.hidden=16",), "linear_mixed": ()}
    lower = {name: {**one, "metric": "mae"} for name, one in found.items()}
    assert chosen(lower)["mlp_mixed"] == ("model.hidden=8",)
    del found["mlp_mixed_hidden=16_seed1"]
    assert chosen(found)["mlp_mixed"] == ("model.hidden=8",)
    found["mlp_mixed_hidden=8_seed0"]["value"] = None
    assert [one.value for one in choose(CELLS, found) if one.settings == ("model.hidden=8",)] == [None]
