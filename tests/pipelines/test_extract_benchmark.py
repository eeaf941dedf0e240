"""The extraction benchmark: its clips are real clips, and its goals say what they measure."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.facenet_detector import batched_nms, non_maximum_suppression, to_tensor

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("extract_throughput")


def test_the_clips_have_a_face_a_voice_and_words(benchmark: Any, tmp_path: Path) -> None:
    from imer.extractors.face_detection import FaceDetector
    from imer.media.decode import ClipReader, Sight, Sound
    from imer.media.manifest import read_manifest
    from imer.media.segments import Segment

    manifest = benchmark.make_clips(tmp_path, 2, 0.6)
    assert benchmark.media_seconds(manifest) == (2, pytest.approx(1.2, abs=0.3))
    utterances = read_manifest(manifest).utterances
    assert all(len((utterance.text or "").split()) > 5 for utterance in utterances)
    events = list(ClipReader(tmp_path / "1.mp4", [Segment()], frames_per_s=5.0).read())
    pictures = [event.picture.rgb for event in events if isinstance(event, Sight)]
    assert [picture.shape for picture in pictures] == [(360, 640, 3)] * 3
    assert all(len(found) == 1 for found in FaceDetector("cpu").detect(pictures))
    assert max(abs(event.samples).max() for event in events if isinstance(event, Sound)) > 0.1


def test_goals_compare_like_with_like(benchmark: Any) -> None:
    def run(name: str, wall_s: float, cpu_s: float, peak_mib: float) -> Any:
        return benchmark.Measured(name, wall_s, cpu_s, peak_mib, {})

    figures = {
        "runs": [run("plain", 70.0, 75.0, 900), run("1 thread", 76.0, 75.0, 900), run("1", 19.0, 18.5, 1200),
                 run("2", 10.0, 19.0, 1600), run("half", 8.0, 15.0, 1600)],
        "in_memory_cpu_s": {"audio": 2.0, "text": 0.5, "visual": 15.0},
        "agreement": {"share_found": 1.0, "cosine_median": 0.98},
        "same_store": True,
    }  # fmt: skip
    found = {what: (value, reached) for what, value, _, reached in benchmark.goals(figures, 80.0)}
    assert found["times the plain loop's throughput (wall)"] == (7.0, True)
    assert found["the same with bfloat16 faces (wall)"] == (8.75, True)
    assert found["times the models alone, 2 workers (wall)"] == (pytest.approx(10 / 8.75), True)
    assert found["two workers, times one (wall)"] == (1.9, True)
    assert found["times real time, 2 workers (wall)"] == (8.0, True)
    assert found["median cosine of the embeddings"] == (0.98, False)
    assert found["peak memory of a process, MiB"] == (1600, False)


def test_suppression_keeps_the_best_of_each_heap() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60], [0, 0, 10, 10.0]])
    scores = torch.tensor([0.8, 0.9, 0.5, 0.7])
    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [1, 2]
    assert non_maximum_suppression(boxes, scores, 0.99).tolist() == [1, 0, 2]
    classes = torch.tensor([0, 0, 0, 1])
    assert batched_nms(boxes, scores, classes, 0.5).tolist() == [1, 3, 2]
    assert batched_nms(boxes[:0], scores[:0], classes[:0], 0.5).tolist() == []


def test_suppression_equals_its_definition() -> None:
    """Random boxes against the definition, pair by pair."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        corner = rng.uniform(0, 50, (40, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (40, 2))], axis=1).astype(np.float32)
        scores = rng.permutation(40).astype(np.float32)
        kept: list[int] = []
        for i in np.argsort(-scores):
            if all(overlap(boxes[i], boxes[j]) <= 0.5 for j in kept):
                kept.append(int(i))
        assert non_maximum_suppression(torch.tensor(boxes), torch.tensor(scores), 0.5).tolist() == kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (area - width * height))


def test_pictures_become_tensors() -> None:
    picture = np.full((2, 3, 3), 255, dtype=np.uint8)
    assert to_tensor(picture).shape == (3, 2, 3)
    assert to_tensor(picture).max() == 1.0
    assert to_tensor(picture.astype(np.float32)).max() == 255.0
    assert to_tensor(picture[:, :, 0]).shape == (1, 2, 3)
