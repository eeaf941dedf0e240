"""A feature read in pieces is the feature: for any lengths of the utterances, whoever is absent, however long the pieces."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.core.types import FeatureSpec, Utterance
from imer.store import feature
from imer.store.reader import FeatureStore
from imer.store.writer import FeatureBlock, write_store


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 60), st.integers(1, 3))
def test_means_over_frames(lengths: list[int], at_once: int, dim: int) -> None:
    """`lengths` of the utterances in frames; who has none is absent."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.random.default_rng(0).standard_normal((offsets[-1], dim)).astype(np.float32)
    spec = FeatureSpec("audio", "test", "1", "frame", dim, 0.01)
    utterances = [Utterance(f"u{i}", "d", i, i + 2) for i in range(len(lengths))]
    with tempfile.TemporaryDirectory() as folder, patch.object(feature, "VALUES_AT_ONCE", at_once):
        path = Path(folder) / "f.h5"
        block = FeatureBlock(spec, offsets, np.array(lengths) > 0, [values])
        write_store(path, utterances, [block], {"audio": np.zeros(len(lengths))})
        with FeatureStore.open(path) as store:
            means, present = store.vectors("audio")
            own = [store.feature("audio").of(i) for i in range(len(lengths))]
    assert present.tolist() == [length > 0 for length in lengths]
    for i, length in enumerate(lengths):
        frames = values[offsets[i] : offsets[i + 1]]
        assert np.array_equal(own[i], frames)
        expected = frames.astype(np.float64).sum(axis=0) / length if length else np.full(dim, np.nan)
        assert np.array_equal(means[i], expected.astype(np.float32), equal_nan=True)
