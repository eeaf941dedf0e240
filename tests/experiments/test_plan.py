"""What a sweep is made of: every combination once, by readable names, and nothing that decides it twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imer.core.errors import UsageError
from imer.experiments.plan import Asked, parse_seeds, plan

STORE = Path("features.h5")


def names(**asked: Any) -> list[str]:
    return [cell.name for cell in plan(Asked(**asked), STORE)]


def test_every_head_of_a_model_that_takes_one_and_every_rate_of_a_matched_protocol() -> None:
    found = names(
        models=("comp", "majority"),
        heads=("linear", "dpl"),
        protocols=("mixed", "matched"),
        seeds=(0, 4),
        rates=(0.0, 0.3),
    )
    methods = ("comp-linear", "comp-dpl", "majority")
    assert found == [
        f"{method}_{rest}_seed{seed}"
        for seed in (0, 4)
        for protocol in (("mixed",), ("matched_rate0", "matched_rate0.3"))
        for method in methods
        for rest in protocol
    ]


def test_a_grid_crosses_the_methods_that_know_its_settings() -> None:
    found = names(models=("comp", "linear"), grid=("model.blocks=1,2", "train.learning_rate=0.01,1e-3"))
    assert [name for name in found if name.startswith("comp")] == [
        f"comp_mixed_blocks={blocks}_learning_rate={rate}_seed0" for blocks in (1, 2) for rate in ("0.01", "1e-3")
    ]
    assert [name for name in found if name.startswith("linear")] == ["linear_mixed_seed0"]  # fitted: it has no epochs


def test_what_would_come_out_the_same_is_done_once() -> None:
    assert names(models=("comp",), presets=("comp",)) == ["comp_mixed_seed0"]
    assert names(models=("comp",), grid=("model.blocks=2,2",)) == names(models=("comp",), grid=("model.blocks=2",))


def test_a_cell_is_trained_and_judged_as_asked() -> None:
    asked = Asked(protocols=("mixed", "matched"), seeds=(3,), rates=(0.0, 0.5), pattern="all", mask_seeds=2)
    mixed, complete, half = plan(replace(asked, assignments=("model.hidden=16",)), STORE)
    assert mixed.judging == {"missing_rate": "0,0.5", "pattern": "all", "mask_seeds": 2, "device": "auto"}
    assert (complete.judging["missing_rate"], complete.judging["pattern"]) == ("0", None)
    assert half.settings.train.missing_rate == "0.5"
    assert {cell.settings.train.seed for cell in (mixed, complete, half)} == {3}
    assert mixed.settings.train.threads == 1
    assert mixed.settings.model.hidden == 16


def test_the_settings_of_a_file_are_the_method_where_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[run]\nmodel = "mlp"\n[model]\nhidden = 8\n')
    (cell,) = plan(Asked(config=tmp_path / "mine.toml"), STORE)
    assert (cell.name, cell.settings.model.hidden) == ("mlp_mixed_seed0", 8)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"models": ("comb",)}, "did you mean 'comp'"),
        ({"heads": ("linaer",)}, "did you mean 'linear'"),
        ({"models": ("majority", "linear"), "heads": ("linear",)}, "--heads: majority, linear have their own"),
        ({"presets": ("copm",)}, "did you mean 'comp'"),
        ({"protocols": ("mixt",)}, "did you mean 'mixed'"),
        ({"protocols": ("imbalanced",)}, "A sweep trains with"),
        ({"protocols": ()}, "nothing to train"),
        ({"assignments": ("train.seed=1",)}, "use --models"),
        ({"assignments": ("model.hiden=1",)}, "--set model.hiden=1: no method"),
        ({"assignments": ("train.patience=much",)}, "a whole number"),
        (
            {"grid": ("model.hiden=1,2",)},
            "no method of this sweep has a setting 'model.hiden'; did you mean 'model.hidden'",
        ),
        ({"models": ("linear",), "grid": ("learning_rate=1,2",)}, "is fitted, .* whatever learning_rate says"),
        ({"grid": ("model.hidden",)}, "key=value,value"),
        ({"grid": ("train.seed=1,2",)}, "use --models"),
        ({"grid": ("data.folds=2,3",)}, "cannot choose among these"),
        ({"grid": ("validation_masks=1,2",)}, "cannot choose among these"),
        ({"grid": ("validation_share=0.1,0.4",)}, "cannot choose among these"),
        ({"grid": ("modalities=audio,text",)}, "cannot choose among these"),
        ({"grid": ("train.members=1,3",)}, "cannot choose among these"),
        ({"grid": ("model.hidden=96",), "assignments": ("train.select=test_best",)}, "looks at the test part"),
    ],
)
def test_what_cannot_be_swept(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        names(**asked)


@pytest.mark.parametrize("text", ["0", "many", "-1", "", "1.5"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds takes"):
        parse_seeds(text)
