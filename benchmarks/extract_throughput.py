"""How fast `imer extract` is, beside the same work in a plain loop with each library's documented defaults.

    python benchmarks/extract_throughput.py [--clips 8] [--seconds 10] [--fps 5] [--manifest grid/manifest.csv]
                                            [--face-weights PATH] [--json FILE] [--plain-clips 12] [--whole-only]

The clips are made here (`extract_clips.py`), or taken from a manifest with media and text. Every figure is of a fresh
process, imports and model loading included, except those of the models alone (`in_memory.py`). The plain loop is
`plain_loop.py`. All use the same face weights: a file that you name, or random ones made here, whose seconds are real.

Wall-clock figures need a quiet machine; CPU seconds hardly do. With 8 clips it takes about five minutes, with 100 about
an hour, most of it in the plain loop. `--plain-clips` lets that do the first so many clips only, and its seconds beside
loading are multiplied up to all clips; `--whole-only` leaves out the runs of one modality.
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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from extract_clips import make_clips, make_weights

HERE = Path(__file__).parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
COMPARED_CLIPS = 20  # whose embeddings are compared frame by frame
MODALITIES = ("audio", "text", "visual")


@dataclass(frozen=True)
class Measured:
    """One run: wall and CPU seconds of all its processes, peak memory of the largest one, CPU seconds by stage."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mib: float
    stage_s: dict[str, float]
    printed: str = ""


def measure(name: str, command: list[str], environment: dict[str, str] | None = None) -> Measured:
    """Run a command to its end and measure it."""
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
    stages = json.loads(done.stdout).get("stage_s", {}) if done.stdout.startswith("{") else {}
    return Measured(name, wall_s, cpu_s, int(done.stderr.split()[-1]) / 1024, stages, done.stdout)


def agreement(plain: dict[str, Any], store_path: Path) -> dict[str, float]:
    """Compare the embeddings frame by frame: the plain loop's faces, the share found too, and the cosines."""
    from imer.extractors.facenet import WIDTH
    from imer.store.reader import FeatureStore

    def unit(rows: Any) -> np.ndarray:
        values = np.asarray(rows, dtype=np.float64)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    same: list[np.ndarray] = []
    others: list[np.ndarray] = []
    n_plain = n_both = 0
    with FeatureStore.open(store_path) as store:
        values, offsets, _ = store.ragged("visual")
        for index, name in enumerate(store.utterance_ids):
            theirs = [e for e in plain["embeddings"][name] if e is not None]
            ours = values[offsets[index] : offsets[index + 1], :WIDTH]
            n_plain += len(theirs)
            n_both += min(len(ours), len(theirs))
            if theirs and len(ours) == len(theirs):
                a, b = unit(theirs), unit(ours)
                same.append((a * b).sum(axis=1))
                others.append((a * np.roll(b, len(b) // 2, axis=0)).sum(axis=1))
    cosines = np.concatenate(same) if same else np.full(1, np.nan)
    return {
        "faces": n_plain,
        "share_found": n_both / max(n_plain, 1),
        "cosine_median": float(np.median(cosines)),
        "cosine_1st_percentile": float(np.percentile(cosines, 1)),
        "cosine_of_other_frames": float(np.median(np.concatenate(others))) if others else float("nan"),
    }


def media_seconds(manifest: Path) -> tuple[int, float]:
    """Return how many clips there are and how long they are together."""
    from imer.media.probe import plausible_duration_s

    with open(manifest, newline="", encoding="utf-8") as file:
        durations = [plausible_duration_s(manifest.parent / row["media"]) for row in csv.DictReader(file)]
    return len(durations), sum(durations)


def first_clips(manifest: Path, n: int) -> Path:
    """Write the first n rows of a manifest as another one beside it."""
    lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    part = manifest.with_name(f"first_{n}.csv")
    part.write_text("".join(lines[: n + 1]), encoding="utf-8")
    return part


def multiplied(run: Measured, load_s: float, factor: float) -> Measured:
    """Return what the run would have taken for `factor` times the clips: loading once, the rest so many times."""
    wall_s, cpu_s = (load_s + (spent - load_s) * factor for spent in (run.wall_s, run.cpu_s))
    return replace(run, name=f"{run.name} (from 1/{factor:.1f} of the clips)", wall_s=wall_s, cpu_s=cpu_s)


def run_all(
    manifest: Path, weights: Path, fps: float, folder: Path, *, plain_share: tuple[int, int], whole_only: bool
) -> dict[str, Any]:
    """Make every run; return all figures. `plain_share`: how many of how many clips the plain loop does."""
    some, n_clips = plain_share
    factor = n_clips / some
    looped = manifest if factor == 1 else first_clips(manifest, some)
    plain_file = folder / "plain.json"
    loop = [sys.executable, str(HERE / "plain_loop.py"), str(looped), str(weights), str(fps), str(plain_file)]
    base = [sys.executable, "-m", "imer", "extract", str(manifest), "--json", "-q", "--fps", str(fps)]
    facenet = [*base, "--visual", "facenet", "--face-weights", str(weights)]
    runs = [measure("plain loop", loop)]
    plain = json.loads(plain_file.read_text())
    runs.append(measure("plain loop, one thread", loop, ONE_THREAD))
    if factor > 1:
        runs = [multiplied(run, plain["load_s"], factor) for run in runs]
        plain = {**plain, **{key: {k: v * factor for k, v in plain[key].items()} for key in ("wall_s", "cpu_s")}}
    # A cache of our own: the first run on a machine converts the networks, all others find them there.
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    one_clip = [*facenet, "--workers", "1", "--limit", "1", "-o"]
    starts = [measure(name, [*one_clip, str(folder / f"{name}.h5")]) for name in ("first start", "later start")]
    for workers in (1, 2):
        command = [*facenet, "--workers", str(workers), "-o", str(folder / f"{workers}.h5")]
        runs.append(measure(f"imer extract, {workers} worker{'s' * (workers > 1)}", command))
    half = [*facenet, "--workers", "2", "--face-precision", "bfloat16", "-o", str(folder / "half.h5")]
    runs.append(measure("imer extract, 2 workers, bfloat16 faces", half))
    for modality in () if whole_only else MODALITIES:
        off = [part for other in MODALITIES if other != modality for part in (f"--{other}", "none")]
        command = [*(facenet if modality == "visual" else base), *off, "--workers", "2"]
        runs.append(measure(f"imer extract, {modality} only", [*command, "-o", str(folder / f"{modality}.h5")]))
    if not whole_only:
        command = [*base, "--audio", "none", "--text", "none", "--workers", "2", "-o", str(folder / "hog.h5")]
        runs.append(measure("imer extract, face/geometry-hog only", command))
    alone = measure("in memory", [sys.executable, str(HERE / "in_memory.py"), str(manifest), *loop[3:5]], ONE_THREAD)
    compared = str(min(COMPARED_CLIPS, some))
    frames = [*facenet, "--level", "frame", "--audio", "none", "--text", "none", "--limit", compared]
    measure("frames", [*frames, "-o", str(folder / "frames.h5")])
    return {
        "runs": runs,
        "starts": starts,
        "plain": {key: plain[key] for key in ("load_s", "wall_s", "cpu_s")},
        "in_memory_cpu_s": json.loads(alone.printed),
        "agreement": agreement(plain, folder / "frames.h5"),
        "same_store": len({json.loads(run.printed)["content_sha256"] for run in runs[2:4]}) == 1,
    }


def goals(figures: dict[str, Any], seconds: float) -> list[tuple[str, float, str, bool]]:
    """Return (what, measured, goal, reached) of everything that the pipeline is meant to reach on two cores."""
    plain, _, one, two, half = figures["runs"][:5]
    alone_s = sum(figures["in_memory_cpu_s"].values())
    share, cosine = (figures["agreement"][key] for key in ("share_found", "cosine_median"))
    peak = max(one.peak_mib, two.peak_mib)
    return [
        ("times the plain loop's throughput (wall)", plain.wall_s / two.wall_s, ">= 6", plain.wall_s >= 6 * two.wall_s),
        ("the same with bfloat16 faces (wall)", plain.wall_s / half.wall_s, "-", True),
        ("times the plain loop's throughput (CPU seconds)", plain.cpu_s / two.cpu_s, "-", True),
        ("share of the plain loop's faces found", share, ">= 0.99", share >= 0.99),
        ("median cosine of the embeddings", cosine, ">= 0.99", cosine >= 0.99),
        ("times the models alone, 2 workers (wall)", two.wall_s / (alone_s / 2), "<= 1.2", two.wall_s <= 0.6 * alone_s),
        ("times the models alone, 1 worker (CPU seconds)", one.cpu_s / alone_s, "-", True),
        ("two workers, times one (wall)", one.wall_s / two.wall_s, ">= 1.85", one.wall_s >= 1.85 * two.wall_s),
        ("times real time, 2 workers (wall)", seconds / two.wall_s, ">= 6", seconds >= 6 * two.wall_s),
        ("peak memory of a process, MiB", peak, "<= 1536", peak <= 1536),
        ("same store from one and two workers", float(figures["same_store"]), "1", figures["same_store"]),
    ]


def plain_by_modality(plain: dict[str, Any], which: str) -> dict[str, float]:
    """Return the plain loop's seconds by modality: its stages one after another."""
    stages = plain[which]
    visual = stages["decode video"] + stages["detect"] + stages["embed"]
    return {"audio": stages["decode audio"] + stages["audio"], "text": stages["text"], "visual": visual}


def report(figures: dict[str, Any], n_clips: int, seconds: float, fps: float) -> None:
    """Print the tables."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{n_clips} clips, {seconds:.0f} s of media, {fps:g} frames/s, {os.cpu_count()} cores, load {load}\n")
    print("\t".join(["run", "wall_s", "cpu_s", "clips_per_s", "x_real_time", "cpu_s_per_media_minute", "peak_mib"]))
    for run in figures["runs"]:
        row = [run.wall_s, run.cpu_s, n_clips / run.wall_s, seconds / run.wall_s, run.cpu_s * 60 / seconds]
        print("\t".join([run.name, *(f"{value:.2f}" for value in row), f"{run.peak_mib:.0f}"]))
    walls = plain_by_modality(figures["plain"], "wall_s")
    cpus = plain_by_modality(figures["plain"], "cpu_s")
    for modality, wall_s in walls.items():
        row = [wall_s, cpus[modality], n_clips / wall_s, seconds / wall_s, cpus[modality] * 60 / seconds]
        print("\t".join([f"plain loop, {modality} only", *(f"{value:.2f}" for value in row), "-"]))
    print("\nCPU seconds by stage (share)")
    plain = figures["plain"]
    shown = [("plain loop", {**plain["cpu_s"], "load": plain["load_s"]}, figures["runs"][0].cpu_s)]
    shown += [(run.name, run.stage_s, run.cpu_s) for run in figures["runs"][2:]]
    shown += [("models alone, in memory", figures["in_memory_cpu_s"], sum(figures["in_memory_cpu_s"].values()))]
    for name, stages, total in shown:
        parts = {**stages, "rest": max(total - sum(stages.values()), 0.0)}
        told = [f"{stage} {value:.1f} ({value / total:.0%})" for stage, value in parts.items() if value >= 0.05]
        print("\t".join([name, ", ".join(told)]))
    for start in figures["starts"]:
        print(f"one clip, {start.name}: {start.wall_s:.1f} s, {start.cpu_s:.1f} CPU s, {start.peak_mib:.0f} MiB")
    print("\nagreement with the plain loop: " + json.dumps(figures["agreement"]))
    print("\ngoal\tmeasured\twanted\t")
    for what, value, wanted, reached in goals(figures, seconds):
        print(f"{what}\t{value:.3f}\t{wanted}\t{'' if reached else 'NOT REACHED'}")


def main() -> None:
    """Measure, print, and write the JSON if it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--face-weights", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plain-clips", type=int, help="the plain loop does only so many clips")
    parser.add_argument("--whole-only", action="store_true", help="no runs of one modality")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = given.face_weights or folder / "resnet.pt"
        if given.face_weights is None:
            make_weights(weights)
        manifest = given.manifest or make_clips(folder, given.clips, given.seconds)
        n_clips, seconds = media_seconds(manifest)
        share = (min(given.plain_clips or n_clips, n_clips), n_clips)
        figures = run_all(manifest, weights, given.fps, folder, plain_share=share, whole_only=given.whole_only)
        report(figures, n_clips, seconds, given.fps)
        if given.json is not None:
            found = {what: value for what, value, _, _ in goals(figures, seconds)}
            measured = {
                kind: [{k: v for k, v in asdict(run).items() if k != "printed"} for run in figures[kind]]
                for kind in ("runs", "starts")
            }
            told = {**figures, **measured, "goals": found, "clips": n_clips, "media_s": seconds, "fps": given.fps}
            given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
