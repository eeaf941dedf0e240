"""Faces of several utterances share batches; each utterance gets its own rows back."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.extractors.face_queue import FaceQueue


def face(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, dtype=np.uint8)


def means(faces: list[np.ndarray]) -> np.ndarray:
    return np.stack([[one.mean(), one.max()] for one in faces])


@given(st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=12), max_size=8), st.integers(1, 9), st.randoms())
def test_rows_are_those_of_ones_own_faces_and_batches_are_full(
    utterances: list[list[int]], batch_faces: int, random: Random
) -> None:
    sizes: list[int] = []

    def embed(faces: list[np.ndarray]) -> np.ndarray:
        sizes.append(len(faces))
        return means(faces)

    queue = FaceQueue(embed, batch_faces)
    described = [(values, queue.add([face(value) for value in values])) for values in utterances]
    n_faces = sum(map(len, utterances))
    assert sizes == [batch_faces] * (n_faces // batch_faces), "as soon as a batch is full, and no sooner"
    random.shuffle(described)
    for values, rows in described:
        assert np.array_equal(rows.rows(), means([face(value) for value in values]))
        assert rows.ready
    assert sum(sizes) == n_faces
    assert len(sizes) == -(-n_faces // batch_faces)


def test_what_a_network_fails_on_costs_those_who_were_in_the_batch() -> None:
    def embed(faces: list[np.ndarray]) -> np.ndarray:
        if any(one.max() == 13 for one in faces):
            raise MemoryError("no room")
        return means(faces)

    queue = FaceQueue(embed, 2)
    early, torn, unlucky, late = (queue.add([face(v) for v in values]) for values in ([1, 2], [3, 13, 5], [6], [7]))
    assert np.array_equal(early.rows(), means([face(1), face(2)]))
    assert torn.ready
    with pytest.raises(MemoryError, match="no room"):
        torn.rows()
    assert np.array_equal(unlucky.rows(), means([face(6)]))
    assert np.array_equal(late.rows(), means([face(7)]))
