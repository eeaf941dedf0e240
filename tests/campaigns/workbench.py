"""What every campaign stands on: the product loaded once, its commands run in forks, small inputs, and the counts.

A fork of a process that has loaded everything starts in milliseconds and is still the real command with its real worker
processes; they are forked too, instead of being started from nothing. Shards are small, so that there is much to lose.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imer.store import guards
from imer.store.verify import verify_any

SHARD_CELLS = 2
CANNOT = 2  # the exit code of a campaign that this machine does not allow
SHOWN = 12  # cases of each broken promise
N_SOUNDS, N_TEXTS = 4, 5
BROKEN = "broken"  # the utterance that fails, so that an extraction of the corpus ends with exit code 3
LIGHT = ("imer.cli.app", "imer.extractors.opensmile", "imer.interop.arrays", "imer.masks.make")
HEAVY = ("imer.training.train", "imer.export.publish")
TINY_MODEL = (
    "model.hidden=8", "model.heads=2", "model.prompt_width=4", "model.n_prototypes=3", "train.max_epochs_branches=2",
    "train.max_epochs_joint=3", "train.batch_utterances=32", "train.threads=1", "train.device=cpu",
    "train.checkpoint_every_s=0", "train.members=2",
)  # fmt: skip


def load_product(*, networks: bool) -> None:
    """Import what the commands import, once, and make everything small and cheap; PyTorch only where it is needed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in (*LIGHT, *(HEAVY if networks else ())):
        importlib.import_module(name)
    from imer.core import processes, registry
    from imer.extraction import plan, runner, staging
    from imer.extraction.hearing import heard

    if networks:
        import torch

        torch.set_num_threads(1)
    registry.EXTRACTORS["campaign/letters"] = registry.Entry(
        "campaign/letters", "tests.campaigns.cheap:Letters", "text"
    )
    staging.SHARD_CELLS = SHARD_CELLS
    plan.TEXTS_PER_TASK = 1
    processes.get_context = lambda method: multiprocessing.get_context("fork")
    assert callable(runner.extract)
    audio = registry.resolve("extractors", "opensmile/egemaps")()
    audio.load("cpu")
    heard(np.sin(np.arange(4800) / 20).astype(np.float32), audio)
    with contextlib.redirect_stdout(io.StringIO()):
        command("ls", "extractors")()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the command had its own way with it


@cache
def _command_line() -> Callable[..., Any]:
    """Return the command `imer`, built once: that takes as long as a small extraction."""
    from typer.main import get_command

    from imer.cli.app import app

    return get_command(app)


def command(*arguments: object) -> Callable[[], int]:
    """Return what runs an `imer` command in this process and returns its exit code."""

    def run() -> int:
        try:
            _command_line()([str(a) for a in arguments], prog_name="imer")
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return run


def extract(folder: Path, out: Path, *more: object) -> Callable[[], int]:
    """Return an extraction of `corpus`, with two workers."""
    return command(
        "extract", folder / "manifest.csv", "-o", out, "--text", "campaign/letters", "--visual", "none",
        "--workers", 2, "--device", "cpu", "--overwrite", *more,
    )  # fmt: skip


def train(store: Path, out: Path, *more: object) -> Callable[[], int]:
    """Return a tiny training that saves its state after every epoch."""
    assignments = [part for text in TINY_MODEL for part in ("--set", text)]
    return command("train", store, "-o", out, "--resume", *assignments, *more)


def in_fork(work: Callable[[], int], log: Path | None = None) -> int:
    """Start `work` in a fork that leads its own process group; return its process number."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        descriptor = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def finished(work: Callable[[], int], log: Path | None = None) -> int:
    """Run `work` in a fork to its end; return its exit code."""
    _, status = os.waitpid(in_fork(work, log), 0)
    return os.waitstatus_to_exitcode(status)


def corpus(folder: Path) -> Path:
    """Write a manifest of a few short sounds and texts; one utterance has neither, one sound is no sound."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["utterance_id,audio,text,emotion"]
    for i in range(N_SOUNDS):
        tone = (8000 * np.sin(np.arange(3200) * (0.05 + 0.02 * i))).astype("<i2")
        with wave.open(str(folder / f"{i}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(tone.tobytes())
        lines.append(f"s{i},{i}.wav,,joy")
    lines += [f"t{i},,{'what was said ' * (i + 1)},calm" for i in range(N_TEXTS)]
    (folder / "broken.wav").write_bytes(b"RIFF and no more")
    lines += ["nothing,,,", f"{BROKEN},broken.wav,,joy"]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def arrays(folder: Path, n: int = 6) -> Path:
    """Write a manifest and two arrays for `imer data import arrays`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.csv").write_text("utterance_id,emotion\n" + "".join(f"u{i},joy\n" for i in range(n)))
    for name, width in (("audio", 5), ("text", 3)):
        np.save(folder / f"{name}.npy", np.arange(n * width, dtype=np.float32).reshape(n, width))
    return folder


def values(store: Path) -> str:
    """Return a digest of a store but for what its cells were made from: that is unknown where a file could not be read."""
    digest = hashlib.sha256()
    with h5py.File(store) as file:
        for path, item in guards.walk(file):
            if isinstance(item, h5py.Dataset) and not path.startswith("/sources/"):
                digest.update(path.encode() + item[...].tobytes())
    return digest.hexdigest()


def content(path: Path) -> str:
    """Return a digest of what an output holds: a store's or mask's own, otherwise that of all its bytes."""
    if path.suffix == ".h5":
        return verify_any(path)[1]
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@dataclass
class Counts:
    """What a campaign counted, in order, and the cases that broke a promise."""

    title: str
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, name: str, number: int = 1) -> None:
        self.counts[name] += number

    def promise(self, name: str, holds: bool, case: str) -> None:
        """Count a broken promise under its name; 0 where it always held."""
        self.counts[name] += not holds
        if not holds:
            self.broken.append(f"{name}: {case}")

    @contextlib.contextmanager
    def tried_until_interrupted(self) -> Iterator[None]:
        """Let a campaign be ended early by Ctrl-C or SIGTERM; what it counted so far is told."""
        try:
            yield
        except KeyboardInterrupt:
            self.add("interrupted: not every case was tried")

    def finish(self, json_file: Path | None) -> int:
        """Print the table, write it as JSON, and return the exit code: 0 where every promise held."""
        elapsed_s = round(time.monotonic() - self.started, 1)
        print(f"\n{self.title} ({elapsed_s} s)")
        for name, number in self.counts.items():
            print(f"  {number:>8,}  {name}")
        for name in dict.fromkeys(case.split(":")[0] for case in self.broken):
            for case in [case for case in self.broken if case.startswith(name)][:SHOWN]:
                print(f"  BROKEN {case}")
        if json_file is not None:
            document = {"title": self.title, "counts": self.counts, "broken": self.broken, "elapsed_s": elapsed_s}
            json_file.write_text(json.dumps(document, indent=2) + "\n")
        return 1 if self.broken else 0


def arguments(description: str, **defaults: Any) -> argparse.Namespace:
    """Read a campaign's command line: --seed, --json, --folder, and what else it names with its defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the counts here too")
    parser.add_argument("--folder", type=Path, help="work here (kept); default: a temporary folder")
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def carry_out(title: str, asked: argparse.Namespace, cases: Callable[[Path, Counts], None]) -> int:
    """Try a campaign's cases in its folder, tell what was counted, and return the exit code: 0 where every promise held.

    A folder that the command line names is kept; otherwise it is a temporary one.
    """
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="campaign-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    counts = Counts(title)
    try:
        with counts.tried_until_interrupted():
            cases(folder, counts)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return counts.finish(asked.json)
