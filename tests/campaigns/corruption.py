"""One bit flipped, or the file cut short: refused, or provably unchanged, or (unfinished work) made again.

    python -m tests.campaigns.corruption --times 10000

A fifth of the cases each: feature store, mask file, staged work with its journal, checkpoint, exported bundle. Half of the
flips fall into the first 4 KiB, where formats keep what describes the rest; a sixth of the cases is a cut. Cases are read
in forks: a crash or a hang is counted, and the campaign goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput
from tests.campaigns import workbench
from tests.campaigns.workbench import Counts
from tests.stores import write_small_store

LIMIT_S = 20.0  # for one case
MEMORY_BYTES = 4 << 30
BATCH = 50  # cases a fork reads


@dataclass(frozen=True)
class Kind:
    """Something that is read: its files, and how all that its reader gives is put into one digest."""

    name: str
    path: Path
    digest: Callable[[Path], str]

    def files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        return sorted(path for path in self.path.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Damage:
    """One flipped bit, or a cut where `bit` is negative."""

    file: str
    at: int
    bit: int

    def applied(self, content: bytes) -> bytes:
        if self.bit < 0:
            return content[: self.at]
        changed = bytearray(content)
        changed[self.at] ^= 1 << self.bit
        return bytes(changed)


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) and part.dtype != object else repr(part).encode())
    return digest.hexdigest()


def _store(path: Path) -> str:
    from imer.store.reader import FeatureStore

    with FeatureStore.open(path) as store:
        parts: list[Any] = [store.n, store.content_sha256, store.imer_version, store.specs, store.provenance]
        for modality in store.modalities:
            parts += [*store.ragged(modality), *store.vectors(modality), store.quality[modality]]
        parts += [store.positions, store.start_s, store.end_s, store.present_NM()]
        for strings in (
            store.utterance_ids,
            store.dialogue_ids,
            store.speakers,
            store.sessions,
            store.splits,
            store.texts,
        ):
            parts.append(strings.tolist())
        parts += [{k: v.tolist() for k, v in store.columns.items()}, {k: v.classes for k, v in store.labels.items()}]
        return _digest(*parts)


def _mask(path: Path) -> str:
    from imer.masks.table import MaskTable

    return _digest(*astuple(MaskTable.read(path)))


def _staged(folder: Path) -> str:
    """Read what is believed of unfinished work; what is not believed is made again, and said so."""
    from imer.extraction.staging import Staging

    notices: list[str] = []
    staging = Staging(folder)
    staging.start(resume=True, notice=notices.append)
    parts = []
    for key in sorted(staging.cells):
        cell = staging.cells[key]
        parts.append((key, cell.verdict, cell.key, staging.values(cell).tolist() if cell.n_rows else None))
    return "\n".join(map(repr, parts))


def _fold(fold: Any) -> str:
    parts = [
        fold.name, fold.spec, fold.modalities, fold.task, fold.label, fold.class_names, fold.feature_names,
        fold.fingerprints, fold.specs, fold.train_ids, fold.val_ids, fold.test_ids, fold.selected, fold.val, fold.pad_to,
    ]  # fmt: skip
    arrays = [array for kind in (fold.scaler.centre, fold.scaler.spread) for array in kind.values()]
    return _digest(*parts, *arrays, *(tensor.numpy() for tensor in fold.model.state_dict().values()))


def _checkpoint(folder: Path) -> str:
    from imer.training.trained_fold import load_fold

    return _fold(load_fold(folder))


def _bundle(folder: Path) -> str:
    from imer.core.folders import verify_folder
    from imer.export.bundle import load_bundle

    return _fold(load_bundle(folder)) + str(verify_folder(folder))


def kinds(root: Path) -> list[Kind]:
    """Make one of each, by the product itself."""
    corpus = workbench.corpus(root / "corpus")
    store = write_small_store(root / "store.h5", n_dialogues=6)
    assert workbench.finished(workbench.train(store, root / "run")) == 0
    for arguments in (
        ("mask", store, "-o", root / "mask.h5", "--missing-rate", 0.5),
        ("export", root / "run", "-o", root / "bundle"),
    ):
        assert workbench.finished(workbench.command(*arguments)) == 0
    assert workbench.finished(lambda: _stopped(corpus, root / "f.h5")) == 0
    return [
        Kind("store", store, _store),
        Kind("mask", root / "mask.h5", _mask),
        Kind("staged work", root / "f.h5.staging", _staged),
        Kind("checkpoint", root / "run" / "checkpoint", _checkpoint),
        Kind("bundle", root / "bundle", _bundle),
    ]


def _stopped(corpus: Path, out: Path) -> int:
    """Extract, but for the packing: what a kill at that moment leaves."""
    from imer.extraction import job

    def stop(*_: object, **__: object) -> str:
        os._exit(0)

    job.pack = stop
    return workbench.extract(corpus, out)()


def damages(kind: Kind, times: int, rng: random.Random) -> list[Damage]:
    """Draw cases: the file, then the place in it."""
    files = [path for path in kind.files() if path.stat().st_size]
    found = []
    for number in range(times):
        file = rng.choice(files)
        size = file.stat().st_size
        name = file.relative_to(kind.path).as_posix() if kind.path.is_dir() else ""
        if number % 6 == 0:
            found.append(Damage(name, rng.randrange(size), -1))
        else:
            found.append(Damage(name, rng.randrange(min(size, 4096) if number % 2 else size), rng.randrange(8)))
    return found


def campaign(kind: Kind, cases: list[Damage], scratch: Path, counts: Counts) -> None:
    """Read every case; count what became of it."""
    truth = kind.digest(_copied(kind, scratch))
    left = list(cases)
    while left:
        batch, left = left[:BATCH], left[BATCH:]
        outcomes = _read(kind, batch, scratch, truth)
        for damage, outcome in zip(batch, outcomes, strict=False):
            _count(kind, damage, outcome, counts)
        left = batch[len(outcomes) :] + left  # a crash ends the fork; the rest is read by the next


def _count(kind: Kind, damage: Damage, outcome: str, counts: Counts) -> None:
    counts.add(f"{kind.name}: cases")
    good = ("refused", "unchanged", "made again")
    for name in good:
        counts.add(f"{kind.name}: {name}", outcome == name)
    for name in ("silent", "crash", "hang", "bug"):
        counts.promise(name, not outcome.startswith(name), f"{kind.name}, {damage}: {outcome}")


def _copied(kind: Kind, scratch: Path) -> Path:
    """Copy what is read into an empty scratch folder."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    target = scratch / kind.path.name
    if kind.path.is_file():
        shutil.copyfile(kind.path, target)
    else:
        shutil.copytree(kind.path, target)
    return target


def _read(kind: Kind, batch: list[Damage], scratch: Path, truth: str) -> list[str]:
    """Read cases in a fork until all are done or one of them takes the fork down; return the outcomes."""
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        for damage in batch:
            os.write(say, json.dumps(_outcome(kind, damage, scratch, truth)).encode() + b"\n")
        os._exit(0)
    os.close(say)
    outcomes: list[str] = []
    poll = select.poll()
    poll.register(hear, select.POLLIN)
    rest, ending = b"", ""
    while True:
        if not poll.poll(LIMIT_S * 1000):
            os.kill(child, signal.SIGKILL)
            ending = f"hang of more than {LIMIT_S:g} s"
            break
        said = os.read(hear, 1 << 16)
        if not said:
            break
        *lines, rest = (rest + said).split(b"\n")
        outcomes += [str(json.loads(line)) for line in lines]
    os.close(hear)
    _, status = os.waitpid(child, 0)
    if len(outcomes) < len(batch):
        outcomes.append(ending or f"crash with {os.waitstatus_to_exitcode(status)}")
    return outcomes


def _outcome(kind: Kind, damage: Damage, scratch: Path, truth: str) -> str:
    target = _copied(kind, scratch)
    file = target / damage.file if damage.file else target
    file.write_bytes(damage.applied(file.read_bytes()))
    try:
        found = kind.digest(target)
    except InvalidInput:
        return "refused"
    except Exception as error:  # noqa: BLE001 - whatever else comes out is what the campaign looks for
        return f"bug: {type(error).__name__}: {error}"[:300]
    if found == truth:
        return "unchanged"
    believed = set(found.splitlines())
    if kind.name == "staged work" and believed < set(truth.splitlines()):
        return "made again"
    return "silent"


def main() -> int:
    """Run the campaign; 0 where every case was refused, unchanged or made again."""
    asked = workbench.arguments(__doc__ or "", times=10_000)
    workbench.load_product(networks=True)
    rng = random.Random(asked.seed)

    def cases(root: Path, counts: Counts) -> None:
        made = kinds(root)
        for kind in made:
            campaign(kind, damages(kind, asked.times // len(made), rng), root / "scratch", counts)

    return workbench.carry_out("flipped bits and cut files", asked, cases)


if __name__ == "__main__":
    sys.exit(main())
