"""Batches hold every utterance once, in its dialogue and its order, with little padding."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.batches.dialogues import LONGEST_READ, Dialogues, Resident
from tests.batches.small import small_corpus


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=15),
    budget=st.integers(1, 60),
    seed=st.none() | st.integers(0, 5),
    dialogues=st.integers(0, 4),
    least=st.integers(1, 3),
)
def test_every_utterance_once_in_order(
    lengths: list[int], budget: int, seed: int | None, dialogues: int, least: int
) -> None:
    corpus = small_corpus(lengths)
    rng = None if seed is None else np.random.default_rng(seed)
    tables = Dialogues.of(corpus, np.arange(corpus.n)).batches(budget, rng, least=least, dialogues=dialogues)
    seen = np.concatenate([table[table >= 0] for table in tables])
    assert sorted(seen.tolist()) == list(range(corpus.n))
    for table in tables:
        assert table.shape[1] == (table >= 0).sum(axis=1).max()
        if dialogues:
            assert len(table) <= dialogues
        else:
            assert table.size <= budget or len(table) <= least
        for row_U in table:
            rows = row_U[row_U >= 0]
            assert len(set(corpus.dialogue_ids[rows])) == 1
            assert corpus.positions[rows].tolist() == list(range(len(rows)))
            assert (row_U[len(rows) :] == -1).all()


def test_the_order_depends_on_the_generator_alone() -> None:
    dialogues = Dialogues.of(corpus := small_corpus([3, 5, 2, 8, 4, 4, 1, 9]), np.arange(corpus.n))
    first, again, other = (dialogues.batches(12, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(first) != len(other) or any(
        a.shape != b.shape or (a != b).any() for a, b in zip(first, other, strict=True)
    )


def test_padding_to_a_length() -> None:
    corpus = small_corpus([2, 3])
    (table,) = Dialogues.of(corpus, np.arange(5)).batches(100, pad_to=7)
    assert table.shape == (2, 7)


@given(lengths=st.lists(st.integers(1, 40), max_size=8), longest=st.integers(1, 20))
def test_parts_are_few_alike_and_in_order(lengths: list[int], longest: int) -> None:
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    parts = Dialogues(np.arange(starts[-1]), starts).in_parts(longest)
    assert set(starts) <= set(parts.starts), "a part reaches into another dialogue"
    assert ((parts.lengths > 0) & (parts.lengths <= longest)).all()
    for start, end in pairwise(starts):
        own = np.diff([cut for cut in parts.starts if start <= cut <= end])
        assert len(own) == -(-(end - start) // longest)
        assert own.max() - own.min() <= 1


def test_a_very_long_dialogue_is_read_in_parts() -> None:
    corpus = small_corpus([3, 2 * LONGEST_READ + 1])
    tables = Dialogues.of(corpus, np.arange(corpus.n)).batches(1, least=1)
    assert [table.shape for table in tables] == [(1, 3), (1, 683), (1, 683), (1, 683)]
    assert sorted(np.concatenate([table.ravel() for table in tables]).tolist()) == list(range(corpus.n))
    (whole, _) = Dialogues.of(corpus, np.arange(corpus.n)).batches(1, dialogues=1, pad_to=2 * LONGEST_READ + 1)
    assert whole.shape[1] == 2 * LONGEST_READ + 1, "a faithful preset pads to its own length and reads whole"


def test_a_batch_gathers_what_its_table_says() -> None:
    corpus = small_corpus([3, 2], task="regression")
    resident = Resident.place(corpus, corpus.features, corpus.target_N, torch.device("cpu"))
    observed = torch.from_numpy(np.random.default_rng(0).random((5, 2)) < 0.5)
    (table,) = Dialogues.of(corpus, np.arange(5)).batches(100)
    batch = resident.batch(table, observed)
    assert batch.valid_BU.sum() == 5
    for b, u in zip(*np.nonzero(table >= 0), strict=True):
        row = table[b, u]
        assert torch.equal(batch.features["audio"][b, u], torch.from_numpy(corpus.features["audio"][row]))
        assert torch.equal(batch.observed_BUM[b, u], observed[row])
        assert batch.target_BU[b, u] == np.float32(corpus.target_N[row])
    assert not batch.observed_BUM[~batch.valid_BU].any()
    assert not batch.labelled_BU[~batch.valid_BU].any()


def test_speakers_are_numbered_by_first_appearance() -> None:
    corpus = small_corpus([4, 2], speakers=[["x", "y", "x", "z"], ["y", "x"]])
    resident = Resident.place(corpus, corpus.features, corpus.target_N, torch.device("cpu"))
    observed = torch.from_numpy(corpus.present_NM)
    (table,) = Dialogues.of(corpus, np.arange(6)).batches(100)
    by_length = [[0, 1, 0, 0], [0, 1, 0, 2]]
    assert resident.batch(table, observed).speaker_BU.tolist() == by_length
    packed = resident.packed_batch(table, observed).speaker_BU
    assert packed.tolist() == [[0, 1, 0, 1, 0, 2]]
    # Of some rows of a dialogue, those that speak in them: what another part says has no say.
    (part,) = Dialogues.of(corpus, corpus.rows_of(["d0_u1", "d0_u3"])).batches(100)
    assert resident.batch(part, observed).speaker_BU.tolist() == [[0, 1]]
