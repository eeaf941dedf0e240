"""Summed tables: means over windows, and a window's table gives what the whole one does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imer.extractors.summed import SummedFrames, Window

HEIGHT, WIDTH = 37, 53
FRAMES = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)
WHOLE = SummedFrames(FRAMES)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    return left, top, draw(st.integers(left + 1, WIDTH)), draw(st.integers(top + 1, HEIGHT))


@given(rows=st.integers(1, HEIGHT), columns=st.integers(1, WIDTH))
def test_a_level_is_adaptive_mean_pooling(rows: int, columns: int) -> None:
    """Beside torch's own."""
    import torch

    level, first_row, first_column = WHOLE.level(rows, columns)
    frames = torch.from_numpy(FRAMES).permute(0, 3, 1, 2).double()
    pooled = torch.nn.functional.adaptive_avg_pool2d(frames, (rows, columns)).numpy()
    assert (first_row, first_column) == (0, 0)
    assert np.abs(level - (pooled - 127.5) / 128).max() < 1e-6


@given(window=windows(), rows=st.integers(1, HEIGHT), columns=st.integers(1, WIDTH))
def test_a_window_of_a_level_is_that_part_of_the_whole_level(window: Window, rows: int, columns: int) -> None:
    part, first_row, first_column = SummedFrames(FRAMES, window).level(rows, columns)
    whole, _, _ = WHOLE.level(rows, columns)
    assert first_row % 2 == first_column % 2 == 0
    assert np.array_equal(part, whole[:, :, first_row:, first_column:][:, :, : part.shape[2], : part.shape[3]])


def test_a_window_leaves_out_only_what_reaches_over_its_edges() -> None:
    part, first_row, first_column = SummedFrames(FRAMES, (10, 5, 40, 30)).level(HEIGHT, WIDTH)
    assert (first_row, first_column) == (6, 10)  # the first even ones: a level of this size has the frame's own pixels
    assert part.shape[2:] == (30 - 6, 40 - 10)


@given(
    window=windows(),
    corner=st.tuples(st.floats(-5, WIDTH), st.floats(-5, HEIGHT)),
    size=st.tuples(st.floats(1, 40), st.floats(1, 40)),
    side=st.integers(1, 24),
)
def test_a_box_within_a_window_is_cut_out_as_of_the_whole(
    window: Window, corner: tuple[float, float], size: tuple[float, float], side: int
) -> None:
    box = np.array([[*corner, corner[0] + size[0], corner[1] + size[1]]], dtype=np.float32)
    left, top, right, bottom = (int(edge) for edge in np.trunc(box[0]))
    seen = SummedFrames(FRAMES, window)
    visible = max(left, 1) <= min(right, WIDTH) and max(top, 1) <= min(bottom, HEIGHT)
    assert bool(WHOLE.holds(box)[0]) == visible
    inside = window[0] < max(left, 1) and window[1] < max(top, 1) and right <= window[2] and bottom <= window[3]
    if visible and inside:
        assert seen.holds(box)[0]
        for frame in (0, 1):
            of_both = [table.cut(np.array([frame]), box, side) for table in (seen, WHOLE)]
            assert np.array_equal(*of_both)
