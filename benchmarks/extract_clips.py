"""Clips and face weights for `extract_throughput.py`: made here, nothing is downloaded.

A clip is a real portrait (public domain, from scikit-image) that moves and turns lighter and darker on a textured ground,
640×360 at 25 frames/s, with a voice-like sound. Beyond twelve clips, the files are copies under other names: the work
is the same.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

DISTINCT = 12
FRAME_RATE, SAMPLE_RATE_HZ = 25, 16_000
WIDTH, HEIGHT, SIDE = 640, 360, 300


def make_clips(folder: Path, n_clips: int, seconds: float) -> Path:
    """Write the clips and their manifest; return the manifest."""
    from imer.demo.clip import write_clip
    from imer.demo.sentences import sentence

    cues = ("happy", "angry", "sad", "neutral")
    rng = np.random.default_rng(0)
    rows = []
    for clip in range(n_clips):
        path = folder / f"{clip}.mp4"
        if clip < DISTINCT:
            sound = voice(seconds, 110 + 10 * clip)
            write_clip(path, pictures(seconds, clip), sound, frame_rate=FRAME_RATE, sample_rate_hz=SAMPLE_RATE_HZ)
        else:
            shutil.copyfile(folder / f"{clip % DISTINCT}.mp4", path)
        words = " ".join(sentence(cues[(clip + n) % 4], rng) for n in range(2))
        rows.append({"utterance_id": f"clip{clip}", "media": path.name, "text": words})
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def pictures(seconds: float, clip: int) -> Iterator[np.ndarray]:
    """Yield the frames uint8 [360, 640, 3] of a clip."""
    from skimage import data, transform

    portrait = transform.resize(data.astronaut()[:300, 60:420], (SIDE, SIDE * 6 // 5)) * 255
    rng = np.random.default_rng(clip)
    ground = np.kron(rng.integers(60, 180, (45, 80, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    for frame in range(round(seconds * FRAME_RATE)):
        picture = np.roll(ground, frame, axis=1)
        left = int(140 + 100 * np.sin(frame / 40 + clip))
        top = int(30 + 25 * np.sin(frame / 25))
        light = 0.9 + 0.1 * np.sin(frame / 15 + clip)
        picture[top : top + SIDE, left : left + portrait.shape[1]] = portrait * light
        yield picture


def voice(seconds: float, pitch_hz: float) -> np.ndarray:
    """Return a voice-like sound, int16 [samples] at 16 kHz."""
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    glide = pitch_hz * (time_s + 0.05 * np.sin(2 * np.pi * 0.7 * time_s))
    tone = sum(np.sin(2 * np.pi * k * glide) / k for k in range(1, 20))
    return (0.2 * 32767 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s)) / 2).astype(np.int16)


def make_weights(path: Path) -> None:
    """Write weights of InceptionResnetV1 made here: random, but with every layer's statistics taken from pictures.

    So the layers answer as strongly as trained ones do, and different faces have different embeddings; a network fresh from
    its random numbers gives nearly the same embedding for everything, and a cosine between two of its embeddings says
    nothing. What the embeddings mean is another matter: nothing.
    """
    import torch

    from imer.extractors.facenet_import import facenet_pytorch

    torch.manual_seed(0)
    network = facenet_pytorch().InceptionResnetV1(pretrained=None, dropout_prob=0.0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.momentum = None  # the plain mean over all batches
    network.train()
    with torch.no_grad():
        for batch in _crops().split(32):
            network(batch)
    torch.save(network.eval().state_dict(), path)


def _crops() -> torch.Tensor:
    """Return 96 pictures float32 [96, 3, 160, 160] in about −1…1: faces, and other things, shifted and lit differently."""
    import torch
    from PIL import Image
    from skimage import data

    rng = np.random.default_rng(0)
    sources = [data.astronaut()[0:210, 120:330], data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    crops = []
    for n in range(96):
        source = Image.fromarray(sources[0 if n % 2 else rng.integers(1, len(sources))])
        side = int(min(source.size) * rng.uniform(0.5, 1.0))
        left, top = (int(rng.integers(0, size - side + 1)) for size in source.size)
        crop = np.asarray(source.crop((left, top, left + side, top + side)).resize((160, 160)), dtype=np.float32)
        crops.append(crop[:, :: rng.choice([-1, 1])] * rng.uniform(0.6, 1.1))
    return (torch.from_numpy(np.stack(crops).copy()).permute(0, 3, 1, 2) - 127.5) / 128.0
