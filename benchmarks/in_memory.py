"""The models of `imer extract` alone, on data that are in memory already: what no pipeline can be faster than.

    python benchmarks/in_memory.py MANIFEST WEIGHTS FPS

Every clip is decoded first, untimed; then the extractors take its sound, text and frames, on one thread. Prints the CPU
seconds of each as JSON, loading not counted.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path


def in_memory(manifest: Path, weights: Path, fps: float) -> dict[str, float]:
    """Return the CPU seconds of the audio, text and visual extractors over all clips."""
    import numpy as np
    import torch

    from imer.extraction.hearing import heard
    from imer.extractors.facenet import FaceNet
    from imer.extractors.opensmile import EGeMAPS
    from imer.extractors.sentence import MiniLM
    from imer.media.decode import ClipReader, Sound
    from imer.media.sampling import Picture, Waveform
    from imer.media.segments import Segment

    audio, text, visual = EGeMAPS(), MiniLM(), FaceNet(frames_per_s=fps, face_weights=str(weights))
    for extractor in (audio, text, visual):
        extractor.load("cpu")
    torch.set_num_threads(1)
    heard(np.sin(np.arange(16_000, dtype=np.float32) / 20), audio)
    text.extract("The first text is slower than the others.")
    seconds = dict.fromkeys(("audio", "text", "visual"), 0.0)
    with open(manifest, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        wave, frames = Waveform(), list[Picture]()
        for event in ClipReader(manifest.parent / row["media"], [Segment()], frames_per_s=fps).read():
            if isinstance(event, Sound):
                wave.add(event.samples, event.rate_hz)
            else:
                frames.append(event.picture)
        sound = wave.finish()
        started = time.process_time()
        heard(sound, audio)
        seconds["audio"] += time.process_time() - started
        started = time.process_time()
        text.extract(row["text"])
        seconds["text"] += time.process_time() - started
        started = time.process_time()
        session = visual.begin()
        for picture in frames:
            session.add(picture)
        session.finish()
        seconds["visual"] += time.process_time() - started
    return seconds


if __name__ == "__main__":
    sys.stdout.write(json.dumps(in_memory(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))) + "\n")
