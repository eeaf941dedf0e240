"""What an extractor may give back, and what becomes of anything else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from imer.core.types import FeatureSpec, Verdict
from imer.extractors.base import Extracted, as_promised

VECTOR = FeatureSpec("text", "some", "1", "utterance", 2)
FRAMES = FeatureSpec("audio", "some", "1", "frame", 2, hop_s=0.01)


@pytest.mark.parametrize("spec", [VECTOR, FRAMES])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, bool])
def test_numbers_of_any_kind_are_kept_as_float32(spec: FeatureSpec, kind: type) -> None:
    kept = as_promised(Extracted(Verdict.ok, np.ones((1, 2), dtype=kind)), spec)
    assert kept.verdict is Verdict.ok
    assert kept.values_TD is not None
    assert kept.values_TD.dtype == np.float32
    assert kept.values_TD.tolist() == [[1.0, 1.0]]


def test_frames_may_be_many_and_a_failure_has_no_values() -> None:
    assert as_promised(Extracted(Verdict.ok, np.ones((7, 2))), FRAMES).verdict is Verdict.ok
    silent = Extracted(Verdict.silent, message="the audio is silent.")
    assert as_promised(silent, VECTOR) is silent


@pytest.mark.parametrize(
    ("result", "spec", "said"),
    [
        (None, VECTOR, "gave a NoneType"),
        (np.ones((1, 2)), VECTOR, "gave a ndarray"),
        (Extracted(Verdict.ok), VECTOR, "gave no array of numbers"),
        (Extracted(Verdict.ok, np.array([["a", "b"]])), VECTOR, "gave no array of numbers"),
        (Extracted(Verdict.ok, np.ones((2, 2))), VECTOR, r"gave values of shape \(2, 2\), and not \(1, 2\)"),
        (Extracted(Verdict.ok, np.ones((1, 3))), VECTOR, r"gave values of shape \(1, 3\), and not \(1, 2\)"),
        (Extracted(Verdict.ok, np.ones(2)), FRAMES, r"gave values of shape \(2,\), and not \(frames, 2\)"),
    ],
)
def test_what_is_not_as_promised_is_a_failure_that_says_so(result: object, spec: FeatureSpec, said: str) -> None:
    found = as_promised(result, spec)
    assert (found.verdict, found.values_TD, found.code) == (Verdict.decode_error, None, "E-EXTRACT")
    assert re.match(f"the extractor some {said}", found.message), found.message


def test_values_that_are_not_finite_or_not_there_have_their_own_verdicts() -> None:
    assert as_promised(Extracted(Verdict.ok, np.array([[1.0, np.nan]])), VECTOR).verdict is Verdict.non_finite
    assert as_promised(Extracted(Verdict.ok, np.ones((0, 2))), FRAMES).verdict is Verdict.too_short
