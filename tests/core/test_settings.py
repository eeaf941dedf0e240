"""Settings: layering, types, unknown names, and the round trip through TOML."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imer.core.errors import InvalidInput, UsageError
from imer.core.settings import (
    Layer,
    assignments_layer,
    environment_layer,
    resolve,
    to_toml,
    toml_layer,
)


@dataclass(frozen=True)
class Train:
    rate: float = 0.1
    epochs: int = 5
    name: str = "adam"
    shuffle: bool = True
    parts: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Model:
    hidden: int = 8
    rate: float = 0.5


SCHEMA = {"train": Train, "model": Model}


def test_later_layers_win() -> None:
    layers = [Layer("a", {"train": {"epochs": 1, "rate": 1.0}}), Layer("b", {"train": {"epochs": 2}})]
    train = resolve(SCHEMA, layers)["train"]
    assert (train.epochs, train.rate, train.name) == (2, 1.0, "adam")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trian": {}}, ["the source", "trian", "did you mean 'train'"]),
        ({"train": {"epoch": 1}}, ["train.epoch", "did you mean 'epochs'"]),
        ({"train": {"epochs": "many"}}, ["train.epochs", "whole number", "'many'"]),
        ({"train": {"epochs": True}}, ["train.epochs", "whole number"]),
        ({"train": {"rate": float("nan")}}, ["train.rate", "finite number", "nan"]),
        ({"train": {"shuffle": 1}}, ["train.shuffle", "true or false"]),
        ({"train": {"parts": "ab"}}, ["train.parts", "list"]),
        ({"train": 3}, ["[train]"]),
    ],
)
def test_what_is_wrong_is_named_with_its_source(values: dict, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        resolve(SCHEMA, [Layer("the source", values)])
    assert all(word in str(error.value) for word in ["the source", *words])


def test_a_whole_number_serves_as_a_number() -> None:
    assert resolve(SCHEMA, [Layer("x", {"train": {"rate": 1}})])["train"].rate == 1.0


def test_assignments_take_the_type_of_their_setting() -> None:
    layer = assignments_layer(SCHEMA, ["epochs=7", "model.rate=0.25", "shuffle=no", "parts=a, b", "train.limit=3"])
    assert layer.values == {
        "train": {"epochs": 7, "shuffle": False, "parts": ("a", "b"), "limit": 3},
        "model": {"rate": 0.25},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate=1", ["train.rate", "model.rate"]),  # two sections have it
        ("epochz=1", ["did you mean 'epochs'"]),
        ("epochs", ["key=value"]),
        ("epochs=x", ["whole number"]),
    ],
)
def test_assignments_that_cannot_be_read(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        assignments_layer(SCHEMA, [text])
    assert all(word in str(error.value) for word in [f"--set {text}", *words])


def test_environment_sets_values_and_ignores_what_is_no_setting() -> None:
    layer = environment_layer(SCHEMA, {"IMER_TRAIN_EPOCHS": "9", "IMER_OFFLINE": "1", "PATH": "/bin"})
    assert layer.values == {"train": {"epochs": 9}}
    with pytest.raises(UsageError, match=r"IMER_TRAIN_EPOCH .*did you mean 'epochs'"):
        environment_layer(SCHEMA, {"IMER_TRAIN_EPOCH": "9"})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.toml does not exist"):
        toml_layer(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("[train\n")
    with pytest.raises(InvalidInput, match=r"bad\.toml is not readable TOML"):
        toml_layer(tmp_path / "bad.toml")
    for value in ("1" * 5000, "[" * 5000):
        (tmp_path / "endless.toml").write_text(f"[train]\nepochs = {value}")
        with pytest.raises(InvalidInput, match="not readable TOML"):
            toml_layer(tmp_path / "endless.toml")


text = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
trains = st.builds(
    Train,
    rate=st.floats(allow_nan=False, allow_infinity=False),
    epochs=st.integers(-(2**40), 2**40),
    name=text,
    shuffle=st.booleans(),
    parts=st.lists(text, max_size=3).map(tuple),
    limit=st.none() | st.integers(0, 9),
)


@hypothesis_settings(max_examples=60)
@given(train=trains)
def test_toml_round_trip(tmp_path_factory: pytest.TempPathFactory, train: Train) -> None:
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    path.write_text(to_toml({"train": train, "model": Model()}), encoding="utf-8", newline="")
    again = resolve(SCHEMA, [toml_layer(path)])
    assert all(getattr(again["train"], f.name) == getattr(train, f.name) for f in fields(Train))
    assert again["model"] == Model()


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity"])
def test_numbers_are_finite_however_they_are_given(text: str) -> None:
    with pytest.raises(UsageError, match="finite number"):
        resolve(SCHEMA, [assignments_layer(SCHEMA, [f"train.rate={text}"])])


def test_a_whole_number_that_no_float_holds_is_refused() -> None:
    with pytest.raises(UsageError, match="is a finite number"):
        resolve(SCHEMA, [Layer("x.toml", {"train": {"rate": 10**400}})])
