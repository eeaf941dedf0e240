"""A hundred thousand utterances: how long planning, packing, masking, merging, opening and random reading take.

    python benchmarks/big_stores.py [--utterances 100000] [--folder DIR] [--json figures.json]

The manifest, its media files (small ones: nothing is decoded) and the finished work of the default extractors (random
values of their real widths, in a real staging folder) are made here. Then the real commands run, each in a fresh process:
`imer extract --dry-run` on nothing, `imer extract` on the finished work (it checks every shard, packs, and reads back
what it wrote), `imer mask`, `imer data merge` on four shards, `imer data inspect`, and a reader that takes utterances at
random.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PER_FILE = 10  # utterances of one media file
SHARDS = 4
N_READ = 20_000
SEED = 0


@dataclass(frozen=True)
class Figure:
    """One row of the table: what was measured, against which goal; the CPU seconds and peak memory of its process."""

    what: str
    value: float
    unit: str
    goal: str
    met: bool | None
    cpu_s: float | None = None
    peak_mib: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a command took: wall and CPU seconds, peak memory."""

    wall_s: float
    cpu_s: float | None = None
    peak_mib: float | None = None


def make_corpus(folder: Path, n: int) -> Path:
    """Write small files that stand for media, and a manifest of all their utterances."""
    clips = folder / "clips"
    clips.mkdir()
    rng = np.random.default_rng(SEED)
    for number in range(-(-n // PER_FILE)):
        (clips / f"{number}.mp4").write_bytes(rng.bytes(4096))
    path = folder / "manifest.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["utterance_id", "media", "start", "end", "text", "dialogue_id", "speaker", "split", "emotion"])
        for i in range(n):
            start, clip = i % PER_FILE * 4.0, i // PER_FILE
            words = f"What was said in utterance {i} of call {clip}, about as long as people speak."
            emotion = ("anger", "joy", "neutral", "sadness")[i % 4]
            split = ("train", "train", "val", "test")[clip % 4]
            row = [f"c{clip}_u{i % PER_FILE}", f"clips/{clip}.mp4", start, start + 4, words, f"c{clip}", f"s{i % 50}"]
            writer.writerow([*row, split, emotion])
    return path


def stage(manifest: Path, out: Path, shard: str | None = None) -> None:
    """Leave the finished work of every utterance of a shard as a killed extraction would."""
    from imer.core.types import Verdict
    from imer.extraction.plan import in_shard, parse_shard, plan_tasks
    from imer.extraction.recipe import Recipe
    from imer.extraction.sources import Sources
    from imer.extraction.staging import Staging
    from imer.extractors.base import Extracted
    from imer.media.manifest import read_manifest

    utterances = read_manifest(manifest).utterances
    numbers = list(range(len(utterances)))
    if shard is not None:
        root, part = manifest.parent.resolve(), parse_shard(shard)
        numbers = [i for i in numbers if in_shard(utterances[i], root, part)]
        utterances = tuple(utterances[i] for i in numbers)
    specs = Recipe.of(None, None, None, {}, "cpu").specs()
    sources = Sources(utterances, specs, manifest.parent)
    staging = Staging(out.with_name(out.name + ".staging"))
    staging.start(resume=True, notice=print)
    for task in plan_tasks(utterances, specs, lambda row, modality: True):  # in the order of a real extraction
        for row, modality in task.cells:
            values = np.random.default_rng(numbers[row]).normal(size=(1, specs[modality].dim))
            absent = modality == "visual" and numbers[row] % 7 == 0
            result = Extracted(Verdict.no_face) if absent else Extracted(Verdict.ok, values.astype(np.float32))
            staging.add(utterances[row].utterance_id, modality, sources.key(row, modality), result, "", 0.0)
    staging.flush()


def timed(command: list[str]) -> tuple[Cost, dict[str, Any]]:
    """Run a command; return what it took and the JSON that it printed."""
    watcher = "import json,resource,subprocess,sys\nr=subprocess.run(sys.argv[1:]).returncode\n" \
              "u=resource.getrusage(resource.RUSAGE_CHILDREN)\n" \
              "print(json.dumps([u.ru_utime+u.ru_stime, u.ru_maxrss/1024]), file=sys.stderr)\nsys.exit(r)"  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watcher, *command], capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Cost(wall_s, *json.loads(done.stderr.splitlines()[-1])), json.loads(done.stdout)


def timed_call(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def read_at_random(store_path: Path) -> dict[str, float]:
    """Open a store and take utterances at random, all modalities of each; print the seconds."""
    from imer.store.reader import FeatureStore

    def opened() -> None:
        with FeatureStore.open(store_path, verify=False) as store:
            assert len(store.utterance_ids) == store.n

    open_s = min(timed_call(opened) for _ in range(3))
    before_s = time.process_time()
    verify_s = timed_call(lambda: FeatureStore.open(store_path).close())
    verify_cpu_s = time.process_time() - before_s
    with FeatureStore.open(store_path, verify=False) as store:
        features = [store.feature(modality) for modality in store.modalities]
        chosen = np.random.default_rng(SEED).integers(store.n, size=N_READ).tolist()

        def read() -> None:
            for i in chosen:
                for feature in features:
                    feature.of(i)

        before_s = time.process_time()
        read_s = timed_call(read)
        read_cpu_s = time.process_time() - before_s
    return {"open_s": open_s, "verify_s": verify_s, "verify_cpu_s": verify_cpu_s, "read_per_s": N_READ / read_s,
            "read_cpu_s": read_cpu_s}  # fmt: skip


def measure(folder: Path, n: int) -> list[Figure]:
    manifest = make_corpus(folder, n)
    imer = [sys.executable, "-m", "imer"]
    own = [sys.executable, __file__]
    out = folder / "features.h5"
    share = n / 100_000
    figures: list[Figure] = []

    def note(what: str, value: float, unit: str, limit: float | None, cost: Cost | None = None) -> None:
        above = unit.endswith("/s")
        met = None if limit is None else (value >= limit if above else value <= limit)
        goal = "" if limit is None else f"{'≥' if above else '≤'} {limit:g} {unit}"
        cpu_s, peak_mib = (cost.cpu_s, cost.peak_mib) if cost else (None, None)
        figures.append(
            Figure(what, round(value, 3), unit, goal, met, cpu_s and round(cpu_s, 2), peak_mib and round(peak_mib))
        )
        print(f"{what}\t{value:.2f} {unit}", file=sys.stderr, flush=True)

    cost, document = timed([*imer, "extract", str(manifest), "-o", str(out), "--dry-run", "--json", "-q"])
    assert document["counts"]["cells"] == 3 * n
    note("plan (imer extract --dry-run)", cost.wall_s, "s", 30, cost)
    subprocess.run([*own, "--stage", str(manifest), str(out)], check=True)
    extract = [*imer, "extract", str(manifest), "--workers", "1", "--json", "-q"]
    cost, document = timed([*extract, "-o", str(out)])
    assert document["counts"]["reused"] == 3 * n
    digest = document["content_sha256"]
    note("pack (imer extract, all work done)", cost.wall_s, "s", 600 * share, cost)
    note("size of the store", out.stat().st_size / 2**20, "MiB", None)
    cost, document = timed([*own, "--read", str(out)])
    note("open, and read all ids", document["open_s"], "s", 1)
    note(
        "open with every byte verified",
        document["verify_s"],
        "s",
        1,
        Cost(document["verify_s"], document["verify_cpu_s"]),
    )
    reading = Cost(N_READ / document["read_per_s"], document["read_cpu_s"], cost.peak_mib)
    note(f"{N_READ} utterances at random, all three modalities", document["read_per_s"], "utterances/s", 2000, reading)
    cost, document = timed([*imer, "data", "inspect", str(out), "--json", "-q"])
    note("inspect, verified (imer data inspect)", cost.wall_s, "s", None, cost)
    mask = [*imer, "mask", str(out), "-o", str(folder / "mask.h5"), "--missing-rate", "0.6", "--json", "-q"]
    cost, document = timed(mask)
    assert document["counts"]["utterances"] == n
    note("mask (imer mask, exact)", cost.wall_s, "s", 60 * share, cost)
    parts = [folder / f"part{i}.h5" for i in range(1, SHARDS + 1)]
    for i, part in enumerate(parts, 1):
        subprocess.run([*own, "--stage", str(manifest), str(part), f"{i}/{SHARDS}"], check=True)
        timed([*extract, "-o", str(part), "--shard", f"{i}/{SHARDS}"])
    merge = [*imer, "data", "merge", *map(str, parts), "-o", str(folder / "merged.h5"), "--json", "-q"]
    cost, document = timed(merge)
    assert document["content_sha256"] == digest, "the merged store is another one"
    note(f"merge of {SHARDS} shards (imer data merge; same digest)", cost.wall_s, "s", 600 * share, cost)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to work; some GB; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--stage", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        stage(Path(given.stage[0]), Path(given.stage[1]), *given.stage[2:])
        return
    if given.read:
        print(json.dumps(read_at_random(given.read)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        figures = measure(Path(name), given.utterances)
    print(f"{given.utterances} utterances, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")
    print("\t".join(["what", "value", "unit", "goal", "met", "CPU s", "peak MiB"]))
    for figure in figures:
        met = {True: "yes", False: "NO", None: ""}[figure.met]
        cells = [figure.what, figure.value, figure.unit, figure.goal, met, figure.cpu_s or "", figure.peak_mib or ""]
        print("\t".join(map(str, cells)))
    if given.json:
        facts = {"utterances": given.utterances, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
        given.json.write_text(json.dumps(facts | {"figures": [vars(figure) for figure in figures]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
