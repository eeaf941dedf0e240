"""Hours of extraction in one process, with a fault every so often: nothing leaks, nothing hangs, every store is the same.

    python -m tests.campaigns.soak --minutes 480 --fault 30     as before a release: a fault every thirty seconds
    python -m tests.campaigns.soak --minutes 10 --fault 5

The same small corpus is extracted again and again, by the real command in one long-lived process. Every so often one of its
workers is killed or stopped for good. After every round memory and open files are looked at; the slope is that of the
second half, when all caches are full.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from imer.core.errors import EXIT_PARTIAL
from tests.campaigns import workbench
from tests.campaigns.workbench import Counts

LEAK_KIB = 4.0  # a round, at most
MEASURED_FROM = 200  # rounds in the second half; fewer cannot tell so little from noise
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def memory_mib() -> float:
    """Return what this process holds of memory of its own (not what it shares with its workers or libraries)."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(shared)) * PAGE_MIB


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def lost(out: Path) -> str:
    """Say what else failed than the file that always does."""
    errors = out.parent / "errors.jsonl"
    lines = map(json.loads, errors.read_text(encoding="utf-8").splitlines() if errors.exists() else [])
    return ", ".join(
        f"{line['utterance_id']} {line['code']}" for line in lines if line["utterance_id"] != workbench.BROKEN
    )


def disturb(every_s: float, rng: random.Random, counts: Counts, stop: threading.Event) -> None:
    """Now and then kill a worker of this process, or stop it so that it answers no more."""
    while not stop.wait(every_s):
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        if not children:
            continue
        how = signal.SIGKILL if rng.random() < 0.8 else signal.SIGSEGV
        with suppress(ProcessLookupError):
            os.kill(int(rng.choice(children)), how)
            counts.add(f"workers that met {how.name}")


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", minutes=10.0, fault=5.0)
    workbench.load_product(networks=False)

    def cases(root: Path, counts: Counts) -> None:
        workbench.corpus(root / "corpus")
        out, stop = root / "f.h5", threading.Event()
        extract = workbench.extract(root / "corpus", out, "-q")
        truth, said = "", io.StringIO()  # one for all rounds: Click keeps whatever it has once written to
        trouble = threading.Thread(
            target=disturb, args=(asked.fault, random.Random(asked.seed), counts, stop), daemon=True
        )
        rounds: list[tuple[float, float, int]] = []
        started = time.monotonic()
        while (elapsed_s := time.monotonic() - started) < asked.minutes * 60:
            said.seek(0)
            said.truncate()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = extract()
            counts.add("rounds")
            case = f"round {len(rounds)}, {elapsed_s:.0f} s"
            counts.promise("rounds that failed", code == EXIT_PARTIAL, f"{case}: exit {code}: {said.getvalue()[-300:]}")
            found = workbench.content(out) if out.exists() else "nothing"
            truth = truth or found
            same = found == truth
            counts.promise("rounds with another result", same, case if same else f"{case}: {lost(out)}")
            if not rounds:
                trouble.start()
            rounds.append((elapsed_s, memory_mib(), open_files()))
        stop.set()
        half = np.array(rounds[len(rounds) // 2 :])
        leak_kib = float(np.polyfit(np.arange(len(half)), half[:, 1], 1)[0]) * 1024
        print(
            f"memory of its own after the first round: {rounds[0][1]:.1f} MiB; after half: {half[0, 1]:.1f}; at the end:"
        )
        print(
            f"{half[-1, 1]:.1f}; {leak_kib:+.2f} KiB a round in the second half, {len(rounds)} rounds in {half[-1, 0]:.0f} s"
        )
        more = int(half[-1, 2] - half[0, 2])
        counts.promise("open files that leaked", more <= 0, f"{more} more at the end than after half of the rounds")
        if len(half) >= MEASURED_FROM:
            counts.promise("memory that leaked", leak_kib <= LEAK_KIB, f"{leak_kib:.2f} KiB a round")

    return workbench.carry_out("a soak of imer extract", asked, cases)


if __name__ == "__main__":
    sys.exit(main())
