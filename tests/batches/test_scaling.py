"""Standardisation looks at the training rows where a modality is present, and at nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.batches import scaling
from imer.batches.scaling import Scaler, broken_rows
from tests.batches.small import small_corpus


def test_training_rows_come_out_with_mean_0_and_spread_1() -> None:
    corpus = small_corpus([30, 30, 30], present=0.7)
    rows = np.arange(60)
    values = Scaler.fit(corpus, rows).transform(corpus)
    for column, name in enumerate(corpus.modalities):
        here = values[name][rows][corpus.present_NM[rows, column]]
        assert np.allclose(here.mean(axis=0), 0, atol=1e-5)
        assert np.allclose(here.std(axis=0), 1, atol=1e-5)
        assert np.all(values[name][~corpus.present_NM[:, column]] == 0)


def test_the_rows_that_are_asked_for_come_out_as_among_all() -> None:
    corpus = small_corpus([30, 30, 30], present=0.7)
    raw = {name: values.copy() for name, values in corpus.features.items()}
    rows = np.array([70, 3, 41])
    scaler = Scaler.fit(corpus, np.arange(60))
    whole, some = scaler.transform(corpus), scaler.transform(corpus, rows)
    others = np.setdiff1d(np.arange(corpus.n), rows)
    for name in corpus.modalities:
        assert np.array_equal(some[name][rows], whole[name][rows])
        assert some[name].dtype == np.float32
        assert not some[name][others].any()
        assert np.array_equal(corpus.features[name], raw[name], equal_nan=True)  # the corpus itself stays as it is


def test_other_rows_have_no_part_in_it() -> None:
    corpus = small_corpus([40, 40])
    rows = np.arange(40)
    before = Scaler.fit(corpus, rows)
    wild = {name: values.copy() for name, values in corpus.features.items()}
    for values in wild.values():
        values[40:] = 1e20
    after = Scaler.fit(replace(corpus, features=wild), rows)
    assert all(np.array_equal(before.centre[m], after.centre[m]) for m in corpus.modalities)
    assert all(np.array_equal(before.spread[m], after.spread[m]) for m in corpus.modalities)


@settings(max_examples=30)
@given(st.integers(1, 8), st.floats(1e4, 1e30), st.integers(0, 2**32 - 1))
def test_broken_rows_have_no_part_in_it_either(n_broken: int, times: float, seed: int) -> None:
    corpus = small_corpus([60, 60], modalities={"audio": 12, "text": 7}, seed=seed)
    broken = np.random.default_rng(seed).choice(120, n_broken, replace=False)
    sound = np.setdiff1d(np.arange(120), broken)
    alone = Scaler.fit(corpus, sound)
    corpus.features["audio"][broken] *= np.float32(times)
    assert np.flatnonzero(broken_rows(corpus.features["audio"])).tolist() == sorted(broken)
    together = Scaler.fit(corpus, np.arange(120))
    assert np.allclose(together.centre["audio"], alone.centre["audio"], rtol=1e-6)
    assert np.allclose(together.spread["audio"], alone.spread["audio"], rtol=1e-6)


def test_single_features_may_reach_far_and_sparse_ones_are_not_asked() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 8)).astype(np.float32)
    values[3, :3] = 1e9  # fewer than half of the features
    assert not broken_rows(values).any()
    assert not broken_rows((rng.random((500, 8)) < 0.01) * np.float32(1e9)).any()
    assert broken_rows(values[:0]).shape == (0,)


def test_many_rows_far_from_the_others_are_no_breakage() -> None:
    values = np.zeros((1000, 8), np.float32)
    values[:251] = np.random.default_rng(0).exponential(size=(251, 8)) + 1e-3  # quartiles just above 0
    assert np.percentile(values, 75, axis=0).max() < 0.02
    assert not broken_rows(values).any()


def test_pieces_give_the_same_numbers_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    corpus = small_corpus([50, 40], modalities={"audio": 23, "text": 2, "visual": 1}, present=0.8)
    corpus.features["audio"][rng.choice(90, 4, replace=False)] *= np.float32(3e37)  # broken, and nearly infinite
    whole = Scaler.fit(corpus, np.arange(70))
    standardised = whole.transform(corpus)
    monkeypatch.setattr(scaling, "COLUMNS_AT_ONCE", 7)
    monkeypatch.setattr(scaling, "ROWS_AT_ONCE", 100)  # no fewer than there are: the quartiles are those of as many
    pieces = Scaler.fit(corpus, np.arange(70))
    monkeypatch.setattr(scaling, "ROWS_AT_ONCE", 9)
    for name in corpus.modalities:
        assert np.array_equal(pieces.centre[name], whole.centre[name])
        assert np.array_equal(pieces.spread[name], whole.spread[name])
        assert np.array_equal(pieces.transform(corpus)[name], standardised[name])


def test_a_feature_that_never_varied_stays_silent_for_ever() -> None:
    corpus = small_corpus([20, 20])
    corpus.features["audio"][:20, 0] = 7.5
    corpus.features["audio"][20:, 0] = -300.0
    values = Scaler.fit(corpus, np.arange(20)).transform(corpus)
    assert np.abs(values["audio"][:, 0]).max() < 1e-20
    assert np.isfinite(values["audio"]).all()


def test_a_modality_that_is_never_present_is_left_as_it_is() -> None:
    corpus = small_corpus([10])
    absent = replace(corpus, present_NM=np.zeros_like(corpus.present_NM))
    scaler = Scaler.fit(absent, np.arange(10))
    assert np.all(scaler.centre["text"] == 0)
    assert np.all(scaler.spread["text"] == 1)
