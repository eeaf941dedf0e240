"""The comparison that stands between a conversion and its publication must itself notice a difference."""

from __future__ import annotations

import numpy as np
import pytest

from imer.core.errors import ImerError
from imer.export import parity
from imer.export.parity import Arrays, measure, random_cases, require_parity

CENTRES = [np.zeros(3, np.float32), np.full(2, 5.0, np.float32)]
SPREADS = [np.ones(3, np.float32), np.full(2, 0.1, np.float32)]


def answer(case: Arrays) -> list[np.ndarray]:
    """A model of three classes that reads observed slots only."""
    audio, text, observed, valid = case
    real = observed & valid[..., None]
    sums = np.stack(
        [np.where(real[..., i], x.sum(-1, where=real[..., i, None]), 0.0) for i, x in enumerate((audio, text))], axis=-1
    )
    scores = np.concatenate([sums, np.zeros_like(sums[..., :1])], axis=-1)
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return [(exponents / exponents.sum(-1, keepdims=True)).astype(np.float32), real.astype(np.float32)]


def shifted(by: float) -> parity.Runner:
    def run(case: Arrays) -> list[np.ndarray]:
        probabilities, weights = answer(case)
        return [probabilities + np.float32(by), weights]

    return run


def test_cases_cover_patterns_paddings_and_shapes() -> None:
    cases = list(random_cases(CENTRES, SPREADS))
    assert len(cases) == parity.N_CASES
    uniform = {tuple(case[-2].reshape(-1, 2)[0]) for case in cases if (case[-2] == case[-2][:1, :1]).all()}
    assert uniform >= set(parity.observed_patterns(2))
    assert {case[-1].shape for case in cases} == set(parity.SHAPES)
    lengths = {tuple(case[-1].sum(axis=1)) for case in cases}
    assert any(0 in length for length in lengths)  # a dialogue of padding only
    assert any(len(set(length)) > 1 for length in lengths)  # different paddings in one batch
    hidden = [case[0][~(case[-2][..., 0] & case[-1])] for case in cases]
    assert any(np.isnan(values).any() for values in hidden)
    assert any((np.abs(values) > 1e29).any() for values in hidden)


def test_cases_are_the_same_every_time() -> None:
    for one, other in zip(random_cases(CENTRES, SPREADS), random_cases(CENTRES, SPREADS), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_equal_models_pass() -> None:
    result = measure(answer, answer, random_cases(CENTRES, SPREADS))
    assert result == parity.Parity(200, result.answers, 0.0, 0)
    assert result.answers > 1000
    require_parity(result, "copy")


def test_a_small_difference_is_refused() -> None:
    require_parity(measure(answer, shifted(5e-6), random_cases(CENTRES, SPREADS)), "copy")
    with pytest.raises(ImerError, match=r"differs from the model by 2e-05 \(at most 1e-05 is allowed\)"):
        require_parity(measure(answer, shifted(2e-5), random_cases(CENTRES, SPREADS)), "copy")


def test_the_unit_of_a_label_scales_the_tolerance() -> None:
    result = measure(answer, shifted(2e-5), random_cases(CENTRES, SPREADS), unit=4.0)
    assert result.max_abs_difference == pytest.approx(5e-6, rel=0.1)
    large = measure(answer, shifted(2e-5), random_cases(CENTRES, SPREADS), unit=0.01)
    assert large.max_abs_difference > result.max_abs_difference


def test_speakers_come_last_where_they_are_asked_for() -> None:
    case = next(iter(random_cases(CENTRES, SPREADS, speakers=True)))
    assert case[-1].shape == case[-2].shape
    assert case[-1].dtype == np.int64


def test_exchanged_classes_are_counted_beyond_ties() -> None:
    def exchanged(case: Arrays) -> list[np.ndarray]:
        probabilities, weights = answer(case)
        return [probabilities[..., ::-1], weights]

    result = measure(answer, exchanged, random_cases(CENTRES, SPREADS))
    assert 0 < result.argmax_differences < result.answers
    with pytest.raises(ImerError, match="predicts another class"):
        require_parity(result, "copy")
    with pytest.raises(ImerError, match="another class for 1 of 9 random inputs"):
        require_parity(parity.Parity(3, 9, 1e-6, 1), "copy")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda case: [answer(case)[0][..., :2], answer(case)[1]], "outputs of shapes"),
        (lambda case: [answer(case)[0] * np.nan, answer(case)[1]], "not finite"),
        (lambda case: answer(case)[:1], "outputs of shapes"),
    ],
)
def test_outputs_of_another_kind_are_refused(broken: parity.Runner, message: str) -> None:
    with pytest.raises(ImerError, match=message):
        measure(answer, broken, random_cases(CENTRES, SPREADS))
