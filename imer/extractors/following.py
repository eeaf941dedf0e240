"""Follow one person through a clip, batch by batch, so that an hour needs no more memory than a second."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from imer.core.errors import UsageError, did_you_mean
from imer.core.types import Verdict
from imer.extractors.base import Extracted, checked_level, finite
from imer.extractors.face_detection import Face, FaceDetector
from imer.extractors.moments import Moments
from imer.extractors.search import DEFAULT_STRIDE, FaceSearch, checked_stride
from imer.media.sampling import Picture

CHOICE_FRAMES = 16  # over which a person is chosen
POLICIES = ("largest", "central", "confident")
_SAME_PERSON_OVERLAP = 0.2  # intersection over union with the face's last box
_LOST_AFTER = 10  # sampled frames without the followed face before another may take its place


def checked_policy(policy: str) -> str:
    """Return the policy, or say which there are.

    Raises
    ------
    UsageError
        There is no such policy.
    """
    if policy not in POLICIES:
        raise UsageError(f"There is no face policy {policy!r}; {did_you_mean(policy, POLICIES)}")
    return policy


class FaceFollower:
    """Chooses one person and stays with them.

    Where nobody is being followed, the faces of the batch are linked to tracks by overlap and the policy chooses the
    best track: `largest` by summed area, `central` by area weighed by nearness to the middle, `confident` by summed
    confidence. The choice holds until that face has been gone for 10 sampled frames (2 s at 5 frames/s).
    """

    def __init__(self, policy: str) -> None:
        self._policy = checked_policy(policy)
        self._last: Face | None = None
        self._gone = 0

    def choose(self, found: Sequence[Sequence[Face]], width: int, height: int) -> list[Face | None]:
        """Return the followed person's face in each frame of a batch, or None where it is not seen."""
        chosen: list[Face | None] = []
        for index, faces in enumerate(found):
            if self._last is None:
                self._last = self._best_start(found[index:], width, height)
            face = None
            if self._last is not None:
                near = [(self._last.overlap(other), other.confidence, n) for n, other in enumerate(faces)]
                best = max(near, default=(0.0, 0.0, 0))
                face = faces[best[2]] if best[0] >= _SAME_PERSON_OVERLAP else None
            if face is not None:
                self._last, self._gone = face, 0
            elif self._last is not None:
                self._gone += 1
                if self._gone >= _LOST_AFTER:
                    self._last, self._gone = None, 0
            chosen.append(face)
        return chosen

    def _best_start(self, found: Sequence[Sequence[Face]], width: int, height: int) -> Face | None:
        tracks: list[list[Face]] = []
        for faces in found:
            for face in faces:
                for track in tracks:
                    if track[-1].overlap(face) >= _SAME_PERSON_OVERLAP:
                        track.append(face)
                        break
                else:
                    tracks.append([face])
        if not tracks:
            return None
        return max(tracks, key=lambda track: sum(self._worth(face, width, height) for face in track))[0]

    def _worth(self, face: Face, width: int, height: int) -> float:
        if self._policy == "confident":
            return face.confidence
        if self._policy == "largest":
            return face.area
        middle = np.array([width, height]) / 2
        offset = np.abs((face.box[:2] + face.box[2:]) / 2 - middle) / middle  # 0 in the middle, 1 at an edge
        return face.area * float(np.clip(1.0 - offset, 0.0, 1.0).prod())


PLACE = ("time_s", "box_left", "box_top", "box_right", "box_bottom", "face_confidence")


def place(picture: Picture, face: Face) -> np.ndarray:
    """Return when and where a face is, and how sure that is: float32 [6], the box in shares of the frame's sides."""
    height, width = picture.rgb.shape[:2]
    box = face.box / np.array([width, height, width, height])
    return np.array([picture.time_s, *box, face.confidence], dtype=np.float32)


class SeesFaces:
    """What every extractor of one person's face can be told, and its detector."""

    def __init__(
        self,
        level: str = "utterance",
        frames_per_s: float = 5.0,
        face_policy: str = "largest",
        face_stride: int = DEFAULT_STRIDE,
    ) -> None:
        self.level = checked_level(level)
        self.frames_per_s = frames_per_s
        self.face_policy = checked_policy(face_policy)
        self.face_stride = checked_stride(face_stride)
        self._detector: FaceDetector | None = None

    @property
    def detector(self) -> FaceDetector:
        if self._detector is None:
            raise RuntimeError("load() comes before begin()")
        return self._detector

    @property
    def seeing(self) -> dict[str, Any]:
        """All of it that changes which face is seen where: a part of the fingerprint."""
        return {
            **FaceDetector.config,
            "frames_per_s": self.frames_per_s,
            "face_policy": self.face_policy,
            "face_stride": self.face_stride,
            **({"times": "since the utterance's start"} if self.level == "frame" else {}),
        }


class FollowedFaces(ABC):
    """Takes an utterance's pictures batch by batch through detection, choice of person, and description.

    At frame level it keeps a row a face, with its time, box and confidence; otherwise the moments of all rows.
    """

    extractor: str  # its name

    def __init__(self, extractor: SeesFaces) -> None:
        self._batch_frames = extractor.detector.batch_frames
        self._search = FaceSearch(extractor.detector, extractor.face_stride, extractor.frames_per_s)
        self._follower = FaceFollower(extractor.face_policy)
        self._waiting: list[Picture] = []
        self._rows: list[np.ndarray] | None = [] if extractor.level == "frame" else None
        self._moments = Moments()
        self.n_frames = 0
        self.n_faces = 0

    def add(self, picture: Picture) -> None:
        if self._waiting and self._waiting[0].rgb.shape != picture.rgb.shape:  # a stream may change its frame size
            self.settle()
        self._waiting.append(picture)
        if len(self._waiting) == self._batch_frames:
            self.settle()

    def settle(self) -> None:
        """Send what waits through the detector, and take what is seen of the followed person."""
        if not self._waiting:
            return
        pictures, self._waiting = self._waiting, []
        height, width = pictures[0].rgb.shape[:2]
        found = self._search.faces_in([picture.rgb for picture in pictures])
        chosen: list[Face | None] = []
        for start in range(0, len(found), CHOICE_FRAMES):
            chosen += self._follower.choose(found[start : start + CHOICE_FRAMES], width, height)
        seen = [(picture, face) for picture, face in zip(pictures, chosen, strict=True) if face is not None]
        self.n_frames += len(pictures)
        self.n_faces += len(seen)
        if seen:
            self.take(seen)

    @abstractmethod
    def take(self, seen: list[tuple[Picture, Face]]) -> None:
        """Describe the followed person's faces of one batch; their rows are kept now or before `finish` ends."""

    def places(self, seen: list[tuple[Picture, Face]]) -> np.ndarray | None:
        """Return when and where the faces are [T, 6], where that is asked for."""
        return None if self._rows is None else np.stack([place(*one) for one in seen])

    def keep(self, rows_TD: np.ndarray, places_T6: np.ndarray | None) -> None:
        """Keep the faces' values, and their places at frame level."""
        if self._rows is None or places_T6 is None:
            self._moments.add(rows_TD)
        else:
            self._rows.append(np.hstack([rows_TD, places_T6]))

    @abstractmethod
    def pooled(self, moments: Moments) -> np.ndarray:
        """Return an utterance's values [D] from the moments of its faces' values."""

    def finish(self) -> Extracted:
        self.settle()
        if (verdict := self.nothing()) is not None:
            return verdict
        values_TD = self.pooled(self._moments)[None, :] if self._rows is None else np.concatenate(self._rows)
        return finite(values_TD, self.extractor)

    def nothing(self) -> Extracted | None:
        """Return the verdict of an utterance without a usable face, or None where there is one."""
        if not self.n_frames:
            return Extracted(Verdict.too_short, message="no video frame lies within the segment.")
        if not self.n_faces:
            return Extracted(Verdict.no_face, message=f"no face in {self.n_frames} sampled frames.")
        return None
