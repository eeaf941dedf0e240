"""Run the whole hostile corpus through `imer extract` and compare with the table: `python -m tests.hostile.run`.

Four runs: the good clips alone; everything; everything again with a limit on failures, which stops early; and the same
command without that limit, which goes on from there. Prints a table by family and what the processes did. Exit 0 if all
is as expected. `--table` prints every file with its expected verdicts as CSV and does nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import GUARD, ROOT  # the guard against network stands in every process from here on
from tests.hostile.generate import Corpus, all_cases, build
from tests.hostile.judge import Judgement, differing, judge
from tests.hostile.watch import ProcessWatch, Switchboard, Tripwire, as_an_ordinary_user

MODALITIES = ("audio", "text", "visual")
MEMORY_LIMIT = 2 << 30
OVERALL_LIMIT_S = 1800.0


@dataclass
class Run:
    """One run of the command line and what its processes did."""

    code: int
    out: str
    err: str
    seconds: float
    peaks: list[int]
    zombie_s: float
    left: list[int]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def extract(*arguments: object, limit_s: float = OVERALL_LIMIT_S) -> Run:
    """Run `imer extract` with permissions that are those of an ordinary user, and watch it."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "imer", "extract", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=ROOT,
        preexec_fn=as_an_ordinary_user,
    )  # fmt: skip
    watch = ProcessWatch(process.pid)
    watch.start()
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nkilled after {limit_s:g} s: the run hangs"
    left = watch.finish()
    children = [peak for pid, peak in watch.peak_bytes.items() if pid != process.pid]
    return Run(process.returncode, out, err, time.monotonic() - started, children, watch.longest_zombie_s, left)


def faults_of(run: Run, what: str, code: int) -> list[str]:
    """What a run did that none may do."""
    faults = []
    if run.code != code:
        faults.append(f"{what}: exit code {run.code} instead of {code}: {run.err[-500:]}")
    if "Traceback" in run.err:
        faults.append(f"{what}: a traceback: {run.err[-2000:]}")
    if max(run.peaks, default=0) > MEMORY_LIMIT:
        faults.append(f"{what}: a process held {max(run.peaks) / 2**20:.0f} MiB")
    if run.zombie_s > 10.0:  # one that has ended waits for its parent to take notice; nobody keeps one
        faults.append(f"{what}: a zombie stood for {run.zombie_s:.1f} s")
    if run.left:
        faults.append(f"{what}: processes {run.left} outlived it")
    return faults


def slowest_failure(errors: Path) -> tuple[float, str]:
    lines = [json.loads(line) for line in errors.read_text(encoding="utf-8").split("\n") if line]
    slowest = max(lines, key=lambda line: line["elapsed_s"])
    return slowest["elapsed_s"], slowest["utterance_id"]


def campaign(corpus: Corpus, out: Path, board: Switchboard, workers: str) -> tuple[list[str], Judgement]:
    """Do the four runs; return every fault and the verdicts' judgement."""
    wire = Tripwire(corpus.world.outside)
    both = ("--workers", workers, "--json")
    faults: list[str] = []
    alone = extract(corpus.good_manifest, "-o", out / "good.h5", *both)
    faults += faults_of(alone, "good clips alone", 0)
    whole = extract(corpus.manifest, "-o", out / "all.h5", *both)
    faults += faults_of(whole, "everything", 3)
    (out / "limited").mkdir()
    limited = (corpus.manifest, "-o", out / "limited" / "all.h5", *both)
    stopped = extract(*limited, "--max-failures", "40")
    faults += faults_of(stopped, "limited", 3)
    if (out / "limited" / "all.h5").exists() or not (out / "limited" / "all.h5.staging").is_dir():
        faults.append("limited: it published a store, or kept nothing of what was done")
    resumed = extract(*limited)
    faults += faults_of(resumed, "resumed", 3)
    if not faults:
        if not 0 < resumed.json["counts"]["reused"] < resumed.json["counts"]["cells"]:
            faults.append(f"resumed: reused {resumed.json['counts']['reused']} items")
        if resumed.json["content_sha256"] != whole.json["content_sha256"]:
            faults.append("resumed: its store is not that of the run that was never stopped")
    if not (out / "all.h5").exists():
        return [*faults, "everything: there is no store"], Judgement()
    faults += [f"depends on bad files: {what}" for what in differing(out / "good.h5", out / "all.h5")]
    if touched := wire.touched():
        faults.append(f"files outside the root were opened: {touched}")
    if board.calls():
        faults.append("somebody called the port that the playlists name")
    if made := [
        name for name in ("touched", "executed", "pickled") for place in (ROOT, corpus.root) if (place / name).exists()
    ]:
        faults.append(f"a file's content was executed: {made}")
    wire.close()
    result = judge(corpus, out / "all.h5", MODALITIES)
    runs = {"good clips alone": alone, "everything": whole, "everything, stopped early": stopped, "continued": resumed}
    print(f"\n{'run':28s} {'exit':>4s} {'wall s':>7s} {'children':>8s} {'peak MiB':>8s} {'zombie s':>8s}")
    for name, run in runs.items():
        peak = max(run.peaks, default=0) >> 20
        print(f"{name:28s} {run.code:4d} {run.seconds:7.1f} {len(run.peaks):8d} {peak:8d} {run.zombie_s:8.1f}")
    print("slowest failure: {:.1f} s, {!a}".format(*slowest_failure(out / "errors.jsonl")))
    return faults, result


def print_families(result: Judgement, corpus: Corpus) -> None:
    print(f"\n{'family':14s} {'files':>5s} {'as expected':>11s}  verdicts and codes (one per modality)")
    families = list(dict.fromkeys(case.family for case in corpus.cases))
    for family in families:
        n = sum(case.family == family for case in corpus.cases)
        codes = ", ".join(f"{code} {count}" for code, count in sorted(result.codes[family].items()))
        print(f"{family:14s} {n:5d} {result.right[family]:11d}  {codes}")
    print(f"{'all':14s} {len(corpus.cases):5d} {result.right.total():11d}")


def print_table() -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(["family", "file", "audio", "visual", "text", "row", "in the suite"])
    for case in all_cases():
        row = json.dumps({k: v if len(v) < 80 else f"{v[:40]}… ({len(v)} characters)" for k, v in case.row.items()})
        writer.writerow([case.family, case.path, case.audio, case.visual, case.text, row, case.fast])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the table of expected verdicts as CSV")
    parser.add_argument("--keep", type=Path, help="make the corpus here and leave it")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--family", action="append", help="only these families")
    options = parser.parse_args()
    if options.table:
        print_table()
        return 0
    assert GUARD.is_dir()
    base = options.keep or Path(tempfile.mkdtemp(prefix="hostile-"))
    cases = [case for case in all_cases() if not options.family or case.family in options.family]
    try:
        with Switchboard() as board:
            started = time.monotonic()
            corpus = build(base, board.port, cases)
            n_bytes = sum(path.stat().st_blocks * 512 for path in corpus.files())
            print(
                f"{len(cases)} hostile files and rows, {len(corpus.good)} good clips, {n_bytes / 2**20:.1f} MiB, "
                f"digest {corpus.digest()}, made in {time.monotonic() - started:.1f} s"
            )
            (base / "out").mkdir()
            faults, result = campaign(corpus, base / "out", board, options.workers)
        print_families(result, corpus)
        print(f"\nnot as the table says: {len(result.wrong)}; other faults: {len(faults)}")
        for sentence in [*result.wrong, *faults]:
            print(f"  {sentence}")
        return int(bool(result.wrong or faults))
    finally:
        if options.keep is None:
            corpus_root = base / "root"
            for folder in [path for path in corpus_root.rglob("*") if path.is_dir() and not path.is_symlink()]:
                folder.chmod(0o700)
            shutil.rmtree(base)


if __name__ == "__main__":
    sys.exit(main())
