"""What it saves to search most frames around known faces only, and whether the same faces come out.

    python benchmarks/face_search.py MANIFEST [--strides 2,4,8,16] [--fps 5] [--clips 20]

Every frame of the first clips of a manifest is searched whole, and then with each stride. Prints, for each: CPU milliseconds a
frame, the share of frames that were searched whole, faces missed and added, how far boxes moved (pixels), and the cosine
of the HOG of the aligned faces. Frames are decoded first and not timed. One thread.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from imer.extractors.alignment import aligned_face
from imer.extractors.face_detection import BATCH_ON_CPU, Face, FaceDetector
from imer.extractors.hog import hog
from imer.extractors.search import FaceSearch
from imer.media.decode import ClipReader, Sight
from imer.media.segments import Segment


class Counting(FaceDetector):
    """Counts the frames that it searches whole."""

    n_whole = 0

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        self.n_whole += len(frames)
        return super().detect(frames)


def searched(
    detector: Counting, clips: list[list[np.ndarray]], stride: int, fps: float
) -> tuple[list[list[Face]], float]:
    """Return the faces of all frames of all clips, and the CPU seconds."""
    detector.n_whole, found = 0, []
    start = time.process_time()
    for frames in clips:
        search = FaceSearch(detector, stride, fps)
        for first in range(0, len(frames), BATCH_ON_CPU):
            found += search.faces_in(frames[first : first + BATCH_ON_CPU])
    return found, time.process_time() - start


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--strides", default="2,4,8,16")
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--clips", type=int, default=20)
    given = parser.parse_args()
    with open(given.manifest, newline="", encoding="utf-8") as file:
        paths = [given.manifest.parent / row["media"] for row in csv.DictReader(file)][: given.clips]
    clips = []
    for path in paths:
        reader = ClipReader(path, [Segment()], audio=False, frames_per_s=given.fps)
        clips.append([event.picture.rgb for event in reader.read() if isinstance(event, Sight)])
    pictures = [frame for frames in clips for frame in frames]
    detector = Counting("cpu")
    detector.detect(pictures[:1])
    print(f"{len(clips)} clips, {len(pictures)} frames, {given.fps:g} a second")
    columns = ("stride", "ms/frame", "whole", "missed", "added", "same box", "99 % within", "HOG cosine", "least")
    print("\t".join(columns))
    expected: list[list[Face]] = []
    for stride in (1, *map(int, given.strides.split(","))):
        found, seconds = searched(detector, clips, stride, given.fps)
        expected = expected or found
        pairs = [(n, a[0], b[0]) for n, (a, b) in enumerate(zip(expected, found, strict=True)) if a and b]
        moved = np.array([np.abs(a.box - b.box).max() for _, a, b in pairs])
        cosines = [
            _cosine(hog(aligned_face(pictures[n], a)[0]), hog(aligned_face(pictures[n], b)[0])) for n, a, b in pairs
        ]
        missed = sum(max(len(a) - len(b), 0) for a, b in zip(expected, found, strict=True))
        added = sum(max(len(b) - len(a), 0) for a, b in zip(expected, found, strict=True))
        print(
            f"{stride}\t{seconds / len(pictures) * 1e3:.1f}\t{detector.n_whole / len(pictures):.0%}\t{missed}\t{added}\t"
            f"{np.mean(moved < 0.01):.1%}\t{np.percentile(moved, 99):.1f} px\t{np.median(cosines):.4f}\t{min(cosines):.4f}"
        )


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))


if __name__ == "__main__":
    main()
