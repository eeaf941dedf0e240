"""Faces: found, followed, aligned, described; and never made up."""

from __future__ import annotations

import numpy as np
import pytest

from imer.core.errors import UsageError
from imer.core.types import Verdict
from imer.extractors.alignment import TEMPLATE, aligned_face, boxed_face, similarity
from imer.extractors.face_detection import Face, FaceDetector
from imer.extractors.following import PLACE, FaceFollower
from imer.extractors.geometry_hog import GeometryHog
from imer.extractors.hog import N_CELLS, ORIENTATIONS, hog
from imer.extractors.moments import Moments
from tests.clips import face, grey, portrait
from tests.extractors.faces import a_face, told


@pytest.fixture(scope="module")
def extractor() -> GeometryHog:
    made = GeometryHog()
    made.load("cpu")
    return made


@pytest.fixture(scope="module")
def detector(extractor: GeometryHog) -> FaceDetector:
    assert extractor._detector is not None
    return extractor._detector


def test_the_face_is_found_where_it_is(detector: FaceDetector) -> None:
    (found,) = detector.detect([portrait()])
    assert len(found) == 1
    left, top, right, bottom = found[0].box
    eyes = found[0].landmarks[:2]
    assert 70 < left < 110 < 150 < right < 190  # the astronaut's face in this crop
    assert 40 < top < 70 < 110 < bottom < 170
    assert eyes[0, 0] < eyes[1, 0]
    assert np.all((eyes > [left, top]) & (eyes < [right, bottom]))


def test_a_result_does_not_depend_on_batch_mates(detector: FaceDetector) -> None:
    frames = [face(i) for i in range(5)] + [grey(0)]
    together = detector.detect(frames)
    assert [len(found) for found in together] == [1, 1, 1, 1, 1, 0]
    for frame, found in zip(frames, together, strict=True):
        (alone,) = detector.detect([frame])
        assert len(alone) == len(found)
        for one, other in zip(alone, found, strict=True):
            assert np.abs(one.box - other.box).max() < 0.05
            assert np.abs(one.landmarks - other.landmarks).max() < 0.05


def test_boxes_are_those_of_the_library(detector: FaceDetector) -> None:
    """facenet-pytorch's own detector with its defaults, box by box; one face, two and none."""
    import torch

    from benchmarks.facenet_detector import facenet_pytorch_with_detector

    two = np.concatenate([portrait()[:, 40:200], portrait()[:, 40:200]], axis=1)
    frames = np.stack([face(3), two, grey(0), face(11)])
    library = facenet_pytorch_with_detector().MTCNN(keep_all=True)
    boxes, scores, points = library.detect(torch.from_numpy(frames), landmarks=True)
    assert [0 if found is None else len(found) for found in boxes] == [1, 2, 0, 1]
    for index, found in enumerate(detector.detect(list(frames))):
        assert len(found) == (0 if boxes[index] is None else len(boxes[index]))
        for n, one in enumerate(found):
            assert np.abs(one.box - boxes[index][n].astype(np.float32)).max() < 0.01
            assert np.abs(one.landmarks - points[index][n].astype(np.float32)).max() < 0.01
            assert one.confidence == pytest.approx(scores[index][n], abs=1e-4)


def test_a_stride_is_a_number_of_frames() -> None:
    for stride in (0, 17):
        with pytest.raises(UsageError, match="--face-stride"):
            GeometryHog(face_stride=stride)


def test_one_pass_moments_are_those_of_the_whole() -> None:
    rows = np.random.default_rng(0).normal(5.0, 0.1, (101, 7)).astype(np.float32)
    moments = Moments()
    for part in np.array_split(rows, 9):
        moments.add(part)
    whole = rows.astype(np.float64)
    assert np.allclose(moments.mean, whole.mean(axis=0), rtol=1e-12)
    assert np.allclose(moments.sd, whole.std(axis=0), rtol=1e-9)
    assert np.array_equal(moments.spread, np.ptp(whole, axis=0))


@pytest.mark.parametrize("shape", [(1, 1), (15, 15), (23, 400), (39, 60), (40, 40), (30, 2000)])
def test_tiny_and_thin_frames_have_no_face(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert detector.detect([np.zeros((*shape, 3), dtype=np.uint8)]) == [[]]


def test_alignment_puts_eyes_and_nose_in_their_places(detector: FaceDetector) -> None:
    (found,) = detector.detect([portrait()])
    for picture, where in ((portrait(), found[0]), *turned_and_doubled(found[0])):
        image, landmarks, _ = aligned_face(picture, where)
        assert image.shape == (160, 160)
        assert 0.2 < image.mean() < 0.8
        assert np.abs(landmarks[:3] - TEMPLATE).max() < 8
        upright, _, _ = aligned_face(portrait(), found[0])
        middle = (slice(30, 140), slice(30, 130))
        assert np.corrcoef(image[middle].ravel(), upright[middle].ravel())[0, 1] > 0.97


def turned_and_doubled(where: Face) -> list[tuple[np.ndarray, Face]]:
    """The portrait three times as large, and upside down, with the landmarks where they then are."""
    large = np.ascontiguousarray(np.kron(portrait(), np.ones((3, 3, 1), dtype=np.uint8)))
    height, width = portrait().shape[:2]
    turned = np.ascontiguousarray(portrait()[::-1, ::-1])
    return [
        (large, Face(where.box * 3, where.landmarks * 3, 1.0)),
        (turned, Face(where.box, np.array([width, height]) - where.landmarks, 1.0)),
    ]


def test_similarity_recovers_a_known_turn() -> None:
    points = np.random.default_rng(0).normal(size=(5, 2))
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    matrix = similarity(points, points @ turn.T + [3.0, -2.0])
    assert np.allclose(matrix, np.column_stack([turn, [3.0, -2.0]]))


def test_degenerate_landmarks_do_not_end_the_batch() -> None:
    point = Face(np.array([5, 5, 5, 5], np.float32), np.full((5, 2), 5, np.float32), 1.0)
    image, _, _ = aligned_face(portrait(), point)
    assert np.isfinite(image).all()
    outside = Face(np.array([-50, -50, -20, -20], np.float32), np.full((5, 2), -30, np.float32), 1.0)
    assert boxed_face(portrait(), outside).shape == (160, 160, 3)


def test_hog_sees_the_direction_of_an_edge_and_not_the_light() -> None:
    rows = np.repeat(np.sin(np.arange(160) / 3)[:, None], 160, axis=1) * 0.2 + 0.5
    across, along = hog(rows.astype(np.float32)), hog(rows.T.astype(np.float32))
    assert across.shape == (N_CELLS * ORIENTATIONS,)
    assert across.reshape(-1, 8).mean(axis=0).argmax() == 4  # the gradient points down: a right angle
    assert along.reshape(-1, 8).mean(axis=0).argmax() == 0
    darker = hog((rows * 0.6).astype(np.float32))
    assert np.abs(darker - across).max() < 0.15


def test_an_expression_is_visible_in_the_vector(extractor: GeometryHog) -> None:
    """A mouth painted shut changes the mouth's cells, and not the eyes' cells."""
    from PIL import Image, ImageFilter

    (found,) = extractor._detector.detect([portrait()])
    left, right = found[0].landmarks[3:]
    box = (int(left[0]) - 6, int(left[1]) - 8, int(right[0]) + 6, int(right[1]) + 10)
    image = Image.fromarray(portrait())
    image.paste(image.crop(box).filter(ImageFilter.GaussianBlur(6)), box)
    before = told(extractor, [portrait()] * 2).values_TD[0]
    after = told(extractor, [np.asarray(image)] * 2).values_TD[0]
    names = np.array(extractor.spec.dim_names)
    change = np.abs(after - before)
    mouth, eyes = (change[np.char.startswith(names, f"hog_{part}")].mean() for part in ("mouth", "eyes"))
    assert mouth > 1.3 * eyes


def test_a_clip_gives_one_named_vector(extractor: GeometryHog) -> None:
    result = told(extractor, [face(i) for i in range(20)])
    assert result.verdict is Verdict.ok
    assert result.values_TD.shape == (1, extractor.spec.dim) == (1, 447)
    assert len(set(extractor.spec.dim_names)) == 447
    frames = GeometryHog("frame")
    frames._detector = extractor._detector
    rows = told(frames, [face(i) for i in range(18)] + [grey(0), face(18)]).values_TD
    assert rows.shape == (19, frames.spec.dim) == (19, 380)
    time_s, *box, confidence = (rows[:, frames.spec.dim_names.index(name)] for name in PLACE)
    assert np.allclose(time_s * 5, [*range(18), 19], atol=1e-4), "a frame without the face has no row"
    left, top, right, bottom = (side.mean() * size for side, size in zip(box, (320, 240, 320, 240), strict=True))
    assert 60 < left < 120 < right < 200
    assert 40 < top < 80 < bottom < 180
    assert confidence.min() > 0.7


def test_no_face_and_no_frame(extractor: GeometryHog) -> None:
    assert told(extractor, [grey(i) for i in range(3)]).verdict is Verdict.no_face
    assert told(extractor, []).verdict is Verdict.too_short


def test_frames_without_the_face_are_left_out(extractor: GeometryHog) -> None:
    with_gaps = [face(0), grey(0), face(0), grey(1)]
    values = told(extractor, with_gaps).values_TD
    assert np.abs(values - told(extractor, [face(0), face(0)]).values_TD).max() < 1e-3


def test_a_stream_may_change_its_frame_size(extractor: GeometryHog) -> None:
    smaller = np.ascontiguousarray(face(0)[:200, :300])
    assert told(extractor, [face(0), smaller, face(1)]).verdict is Verdict.ok


def test_the_same_person_is_followed() -> None:
    """A small face that is always there is followed past a larger one that comes by later."""
    follower = FaceFollower("largest")
    first = [[a_face(10 + i, 10, 40)] for i in range(4)]
    later = [[a_face(200, 50, 90), a_face(14 + i, 10, 40)] for i in range(4)]
    assert all(chosen is not None and chosen.area == 1600 for chosen in follower.choose(first, 320, 240))
    assert all(chosen is not None and chosen.area == 1600 for chosen in follower.choose(later, 320, 240))


def test_another_takes_over_when_the_followed_face_stays_away() -> None:
    follower = FaceFollower("largest")
    assert follower.choose([[a_face(10, 10, 60)]], 320, 240)[0] is not None
    other = follower.choose([[a_face(200, 50, 50)]] * 16, 320, 240)
    assert [face is not None for face in other] == [False] * 10 + [True] * 6


def test_policies_choose_differently() -> None:
    left_large, middle_small, sure = a_face(0, 0, 80, 0.9), a_face(140, 90, 50, 0.9), a_face(250, 150, 40, 0.999)
    wanted = {"largest": left_large, "central": middle_small, "confident": sure}
    for policy, face_wanted in wanted.items():
        chosen = FaceFollower(policy).choose([[left_large, middle_small, sure]], 320, 240)
        assert chosen == [face_wanted], policy
    with pytest.raises(UsageError, match="did you mean 'largest'"):
        FaceFollower("larges")
