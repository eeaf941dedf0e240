"""The face: a detector finds it whatever it shows, and its landmarks go where the expression says."""

from __future__ import annotations

import numpy as np
import pytest

from imer.core.types import MODALITIES
from imer.demo.expressions import ACTIONS, AT_REST, EXPRESSIONS, LANDMARKS, PAINTED
from imer.demo.face import FACE_BOX, HEIGHT, WIDTH, face_rig
from imer.demo.scene import FRAME_HEIGHT, FRAME_WIDTH, frames, look_of, room, silhouette
from imer.demo.script import Line
from imer.extractors.face_detection import FaceDetector


def _line(cue: str, name: str = "s01_d01_u01", absent: frozenset[str] = frozenset()) -> Line:
    cues = dict.fromkeys(MODALITIES, cue)
    return Line(
        name, "s01_d01", 0, "s01_a", "s01", "train", cue, 0.0, 1.0, cues, "They told me dinner is at seven.", absent
    )


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector("cpu")


def test_actions_move_known_landmarks() -> None:
    for shift in (AT_REST, *ACTIONS.values()):
        assert set(shift) <= set(LANDMARKS)
    for weights in EXPRESSIONS.values():
        assert set(weights) <= {*ACTIONS, *PAINTED}


def test_an_expression_changes_the_face_and_nothing_else() -> None:
    rig = face_rig()
    at_rest, angry = rig.draw({}), rig.draw(EXPRESSIONS["angry"])
    assert at_rest.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(angry[rig.box].astype(int) - at_rest[rig.box]).max() > 60
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[rig.box] = False
    assert np.array_equal(angry[outside], at_rest[outside])
    left, top, right, bottom = FACE_BOX
    assert all(left < x < right and top < y < bottom for x, y in LANDMARKS.values())


def test_detector_sees_every_expression_and_the_corners_of_the_mouth(detector: FaceDetector) -> None:
    mouth = np.array([0.0, 0.6, 0.2, 1.0, 0.4], np.float32)
    corners_below_nose = {}
    for emotion in EXPRESSIONS:
        pictures = [*frames(_line(emotion), np.tile(mouth, 4), 0)][-len(mouth) :]
        found = detector.detect(pictures)
        assert all(len(faces) == 1 for faces in found)
        points = np.mean([faces[0].landmarks for faces in found], axis=0)  # eyes, nose, corners of the mouth
        distance = np.hypot(*(points[1] - points[0]))
        corners_below_nose[emotion] = (points[3:, 1].mean() - points[2, 1]) / distance
    assert corners_below_nose["happy"] < corners_below_nose["neutral"] < corners_below_nose["sad"]


def test_nobody_in_view(detector: FaceDetector) -> None:
    pictures = list(frames(_line("happy", absent=frozenset({"visual"})), np.zeros(3, np.float32), 0))
    assert [picture.shape for picture in pictures] == [(FRAME_HEIGHT, FRAME_WIDTH, 3)] * 3
    assert detector.detect(pictures) == [[], [], []]


def test_the_head_moves_and_the_mouth_opens() -> None:
    still = list(frames(_line("neutral"), np.zeros(20, np.float32), 0))
    talking = list(frames(_line("neutral"), np.tile([0.0, 1.0], 10).astype(np.float32), 0))
    assert not np.array_equal(still[0], still[19])
    assert np.array_equal(still[2], talking[2])
    assert not np.array_equal(still[3], talking[3])


def test_speakers_and_rooms_differ() -> None:
    assert len({look_of(f"s{n:02d}_a", 0).zoom for n in range(6)}) == 6
    assert not np.array_equal(room("s01", 0), room("s02", 0))
    assert np.array_equal(room("s01", 0), room("s01", 0))


def test_silhouette_covers_the_face_and_not_the_wall() -> None:
    person = silhouette()
    assert person[face_rig().box][20:-20, 60:-60].min() == 255
    assert person[:10, :10].max() == 0
    assert person[:10, -10:].max() == 0
