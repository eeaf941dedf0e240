"""SIGKILL at random moments: nothing that was acknowledged is lost, and the resumed result is that of a quiet run.

    python -m tests.campaigns.kills --times 1200                 imer extract
    python -m tests.campaigns.kills --times 100 --what train     imer train
    python -m tests.campaigns.kills --times 0 --every 1          at every file call of the whole command, one after another

A run is killed, started again, killed again and so on until it ends by itself; then its content is compared. Moments are
drawn over the whole life of a run, from reading the manifest to the last rename. Mostly the whole process group is killed,
sometimes the parent alone (its workers must go too), sometimes one worker (the run must finish without it).
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from imer.core.errors import EXIT_DONE, EXIT_PARTIAL, InvalidInput
from imer.core.files import read_json
from imer.core.folders import verify_folder
from imer.core.json_lines import read_json_lines
from tests.campaigns import calls, workbench
from tests.campaigns.workbench import Counts
from tests.stores import write_small_store

LIMIT_S = 120.0  # a run that takes longer hangs


@dataclass
class Extraction:
    """What is promised of an extraction, looked up on the disk after each kill."""

    folder: Path
    truth: str = ""
    ends_with: int = EXIT_PARTIAL  # one file is broken
    promised: set[str] = field(default_factory=set)
    acknowledged: int = 0

    @property
    def out(self) -> Path:
        return self.folder / "f.h5"

    def command(self, more: tuple[object, ...] = ("--json", "-q")) -> Callable[[], int]:
        return workbench.extract(self.folder.parent / "corpus", self.out, *more)

    def look(self, counts: Counts, case: str) -> None:
        """Check what is published, and remember what is acknowledged."""
        if self.out.exists():
            counts.promise("published stores unreadable or wrong", _reads(self.out) == self.truth, case)
            counts.promise("stores without their list of failures", self._names_the_broken(), case)
            self.promised, self.acknowledged = set(), 0
            return  # everything has arrived; what remains of the shards may go
        staging = self.out.with_name(self.out.name + ".staging")
        for shard in staging.glob("s-*.npz"):
            counts.promise("published shards unreadable", _whole(shard), f"{case}: {shard.name}")
        journal = staging / "journal.jsonl"
        lines = read_json_lines(journal) if journal.exists() else []
        told = {line["shard"]: line for line in lines if _crc_is_right(line)}
        self.promised |= set(told)
        lost = [name for name in self.promised if not (staging / name).exists()]
        counts.promise("acknowledged shards lost", not lost, f"{case}: {lost}")
        failed = "audio:decode_error"  # is tried again each time
        self.acknowledged = sum(line["cells"] - line["verdicts"].get(failed, 0) for line in told.values())

    def _names_the_broken(self) -> bool:
        errors = self.folder / "errors.jsonl"
        return errors.exists() and [line["utterance_id"] for line in read_json_lines(errors)] == [workbench.BROKEN]

    def end(self, counts: Counts, case: str, log: Path) -> None:
        """Check the result of the run that was allowed to end."""
        said = json.loads(log.read_text().splitlines()[-1])
        counts.promise("acknowledged items done again", said["counts"]["reused"] >= self.acknowledged, case)
        counts.promise("resumed results that differ", _reads(self.out) == self.truth, case)
        counts.promise("stores without their list of failures", self._names_the_broken(), case)
        expected = (self.out.name, log.name, "errors.jsonl")
        left = sorted(p.name for p in self.folder.iterdir() if p.name not in expected)
        counts.promise("runs that left something behind", not left, f"{case}: {left}")


@dataclass
class Training:
    """The same of a training: states and checkpoints are whole, and the run ends with the same bytes."""

    folder: Path
    truth: str = ""
    ends_with: int = EXIT_DONE
    acknowledged: int = 0

    @property
    def out(self) -> Path:
        return self.folder / "run"

    def command(self, more: tuple[object, ...] = ("--json", "-q")) -> Callable[[], int]:
        return workbench.train(self.folder.parent / "store.h5", self.out, *more)

    def look(self, counts: Counts, case: str) -> None:
        published = [p.parent for p in self.out.rglob("manifest.json") if ".part" not in str(p)]
        for folder in published:
            try:
                verify_folder(folder)
            except InvalidInput as error:
                counts.promise("published checkpoints and states unreadable", False, f"{case}: {error}")
        counts.promise("published checkpoints and states unreadable", True, case)
        for name in ("run.json", "metrics.json"):
            if (self.out / name).exists():
                read_json(self.out / name)
        states = {p.name for p in published if "state" in p.parts}
        self.acknowledged = max([self.acknowledged, *(_epochs(name) for name in states)])
        if not (self.out / "checkpoint").exists() and self.acknowledged:
            kept = max([0, *(_epochs(name) for name in states)])
            counts.promise("acknowledged epochs lost", kept >= self.acknowledged, f"{case}: {kept}")

    def end(self, counts: Counts, case: str, log: Path) -> None:
        counts.promise("resumed results that differ", workbench.content(self.out) == self.truth, case)
        left = sorted(p.name for p in self.folder.iterdir() if p.name not in ("run", log.name))
        counts.promise("runs that left something behind", not left, f"{case}: {left}")


Job = Extraction | Training


def _epochs(state: str) -> int:
    """Order states by stage and epoch: `1-000002` → 1,000,002."""
    stage, epoch = state.split("-")
    return int(stage) * 1_000_000 + int(epoch)


def _reads(path: Path) -> str:
    try:
        return workbench.content(path)
    except InvalidInput as error:
        return str(error)


def _whole(shard: Path) -> bool:
    content = shard.read_bytes()
    if shard.name != f"s-{sha256(content).hexdigest()[:32]}.npz":
        return False
    with np.load(shard, allow_pickle=False) as arrays:
        return all(arrays[name] is not None for name in arrays.files)


def _crc_is_right(line: dict[str, object]) -> bool:
    crc = line.pop("crc", None)
    return crc == zlib.crc32(json.dumps(line, sort_keys=True).encode())


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (OSError, IndexError):
        return True


def _ended(pid: int, within_s: float) -> int | None:
    """Wait for a process at most so long; return its exit code, or None where it still runs."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(within_s * 1000):
            return None
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill(pid: int, how: str, rng: random.Random, counts: Counts, case: str) -> bool:
    """Kill a run or a part of it; say whether the run is dead (and not only a worker of it)."""
    workers = _children(pid)
    if how == "worker" and workers:
        with suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)
        counts.add("kills of one worker")
        return False
    if how == "parent":
        os.kill(pid, signal.SIGKILL)
        counts.add("kills of the parent alone")
    else:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:  # so early that it is still in our group
            os.kill(pid, signal.SIGKILL)
        counts.add("kills of the whole process group")
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 5
    while not all(map(_gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.001)
    counts.promise("workers that outlived their parent", all(map(_gone, workers)), case)
    return True


def at_random_moments(make: Callable[[str], Job], times: int, seed: int, counts: Counts) -> None:
    """Kill runs at `times` random moments in all."""
    rng = random.Random(seed)
    whole_s, rest_s = _durations(make)
    spread = [0] * 10
    kills = chain = 0
    while kills < times:
        chain += 1
        job = make(f"chain{chain}")
        log = job.folder / "said"
        leg = 0
        while True:
            leg += 1
            share = rng.random()
            moment_s = share * (whole_s if leg == 1 else rest_s)
            how = rng.choices(["group", "parent", "worker"], [0.7, 0.15, 0.15])[0]
            case = f"seed {seed}, chain {chain}, leg {leg}: {how} after {moment_s:.3f} s"
            pid = workbench.in_fork(job.command(), log)
            code = _ended(pid, moment_s)
            if code is None:
                kills += 1
                spread[int(share * 10)] += 1
                if _kill(pid, how, rng, counts, case):
                    job.look(counts, case)
                    continue
                code = _ended(pid, LIMIT_S)
                if code is None:
                    os.killpg(pid, signal.SIGKILL)
                    counts.promise("runs that hang", False, case)
                    break
            counts.promise("runs that failed", code == job.ends_with, f"{case}: exit {code}: {_last_line(log)}")
            if code == job.ends_with:
                job.end(counts, case, log)
                counts.add("chains carried to their end and compared")
            break
        shutil.rmtree(job.folder)
    counts.add("kills in all", kills)
    print("kills by tenth of a run's life:", *spread)


def _durations(make: Callable[[str], Job]) -> tuple[float, float]:
    """Return how long a run takes, and one that was killed halfway (medians of three)."""
    whole, rest = [], []
    for i in range(3):
        job = make(f"timing{i}")
        started = time.monotonic()
        assert workbench.finished(job.command()) == job.ends_with
        whole.append(time.monotonic() - started)
        shutil.rmtree(job.folder)
        job = make(f"timing{i}")
        pid = workbench.in_fork(job.command())
        if _ended(pid, whole[-1] * 0.6) is None:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        started = time.monotonic()
        assert workbench.finished(job.command()) == job.ends_with
        rest.append(time.monotonic() - started)
        shutil.rmtree(job.folder)
    return sorted(whole)[1] * 1.05, sorted(rest)[1] * 1.05


def at_every_call(make: Callable[[str], Job], step: int, counts: Counts) -> None:
    """Kill at the n-th file call that changes the disk, n = 1, 1 + step, …, until a run ends before it."""
    n = 1
    while True:
        job = make(f"call{n}")
        seen = 0
        log = job.folder / "said"

        def decide(_: int, call: calls.Call, n: int = n) -> int | None:
            nonlocal seen
            seen += call.writes
            return calls.KILL if seen == n and call.writes else None

        watched = calls.watched(job.command(), job.folder, decide)
        case = f"file call {n}: {watched.calls[-1] if watched.calls else 'none'}"
        if watched.code == job.ends_with:
            shutil.rmtree(job.folder)
            break
        counts.add("kills at a file call")
        job.look(counts, case)
        code = workbench.finished(job.command(), log)
        counts.promise("runs that failed", code == job.ends_with, f"{case}: exit {code}: {_last_line(log)}")
        if code == job.ends_with:
            job.end(counts, case, log)
        shutil.rmtree(job.folder)
        n += step


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in reversed(lines) if "error" in line), lines[-1] if lines else "")


def maker(what: str, folder: Path) -> Callable[[str], Job]:
    """Return what makes a job in a fresh folder, knowing how a quiet run ends."""
    truth = ""

    def make(name: str) -> Job:
        (folder / name).mkdir()
        if what == "train":
            return Training(folder / name, truth)
        return Extraction(folder / name, truth)

    if what == "train":
        write_small_store(folder / "store.h5", n_dialogues=6)
    else:
        workbench.corpus(folder / "corpus")
    quiet = make("quiet")
    assert workbench.finished(quiet.command(), folder / "said") == quiet.ends_with, (folder / "said").read_text()
    truth = workbench.content(quiet.out)
    return make


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", times=1200, every=0, what="extract")
    workbench.load_product(networks=asked.what == "train")

    def cases(folder: Path, counts: Counts) -> None:
        make = maker(asked.what, folder)
        if asked.times:
            at_random_moments(make, asked.times, asked.seed, counts)
        if asked.every:
            at_every_call(make, asked.every, counts)

    return workbench.carry_out(f"SIGKILL during imer {asked.what}", asked, cases)


if __name__ == "__main__":
    sys.exit(main())
