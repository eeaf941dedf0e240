"""Packed rows find their dialogues and come back, and so do their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.batches.dialogues import Dialogues, Resident
from imer.batches.layout import Packed, Padded
from tests.batches.small import small_corpus

lengths_of = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def table(lengths: list[int], spare: int = 0) -> np.ndarray:
    """Return which slots are real, with `spare` more of padding than needed."""
    return np.arange(max(lengths) + spare)[None] < np.array(lengths)[:, None]


@settings(max_examples=40)
@given(lengths=lengths_of, spare=st.integers(0, 3), m=st.integers(1, 3))
def test_rows_come_back_as_they_went(lengths: list[int], spare: int, m: int) -> None:
    valid = table(lengths, spare)
    packed = Packed(valid)
    x = torch.randn(m, 1, packed.n, 5, dtype=torch.float64, requires_grad=True)
    along = packed.to_dialogues(x)
    assert torch.equal(packed.valid_BU, torch.from_numpy(valid))
    assert torch.equal(along[:, packed.valid_BU], x[:, 0])
    assert torch.isfinite(along).all()
    assert torch.equal(packed.to_rows(along), x)
    wanted = torch.randn_like(x)
    packed.to_rows(along.square()).backward(wanted)
    assert torch.allclose(x.grad, 2 * x * wanted)
    mask = torch.rand(m, 1, packed.n) < 0.5
    spread = packed.mask_to_dialogues(mask)
    assert torch.equal(spread[:, packed.valid_BU], mask[:, 0])
    assert not spread[:, ~packed.valid_BU].any()


@settings(max_examples=40)
@given(lengths=lengths_of, parts=st.integers(1, 3), heads=st.integers(1, 3))
def test_heads_are_split_as_in_the_padded_table(lengths: list[int], parts: int, heads: int) -> None:
    packed, m, width = Packed(table(lengths)), 2, 4
    padded, real = Padded(packed.valid_BU), packed.valid_BU
    x = torch.randn(m, 1, packed.n, parts * heads * width, dtype=torch.float64, requires_grad=True)
    expected = padded.split_heads(packed.to_dialogues(x), parts, heads)
    found = packed.split_heads(x, parts, heads)
    for e, f in zip(expected, found, strict=True):
        assert torch.equal(e, f)
        joined = packed.join_heads(f)
        assert torch.equal(joined[:, 0], padded.join_heads(e)[:, real])
        # What is read back may be read from padding too, as long as padding is not what is moved.
        wanted = torch.randn_like(joined)
        (by_table,) = torch.autograd.grad(padded.join_heads(e)[:, real], x, wanted[:, 0], retain_graph=True)
        (by_rows,) = torch.autograd.grad(joined, x, wanted, retain_graph=True)
        assert torch.allclose(by_rows, by_table)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_packed_batch_is_the_real_part_of_a_padded_one(task: str) -> None:
    corpus = small_corpus([3, 1, 2], task=task, speakers=[["x", "y", "x"], ["y"], ["z", "x"]])
    resident = Resident.place(corpus, corpus.features, corpus.target_N, torch.device("cpu"))
    observed = torch.from_numpy(np.random.default_rng(0).random((6, 2)) < 0.5)
    (rows,) = Dialogues.of(corpus, np.arange(6)).batches(100)
    padded, packed = resident.batch(rows, observed), resident.packed_batch(rows, observed)
    assert packed.valid_BU.all()
    assert packed.valid_BU.shape == (1, 6)
    for name in ("observed_BUM", "target_BU", "row_BU", "speaker_BU", "labelled_BU"):
        assert torch.equal(packed.of_real(getattr(packed, name)), padded.of_real(getattr(padded, name)))
    for name, values in packed.features.items():
        assert torch.equal(packed.of_real(values), padded.of_real(padded.features[name]))
    assert torch.equal(packed.layout.valid_BU, padded.valid_BU)
