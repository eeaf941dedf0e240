"""Where faces are looked for: what is found does not depend on it, and who comes or goes is noticed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from imer.extractors.face_detection import Face, FaceDetector
from imer.extractors.search import FaceSearch, same_faces
from tests.clips import portrait


class Counting(FaceDetector):
    """The real detector, which counts the frames that it searches whole."""

    n_whole = 0

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        self.n_whole += len(frames)
        return super().detect(frames)


@pytest.fixture(scope="module")
def loaded() -> Counting:
    return Counting("cpu")


@pytest.fixture
def detector(loaded: Counting) -> Counting:
    loaded.n_whole = 0
    return loaded


def scene(*corners: tuple[int, int]) -> np.ndarray:
    """A textured frame [360, 640, 3] with the portrait's face [130, 130] at each (left, top)."""
    rng = np.random.default_rng(1)
    frame = np.kron(rng.integers(60, 180, (45, 80, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    for left, top in corners:
        frame[top : top + 130, left : left + 130] = portrait()[40:170, 65:195]
    return frame


def searched(
    detector: FaceDetector, frames: list[np.ndarray], stride: int, batch: int = 16, frames_per_s: float = 5.0
) -> list[list[Face]]:
    search = FaceSearch(detector, stride, frames_per_s)
    return [faces for i in range(0, len(frames), batch) for faces in search.faces_in(frames[i : i + batch])]


def moving(n: int) -> list[np.ndarray]:
    return [scene((150 + 9 * i, 80 + 3 * (i % 5))) for i in range(n)]


def test_around_a_face_it_is_found_where_a_whole_search_finds_it(detector: Counting) -> None:
    frames = moving(21)
    everywhere = searched(detector, frames, 1)
    assert detector.n_whole == 21
    detector.n_whole = 0
    around = searched(detector, frames, 8)
    assert detector.n_whole == 3 + 1  # 0, 8, 15; then the last of the second batch, 20
    for whole, near in zip(everywhere, around, strict=True):
        assert len(whole) == len(near) == 1
        assert np.abs(whole[0].box - near[0].box).max() < 0.01
        assert np.abs(whole[0].landmarks - near[0].landmarks).max() < 0.01
        assert near[0].confidence == pytest.approx(whole[0].confidence, abs=1e-5)


def test_two_people_are_searched_around_each(detector: Counting) -> None:
    frames = [scene((60 + 4 * i, 60), (420 - 4 * i, 150)) for i in range(9)]
    around = searched(detector, frames, 8)
    assert detector.n_whole == 2
    assert [len(faces) for faces in around] == [2] * 9
    for whole, near in zip(searched(detector, frames, 1), around, strict=True):
        places = [sorted(float(face.box[0]) for face in faces) for faces in (whole, near)]
        assert places[0] == pytest.approx(places[1], abs=0.01)
        assert near[0].area >= near[1].area


def test_who_comes_goes_or_hides_is_noticed(detector: Counting) -> None:
    """Where the searched frames differ, or a known face is not there, the whole frame is searched."""
    comes = [scene((100, 100))] * 3 + [scene((100, 100), (400, 100))] * 6
    assert [len(faces) for faces in searched(detector, comes, 8)] == [1] * 3 + [2] * 6
    goes = [scene((100, 100))] * 4 + [scene()] * 5
    assert [len(faces) for faces in searched(detector, goes, 8)] == [1] * 4 + [0] * 5
    hides = [scene((100, 100))] * 4 + [scene()] + [scene((100, 100))] * 4
    detector.n_whole = 0
    assert [len(faces) for faces in searched(detector, hides, 8)] == [1] * 4 + [0] + [1] * 4
    assert detector.n_whole == 2 + 1
    jumps = [scene((100, 100))] * 4 + [scene((430, 180))] + [scene((100, 100))] * 4
    assert [len(faces) for faces in searched(detector, jumps, 8)] == [1] * 9


@pytest.mark.parametrize("batch", [1, 4, 5, 16])
def test_what_is_found_does_not_depend_on_the_batches(detector: Counting, batch: int) -> None:
    frames = moving(17)
    for one, other in zip(searched(detector, frames, 8, batch), searched(detector, frames, 8), strict=True):
        assert np.abs(one[0].box - other[0].box).max() < 0.01


def test_a_frame_in_two_seconds_is_searched_whole_however_few_there_are(detector: Counting) -> None:
    searched(detector, moving(9), 8, frames_per_s=1.0)
    assert detector.n_whole == 5
    detector.n_whole = 0
    searched(detector, moving(4), 8, frames_per_s=0.2)
    assert detector.n_whole == 4


def test_a_stream_may_change_its_size(detector: Counting) -> None:
    search = FaceSearch(detector, 8, 5.0)
    assert len(search.faces_in([scene((100, 100))])[0]) == 1
    smaller = np.ascontiguousarray(scene((100, 100))[:300, :500])
    assert [len(faces) for faces in search.faces_in([smaller] * 3)] == [1] * 3


def a_face(left: float, top: float, side: float) -> Face:
    box = np.array([left, top, left + side, top + side], dtype=np.float32)
    return Face(box, np.zeros((5, 2), dtype=np.float32), 0.9)


def test_faces_of_two_frames_are_the_same_people_or_not() -> None:
    one, two = a_face(0, 0, 50), a_face(200, 0, 80)
    assert same_faces([one, two], [a_face(205, 5, 82), a_face(10, 0, 52)]) is not None
    pairs = same_faces([one], [a_face(60, 0, 50)])
    assert pairs is not None
    assert pairs[0][0] is one
    assert same_faces([one], [one, two]) is None  # someone came
    assert same_faces([one], [a_face(90, 0, 50)]) is None  # too far
    assert same_faces([one], [a_face(0, 0, 90)]) is None  # too large
    beside = a_face(20, 0, 50)
    assert same_faces([one, beside], [a_face(5, 0, 50), a_face(500, 0, 50)]) is None  # both are nearest to one of them
    assert same_faces([], []) == []
