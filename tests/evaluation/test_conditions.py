"""Reading missing rates and patterns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.core.errors import UsageError
from imer.evaluation.conditions import (
    as_far_as_reachable,
    make_conditions,
    parse_patterns,
    parse_rate_grid,
    pattern_name,
)
from imer.masks.make import draw_mask
from imer.masks.notation import all_patterns, parse_pattern

THREE = ("audio", "text", "visual")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", [0.5]),
        ("0", [0.0]),
        ("0:0.7:0.1", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("0.1:0.35:0.1", [0.1, 0.2, 0.3]),
        ("0.5,0,0.5", [0.0, 0.5]),
        ("0.3:0.3:0.1", [0.3]),
    ],
)
def test_rates(text, expected):
    assert parse_rate_grid(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "half", "0:1", "0:0.7:0", "0:0.7:-0.1", "0.7:0:0.1", "1.5", "-0.1", "nan", "0:inf:0.1", "0:1:1e-9", "0,,1"],
)
def test_wrong_rates_are_refused_with_the_text(text):
    with pytest.raises(UsageError, match="rate"):
        parse_rate_grid(text)


def test_all_patterns_of_three_modalities():
    assert parse_patterns("all", THREE) == ["a", "t", "v", "at", "av", "tv", "atv"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at", ["at"]),
        ("ta,at", ["at"]),
        ("a, v", ["a", "v"]),
        ("audio", ["a"]),
        ("visual+text", ["tv"]),
        ("atv,t", ["atv", "t"]),
    ],
)
def test_patterns(text, expected):
    assert parse_patterns(text, THREE) == expected


def test_shared_initials_need_names():
    modalities = ("text", "touch", "visual")
    assert parse_patterns("all", modalities)[:4] == ["text", "touch", "visual", "text+touch"]
    with pytest.raises(UsageError, match="more than one modality"):
        parse_patterns("t", modalities)


@pytest.mark.parametrize("text", ["x", "atx", "", "a,,t", "audio+smell"])
def test_unknown_letters_are_refused(text):
    with pytest.raises(UsageError, match="audio, text, visual"):
        parse_patterns(text, THREE)


@given(st.lists(st.text("abcdefg", min_size=1, max_size=4), min_size=2, max_size=5, unique=True), st.data())
def test_a_name_reads_back_as_its_modalities(modalities, data):
    columns = data.draw(st.sampled_from(all_patterns(len(modalities))))
    assert parse_pattern(pattern_name(columns, modalities), modalities) == columns


def test_conditions_of_the_options():
    names = [c.name for c in make_conditions(THREE, missing_rate="0:0.2:0.1", pattern="a,tv")]
    assert names == ["nested 0", "nested 0.1", "nested 0.2", "pattern a", "pattern tv"]
    assert [c.name for c in make_conditions(THREE)] == ["nested 0"]
    assert [c.name for c in make_conditions(THREE, missing_rate="text=0.7,audio=0.2")] == [
        "imbalanced audio=0.2,text=0.7"
    ]
    with pytest.raises(UsageError, match="mixed"):
        make_conditions(THREE, missing_rate="0.5", protocol="mixed")


@pytest.mark.parametrize("asked", [{"missing_rate": "audio=0.2"}, {"pattern": "a"}])
def test_a_protocol_without_a_rate_is_refused(asked):
    with pytest.raises(UsageError, match="--protocol exact says how one rate becomes a mask"):
        make_conditions(THREE, protocol="exact", **asked)
    assert len(make_conditions(THREE, protocol="exact", **{**asked, "missing_rate": "0.3"})) >= 1


@pytest.mark.parametrize(
    ("grid", "n_modalities", "beyond", "highest"),
    [("0:0.9:0.1", 3, "0.8, 0.9", "0.6667"), ("0:0.7:0.1", 2, "0.6, 0.7", "0.5000"), ("0:0.7:0.1", 3, "", "")],
)
def test_a_grid_goes_as_far_as_it_can_and_says_so(grid: str, n_modalities: int, beyond: str, highest: str) -> None:
    present = np.ones((30, n_modalities), dtype=bool)
    names = THREE[:n_modalities]
    table = draw_mask(present, [f"u{i}" for i in range(30)], names, protocol="instance", rate=0.8)
    asked = make_conditions(names, missing_rate=grid, pattern="a", table=table)
    kept, said = as_far_as_reachable(asked, present, grid)
    left_out = [one.name for one in asked if one not in kept]
    assert left_out == [f"nested {rate}" for rate in beyond.split(", ") if rate]
    assert [one.name for one in kept[-2:]] == ["pattern a", "mask file (instance)"]
    assert len(said) == bool(beyond)
    assert all(f"the missing rates {beyond} of {grid} cannot" in one and highest in one for one in said)


def test_rates_that_are_named_one_by_one_are_kept_to_be_refused():
    asked = make_conditions(THREE, missing_rate="0.5,0.9")
    assert as_far_as_reachable(asked, np.ones((30, 3), dtype=bool), "0.5,0.9") == (asked, [])
