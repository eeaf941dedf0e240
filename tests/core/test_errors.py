"""Messages name what is wrong, and every error has its exit code."""

from __future__ import annotations

import doctest

from imer.core import errors, seeding, types


def test_exit_codes() -> None:
    codes = {cls.__name__: cls.exit_code for cls in errors.ImerError.__subclasses__()}
    assert codes == {
        "UsageError": 2, "PartialFailure": 3, "InvalidInput": 4, "MissingDependency": 5, "OutputExists": 6,
    }  # fmt: skip


def test_executed_examples() -> None:
    for module in (errors, seeding, types):
        assert doctest.testmod(module).failed == 0


def test_nearest_name_or_all_of_them() -> None:
    assert errors.did_you_mean("vidual", ["audio", "visual"]) == "did you mean 'visual'?"
    assert errors.did_you_mean("zzz", ["b", "a"]) == "valid names: a, b"


def test_seeds_are_the_same_everywhere() -> None:
    assert seeding.derived_seed(0, "mask", "test") == 7905885374585342817
    assert seeding.derived_seed("a", "b") != seeding.derived_seed("ab")
    assert seeding.generator(1, "x").random() == seeding.generator(1, "x").random()


def test_fingerprint_changes_with_what_changes_the_numbers_only() -> None:
    base = types.FeatureSpec("audio", "x", "1", "utterance", 3, config={"rate": 16000})
    same = types.FeatureSpec(
        "audio", "x", "1", "utterance", 3, config={"rate": 16000}, dim_names=("a", "b", "c"), licence="MIT"
    )
    other = types.FeatureSpec("audio", "x", "1", "utterance", 3, config={"rate": 8000})
    assert base.fingerprint == same.fingerprint != other.fingerprint
    assert types.FeatureSpec.from_json(same.to_json()) == same
