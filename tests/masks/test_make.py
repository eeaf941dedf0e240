"""Masks as tables: the same on every machine, whatever the order, and stable when utterances are added."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.masks.make import PROTOCOLS, RATE_PROTOCOLS, draw_mask, make_mask
from imer.masks.notation import parse_pattern, parse_rates
from imer.masks.table import MaskTable
from imer.masks.uniform import KeyedUniform
from imer.store.reader import FeatureStore
from tests.stores import write_small_store

IDS = [f"utterance-{i:03d}" for i in range(200)]
NAMES = ("audio", "text", "visual")
FULL = np.ones((200, 3), dtype=bool)


GOLDEN = {
    "exact": "5ea76356dd42",
    "nested": "5bc7e7a75275",
    "bernoulli": "f5b7c2141f6b",
    "mixed": "47850ee3c7c1",
    "instance": "a0588170f019",
    "imbalanced": "00524f0962db",
    "cpm": "e41720712d4e",
}


def test_golden_masks() -> None:
    """These digests were made once; a change means that masks differ between releases or machines."""
    arguments = {
        "exact": {"rate": 0.5},
        "nested": {"rate": 0.3},
        "bernoulli": {"rate": 0.4},
        "mixed": {},
        "instance": {"rate": 0.6},
        "imbalanced": {"rates": {"audio": 0.7, "text": 0.6, "visual": 0.6}},
        "cpm": {"rate": 0.3},
    }
    digests = {
        name: hashlib.sha256(draw_mask(FULL, IDS, NAMES, protocol=name, **kw).observed_NM.tobytes()).hexdigest()[:12]
        for name, kw in arguments.items()
    }
    assert digests == GOLDEN


@given(st.sampled_from(sorted(PROTOCOLS)), st.permutations(range(30)), st.integers(0, 2**32 - 1))
def test_what_is_absent_goes_with_its_utterance_in_any_order(protocol: str, order: list[int], seed: int) -> None:
    """A store lists its utterances as the manifest did; a table lists them by id."""
    present = np.random.default_rng(seed).random((30, 3)) < 0.8
    wishes: dict[str, dict[str, Any]] = {"pattern": {"pattern": "at"}, "imbalanced": {"rates": {"text": 0.4}}}
    wish = wishes.get(protocol, {"rate": 0.45} if protocol in RATE_PROTOCOLS else {})
    sorted_ids, ids = IDS[:30], [IDS[i] for i in order]
    table = draw_mask(present[order], ids, NAMES, protocol=protocol, **wish)
    assert not (table.rows_for(sorted_ids, NAMES) & ~present).any()
    same = draw_mask(present, sorted_ids, NAMES, protocol=protocol, **wish)
    assert (table.rows_for(sorted_ids, NAMES) == same.observed_NM).all()


def test_the_table_does_not_depend_on_the_order_of_the_utterances() -> None:
    forward = draw_mask(FULL, IDS, NAMES, rate=0.5)
    backward = draw_mask(FULL, IDS[::-1], NAMES, rate=0.5)
    assert forward.utterance_ids == backward.utterance_ids
    assert (forward.observed_NM == backward.observed_NM).all()


@pytest.mark.parametrize("protocol", ["mixed", "instance"])
def test_adding_an_utterance_changes_no_other(protocol: str) -> None:
    rate = {"mixed": None, "instance": 0.5}[protocol]
    small = draw_mask(FULL[:199], IDS[:199], NAMES, protocol=protocol, rate=rate)
    large = draw_mask(FULL, IDS, NAMES, protocol=protocol, rate=rate)
    assert (small.observed_NM == large.observed_NM[:199]).all()


def test_adding_an_utterance_moves_at_most_the_marginal_cells_of_exact() -> None:
    small = draw_mask(FULL[:199], IDS[:199], NAMES, rate=0.5).observed_NM
    large = draw_mask(FULL, IDS, NAMES, rate=0.5).observed_NM[:199]
    assert (small != large).sum() <= 2


def test_seed_split_and_protocol_each_change_the_draw() -> None:
    base = draw_mask(FULL, IDS, NAMES, rate=0.5).observed_NM
    for change in ({"seed": 1}, {"split": "test"}, {"protocol": "bernoulli"}):
        assert (draw_mask(FULL, IDS, NAMES, rate=0.5, **change).observed_NM != base).any()


def test_nested_tables_share_one_draw_over_rates() -> None:
    masks = [draw_mask(FULL, IDS, NAMES, protocol="nested", rate=r).observed_NM for r in (0.1, 0.3, 0.5, 0.7)]
    for more, fewer in itertools.pairwise(masks):
        assert not (fewer & ~more).any()


def test_keyed_uniform_is_uniform() -> None:
    numbers = KeyedUniform([f"{i}" for i in range(20_000)], "key").random((20_000, 11))
    assert numbers.mean() == pytest.approx(0.5, abs=0.005)
    assert numbers.var() == pytest.approx(1 / 12, abs=0.002)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(11)).max() < 0.04
    assert 0 <= numbers.min() < numbers.max() < 1


def test_a_mask_file_comes_back_and_is_the_same_bytes_twice(tmp_path: Path) -> None:
    table = draw_mask(FULL, IDS, NAMES, protocol="imbalanced", rates={"audio": 0.2, "text": 0.7}, seed=3, split="test")
    table.write(tmp_path / "a.h5")
    table.write(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    again = MaskTable.read(tmp_path / "a.h5")
    assert (again.observed_NM == table.observed_NM).all()
    assert (again.utterance_ids, again.modalities, again.seed, again.split) == (table.utterance_ids, NAMES, 3, "test")
    assert again.nominal_rate is None
    draw_mask(FULL, IDS, NAMES, rate=0.5).write(tmp_path / "c.h5")
    assert MaskTable.read(tmp_path / "c.h5").nominal_rate == 0.5
    assert again.detail == "audio=0.2,text=0.7,visual=0"


def test_an_existing_mask_is_kept_unless_told(tmp_path: Path) -> None:
    first, second = (draw_mask(FULL, IDS, NAMES, rate=0.5, seed=seed) for seed in (0, 1))
    first.write(tmp_path / "m.h5")
    with pytest.raises(OutputExists, match="--overwrite"):
        second.write(tmp_path / "m.h5")
    assert MaskTable.read(tmp_path / "m.h5").fingerprint == first.fingerprint
    second.write(tmp_path / "m.h5", overwrite=True)
    assert MaskTable.read(tmp_path / "m.h5").fingerprint == second.fingerprint != first.fingerprint


def test_rows_for_reorders_and_names_what_is_missing() -> None:
    table = draw_mask(FULL, IDS, NAMES, rate=0.5)
    rows = table.rows_for(np.array(["utterance-007", "utterance-001"]), ("visual", "audio"))
    assert (rows == table.observed_NM[[7, 1]][:, [2, 0]]).all()
    with pytest.raises(InvalidInput, match="no row for 1 of 2"):
        table.rows_for(np.array(["utterance-007", "stranger"]), NAMES)
    with pytest.raises(InvalidInput, match="no column for gaze"):
        table.rows_for(np.array(["utterance-007"]), ("gaze",))


def test_patterns_by_initials_and_by_names() -> None:
    assert parse_pattern("at", NAMES) == (0, 1)
    assert parse_pattern("v+a", NAMES) == (0, 2)
    assert parse_pattern("audio+text", NAMES) == (0, 1)
    assert parse_pattern("visual", NAMES) == (2,)
    for wrong in ("x", "", "audio+gaze"):
        with pytest.raises(UsageError):
            parse_pattern(wrong, NAMES)
    with pytest.raises(UsageError, match="more than one"):
        parse_pattern("a", ("audio", "accent"))


def test_rates_on_the_command_line() -> None:
    assert parse_rates("0.5") == (0.5, None)
    assert parse_rates("audio=0.2, text=0.7") == (None, {"audio": 0.2, "text": 0.7})
    with pytest.raises(UsageError, match="neither"):
        parse_rates("half")
    with pytest.raises(UsageError, match="names a modality twice"):
        parse_rates("audio=0.2,audio=0.7")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"protocol": "exat", "rate": 0.5}, "did you mean 'exact'"),
        ({"protocol": "exact"}, "needs one --missing-rate"),
        ({"protocol": "pattern"}, "needs --pattern"),
        ({"protocol": "imbalanced"}, "rate per modality"),
        ({"protocol": "instance"}, "the probability of an incomplete utterance"),
        ({"protocol": "imbalanced", "rates": {"audo": 0.3}}, "did you mean 'audio'"),
        ({"protocol": "exact", "rate": 0.9}, "0.6667"),
        ({"protocol": "exact", "rate": 0.5, "pattern": "at"}, "--pattern says itself"),
        ({"pattern": "at", "rate": 0.5}, "--pattern says itself"),
        ({"protocol": "mixed", "rate": 0.5}, "takes no --missing-rate"),
        ({"protocol": "pattern", "rates": {"audio": 0.3}}, "takes no --missing-rate"),
        ({"protocol": "nested", "rates": {"audio": 0.3}}, "takes one rate"),
        ({"rate": 0.5, "seed": -1}, "--seed lies in"),
        ({"rate": 0.5, "seed": 2**63}, "--seed lies in"),
    ],
)
def test_wrong_arguments_are_explained(arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        draw_mask(FULL, IDS, NAMES, **arguments)


@pytest.mark.parametrize(
    ("arguments", "protocol"),
    [({"rate": 0.5}, "exact"), ({"pattern": "at"}, "pattern"), ({"rates": {"audio": 0.3}}, "imbalanced")],
)
def test_without_a_protocol_it_is_the_one_that_the_arguments_speak_of(arguments: dict, protocol: str) -> None:
    assert draw_mask(FULL, IDS, NAMES, **arguments).protocol == protocol


def test_cpm_pads_a_short_table_and_keeps_its_rows() -> None:
    one = draw_mask(FULL[:9], IDS[:9], NAMES, protocol="cpm", rate=0.5)
    assert one.observed_NM.shape == (9, 3)
    assert one.observed_NM.any(axis=1).all()


def test_a_mask_of_a_split_is_over_its_utterances_and_what_they_have(tmp_path: Path) -> None:
    with FeatureStore.open(write_small_store(tmp_path / "f.h5")) as store:
        table = make_mask(store, rate=0.4, split="test")
        rows = np.flatnonzero(store.splits == "test")
        assert set(table.utterance_ids) == set(store.utterance_ids[rows])
        assert not (table.rows_for(store.utterance_ids[rows], store.modalities) & ~store.present_NM()[rows]).any()
        assert table.realised_rate == pytest.approx(0.4, abs=0.01)
        assert set(make_mask(store, rate=0.4).utterance_ids) == set(store.utterance_ids)
        with pytest.raises(UsageError, match="no utterance of split 'dev'; it has test, train, val"):
            make_mask(store, rate=0.4, split="dev")
