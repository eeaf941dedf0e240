"""Training masks follow their protocol; validation and test masks are fixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imer.core.errors import InvalidInput, UsageError
from imer.masks.make import draw_mask
from imer.masks.sampling import missing_rate
from imer.training.masks import Masks, validation_patterns
from imer.training.settings import TrainSettings
from tests.batches.small import small_corpus

CORPUS = small_corpus([10] * 12, modalities={"audio": 2, "text": 2, "visual": 2}, present=0.9)
ROWS = np.arange(0, 100)


def _masks(**settings: Any) -> Masks:
    return Masks(CORPUS, TrainSettings(**settings))


def _check(observed: np.ndarray, rows: np.ndarray = ROWS) -> None:
    assert not (observed & ~CORPUS.present_NM).any()
    outside = np.setdiff1d(np.arange(CORPUS.n), rows)
    assert not observed[outside].any()
    assert np.array_equal(observed[rows].any(axis=1), CORPUS.present_NM[rows].any(axis=1))


@pytest.mark.parametrize("protocol", ["mixed", "pattern"])
def test_protocols_without_a_rate(protocol: str) -> None:
    masks = _masks(protocol=protocol)
    assert masks.once(ROWS, "f") is None
    first, second = (masks.training(ROWS, "f", epoch) for epoch in (0, 1))
    _check(first)
    assert not np.array_equal(first[ROWS], CORPUS.present_NM[ROWS])
    assert not np.array_equal(first, second)
    assert np.array_equal(first, masks.training(ROWS, "f", 0))
    assert not np.array_equal(first, masks.training(ROWS, "g", 0))
    assert not np.array_equal(first, _masks(protocol=protocol, seed=1).training(ROWS, "f", 0))


@pytest.mark.parametrize("protocol", ["complete", "complete2incomplete"])
def test_protocols_that_hide_nothing_in_training(protocol: str) -> None:
    once = _masks(protocol=protocol).once(ROWS, "f")
    assert once is not None
    _check(once)
    assert np.array_equal(once[ROWS], CORPUS.present_NM[ROWS])


def test_a_model_of_complete_data_is_validated_and_tested_as_one_of_mixed() -> None:
    for split in ("val", "test"):
        ours, theirs = (_masks(protocol=p).fixed(ROWS, split, 3) for p in ("complete2incomplete", "mixed"))
        assert len(ours) == 3
        assert all(np.array_equal(a.observed_NM, b.observed_NM) for a, b in zip(ours, theirs, strict=True))
        assert not np.array_equal(ours[0].observed_NM[ROWS], CORPUS.present_NM[ROWS])


@pytest.mark.parametrize("sampler", ["exact", "bernoulli", "cpm"])
def test_matched_meets_its_rate_in_training_and_validation(sampler: str) -> None:
    masks = _masks(protocol="matched", missing_rate="0.5", sampler=sampler)
    tolerance = 1e-9 if sampler == "exact" else 0.08
    for epoch in range(3):
        observed = masks.training(ROWS, "f", epoch)
        _check(observed)
        assert abs(missing_rate(observed[ROWS]) - 0.5) <= tolerance
    assert not np.array_equal(masks.training(ROWS, "f", 0), masks.training(ROWS, "f", 1))
    conditions = masks.validation(ROWS)
    assert [c.mask_seed for c in conditions] == [0, 1, 2]
    for condition in conditions:
        _check(condition.observed_NM)
        assert abs(missing_rate(condition.observed_NM[ROWS]) - 0.5) <= tolerance


def test_static_masks_are_drawn_once_for_a_fold() -> None:
    masks = _masks(protocol="matched-static", missing_rate="0.4")
    once = masks.once(ROWS, "f")
    assert once is not None
    _check(once)
    assert abs(missing_rate(once[ROWS]) - 0.4) <= 1e-9
    assert np.array_equal(once, masks.once(ROWS, "f"))
    assert not np.array_equal(once, masks.once(ROWS, "g"))
    with pytest.raises(RuntimeError, match="drawn once"):
        masks.training(ROWS, "f", 0)


@pytest.mark.parametrize(("given", "only"), [({"pattern": "a"}, "pattern"), ({"mask": "m.h5"}, "table")])
def test_what_another_protocol_would_read_is_refused(given: dict[str, str], only: str) -> None:
    for protocol in ("mixed", "matched"):
        with pytest.raises(UsageError, match=f"is for the protocol {only}"):
            _masks(protocol=protocol, missing_rate="0.5" if protocol == "matched" else "", **given)


def test_instance_and_imbalanced() -> None:
    observed = _masks(protocol="instance", missing_rate="1.0").training(ROWS, "f", 0)
    assert not (observed[ROWS].sum(axis=1) == 3).any()
    observed = _masks(protocol="imbalanced", missing_rate="text=0.6").training(ROWS, "f", 0)
    assert 1 - observed[ROWS, 1].mean() == pytest.approx(0.6, abs=0.03)
    assert np.array_equal(observed[ROWS, 0], CORPUS.present_NM[ROWS, 0])


def test_a_given_pattern_is_kept_throughout_and_all_are_validated_otherwise() -> None:
    masks = _masks(protocol="pattern", pattern="at")
    once = masks.once(ROWS, "f")
    assert once is not None
    assert once[:, :2].any()
    assert not once[:, 2].any()
    (only,) = masks.validation(ROWS)
    assert only.pattern == "audio+text"
    names = [condition.pattern for condition in _masks(protocol="pattern").validation(ROWS)]
    assert names[:3] == ["audio", "text", "visual"]
    assert len(names) == 7
    assert len(validation_patterns(6)) == 15


def test_a_table_is_taken_as_it_is(tmp_path: Path) -> None:
    ids = CORPUS.utterance_ids.tolist()
    table = draw_mask(CORPUS.present_NM[:80], ids[:80], tuple(CORPUS.modalities), protocol="exact", rate=0.5)
    table.write(tmp_path / "mask.h5")
    masks = _masks(protocol="table", mask=str(tmp_path / "mask.h5"))
    observed = masks.once(ROWS, "f")
    for row, name in enumerate(table.utterance_ids):
        assert np.array_equal(observed[ids.index(name)], table.observed_NM[row])
    assert np.array_equal(observed[80:100], CORPUS.present_NM[80:100])  # not in the table
    (warning,) = masks.warnings
    assert f"names 80 of the {CORPUS.n} utterances" in warning
    assert np.array_equal(masks.validation(ROWS)[0].observed_NM, observed)
    two = draw_mask(CORPUS.present_NM[:, :2], ids, ("audio", "text"), protocol="exact", rate=0.4)
    two.write(tmp_path / "two.h5")
    with pytest.raises(InvalidInput, match="no column for visual"):
        _masks(protocol="table", mask=str(tmp_path / "two.h5"))
    others = draw_mask(CORPUS.present_NM[:9], list("abcdefghi"), tuple(CORPUS.modalities), protocol="exact", rate=0.4)
    others.write(tmp_path / "others.h5")
    with pytest.raises(InvalidInput, match="names none of the"):
        _masks(protocol="table", mask=str(tmp_path / "others.h5"))


def test_fixed_masks_depend_on_the_ids_alone() -> None:
    masks = _masks(protocol="mixed")
    turned = masks.fixed(ROWS[::-1], "val", 1)[0].observed_NM
    assert np.array_equal(turned, masks.fixed(ROWS, "val", 1)[0].observed_NM)
    assert np.array_equal(_masks(protocol="mixed", seed=5).validation(ROWS)[0].observed_NM, turned)


def test_the_grid_ends_at_what_can_be_reached() -> None:
    assert [c.missing_rate for c in _masks().grid(ROWS, "test")] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    pair = small_corpus([10] * 4)
    rates = [c.missing_rate for c in Masks(pair, TrainSettings()).grid(np.arange(40), "test")]
    assert rates == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "mixd"}, "did you mean 'mixed'"),
        ({"protocol": "matched"}, "needs one missing rate"),
        ({"protocol": "mixed", "missing_rate": "0.5"}, "takes no missing rate"),
        ({"protocol": "imbalanced", "missing_rate": "gaze=0.5"}, "needs a missing rate per modality"),
        ({"protocol": "table"}, "needs a mask file"),
        ({"protocol": "matched", "missing_rate": "0.5", "sampler": "exakt"}, "did you mean 'exact'"),
        ({"protocol": "pattern", "pattern": "x"}, "names no modality"),
    ],
)
def test_what_cannot_be_done_is_said(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _masks(**settings)
