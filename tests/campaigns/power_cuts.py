"""The power fails at any moment: whatever a disk may then hold, nothing acknowledged is lost and the run can go on.

    python -m tests.campaigns.power_cuts                    imer extract
    python -m tests.campaigns.power_cuts --what train       imer train
    python -m tests.campaigns.power_cuts --every 7          the states at every seventh file call only

One run is recorded, call by call. What a disk guarantees is little: the bytes of a file once that file was synced, and a
change of names (a new file, a rename, a removal) once its folder was synced. Anything later may be there or not, in any
combination. So before every file call the disks are made that could be found after a power cut: with any combination of the
changes of names that are not synced (of many: all, none, one alone, all but one, some at random), and unsynced files empty,
half, full of zeros or written. On each the same checks as after a kill are made, and the command is run to its end.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.campaigns import calls, workbench
from tests.campaigns.kills import Extraction, Job, Training, maker
from tests.campaigns.workbench import CANNOT, Counts

Tree = dict[str, bytes | None]  # path below the folder → content; None for a folder
RESTART_S = 60.0  # from a power cut to the next run
ALL_SUBSETS = 4  # changes that are not synced: of so many every combination is tried
RANDOM_SUBSETS = 4  # of more, at each call


@dataclass
class Change:
    """One change of names: (folder, name) → which file or folder now stands there, None for nothing.

    It is certain once all folders that it concerns were synced.
    """

    names: dict[tuple[int, str], int | None]
    unsynced: set[int]


@dataclass
class Disk:
    """A folder as programs see it, and what of it is certain to outlive a power cut. Files and folders have numbers."""

    root: Path
    seen: dict[int, dict[str, int]] = field(default_factory=dict)  # folder → name → number, as programs see it
    certain: dict[int, dict[str, int]] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    content: dict[int, bytes] = field(default_factory=dict)  # of files, also of removed ones
    synced: dict[int, bytes] = field(default_factory=dict)
    _number: dict[int, int] = field(
        default_factory=dict
    )  # inode → number; an inode that is free may come back as another
    _next: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self._look()
        self.certain = {folder: dict(names) for folder, names in self.seen.items()}
        self.pending.clear()
        self.synced = dict(self.content)

    @property
    def top(self) -> int:
        return self._number[os.stat(self.root).st_ino]

    def settle(self, call: calls.Call | None) -> None:
        """Take note of what the call that has just been made did."""
        self._look()
        if call is None or call.name not in ("fsync", "fdatasync") or not os.path.exists(call.path):
            return
        number = self._number[os.stat(call.path).st_ino]
        if os.path.isdir(call.path):
            for change in self.pending:
                change.unsynced.discard(number)
            self._apply([change for change in self.pending if not change.unsynced], self.certain)
            self.pending = [change for change in self.pending if change.unsynced]
        else:
            self.synced[number] = self.content[number]

    def _look(self) -> None:
        """Read the folder; whatever names changed since the last time is one change."""
        now: dict[int, dict[str, int]] = {}
        known: dict[int, int] = {}

        def number(inode: int) -> int:
            return known.setdefault(inode, self._number[inode] if inode in self._number else next(self._next))

        for folder, _, files in os.walk(self.root):
            here = now.setdefault(number(os.stat(folder).st_ino), {})
            for entry in os.scandir(folder):
                here[entry.name] = number(entry.inode())
            for name in files:
                path = Path(folder) / name
                if path.is_file() and not path.is_symlink():
                    self.content[here[name]] = path.read_bytes()
        names = {
            (folder, name): now.get(folder, {}).get(name)
            for folder in now.keys() | self.seen.keys()
            for name in now.get(folder, {}).keys() | self.seen.get(folder, {}).keys()
            if now.get(folder, {}).get(name) != self.seen.get(folder, {}).get(name) and folder in now
        }
        if names:
            self.pending.append(Change(names, {folder for folder, _ in names}))
        self.seen, self._number = now, known

    @staticmethod
    def _apply(changes: list[Change], entries: dict[int, dict[str, int]]) -> None:
        for change in changes:
            for (folder, name), there in change.names.items():
                names = entries.setdefault(folder, {})
                if there is None:
                    names.pop(name, None)
                else:
                    names[name] = there

    def after_a_cut(self, rng: random.Random) -> Iterator[tuple[str, Tree]]:
        """Yield what the disk could hold if the power failed now, each with a word for it."""
        for what, subset in self._subsets(rng):
            for fate in ("empty", "half", "zeros", "written"):
                entries = {folder: dict(names) for folder, names in self.certain.items()}
                self._apply([change for i, change in enumerate(self.pending) if i in subset], entries)
                yield f"{what}, unsynced files {fate}", self._tree(self.top, entries, fate)

    def _subsets(self, rng: random.Random) -> list[tuple[str, set[int]]]:
        """Return which of the changes that are not synced may have come about."""
        n = len(self.pending)
        if n <= ALL_SUBSETS:
            chosen = [{i for i in range(n) if bits >> i & 1} for bits in range(2**n)]
        else:
            every = set(range(n))
            chosen = [every, set(), *({i} for i in every), *(every - {i} for i in every)]
            chosen += [set(rng.sample(range(n), rng.randint(0, n))) for _ in range(RANDOM_SUBSETS)]
        return [(f"changes {sorted(subset)} of {n}", subset) for subset in chosen]

    def _tree(self, folder: int, entries: dict[int, dict[str, int]], fate: str, below: str = "") -> Tree:
        tree: Tree = {}
        for name, number in entries.get(folder, {}).items():
            path = f"{below}{name}"
            if number in self.content:
                tree[path] = self._bytes(number, fate)
            else:
                tree[path] = None
                tree |= self._tree(number, entries, fate, f"{path}/")
        return tree

    def _bytes(self, number: int, fate: str) -> bytes:
        written, synced = self.content[number], self.synced.get(number, b"")
        if synced == written or fate == "written":
            return written
        if fate == "empty":
            return synced
        return written[: len(written) // 2] if fate == "half" else bytes(len(written))

    def acknowledged(self, job: Job) -> set[str]:
        """Return what the program may have relied on: shards in its synced journal, states in a synced folder."""
        if isinstance(job, Extraction):
            journals = [n for names in self.seen.values() for name, n in names.items() if name == "journal.jsonl"]
            lines = [line for n in journals for line in self.synced.get(n, b"").decode().splitlines()]
            return {json.loads(line)["shard"] for line in lines}
        return {
            name
            for folder, names in self.certain.items()
            for name, number in names.items()
            if folder in self.seen
            and number not in self.content
            and name[:2] in ("0-", "1-")
            and name in self.seen[folder]
        }


@dataclass(frozen=True)
class Found:
    """What a disk holds after a power cut, and what had been acknowledged before it."""

    case: str
    tree: Tree
    acknowledged: frozenset[str]


def record(job: Job, every: int, rng: random.Random) -> list[Found]:
    """Run a command and return all different disks that a power cut could have left on its way."""
    disk = Disk(job.folder)
    found: dict[str, Found] = {}
    last: calls.Call | None = None
    seen = 0

    def decide(number: int, call: calls.Call) -> None:
        nonlocal last, seen
        if not call.writes:
            return
        disk.settle(last)
        last = call
        seen += 1
        if seen % every:
            return
        acknowledged = frozenset(disk.acknowledged(job))
        for what, tree in disk.after_a_cut(rng):
            digest = hashlib.sha256(repr(sorted(acknowledged)).encode())
            for path, content in sorted(tree.items()):
                digest.update(f"{path}\0{content is None}\0".encode() + hashlib.sha256(content or b"").digest())
            case = f"before file call {seen} ({call.name} {Path(call.path).name}): {what}"
            found.setdefault(digest.hexdigest(), Found(case, tree, acknowledged))

    whole = calls.watched(job.command(), job.folder, decide)
    assert whole.code == job.ends_with, whole.err
    return list(found.values())


def make_disk(folder: Path, tree: Tree) -> None:
    """Put a tree in place of a folder's content, as old as after a restart: a lock is not fresh then."""
    shutil.rmtree(folder)
    folder.mkdir()
    for path, content in sorted(tree.items()):
        if content is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            os.utime(folder / path, (time.time() - RESTART_S, time.time() - RESTART_S))


def lost(job: Job, acknowledged: frozenset[str]) -> list[str]:
    """Return what was acknowledged and is gone, and not because its work has arrived."""
    if isinstance(job, Training):
        if (job.out / "checkpoint" / "manifest.json").exists():
            return []
        kept = [path.name for path in job.out.glob("state/*/**/manifest.json")]
        names = {path.parent.name for path in job.out.glob("state/*/**/manifest.json")}
        return [name for name in acknowledged if kept == [] or max(names) < name]
    if job.out.exists():
        return []
    staging = job.out.with_name(job.out.name + ".staging")
    return [name for name in acknowledged if not (staging / name).exists()]


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", what="extract", every=1)
    if not calls.available():
        print("this machine lets no process watch the file calls of another; nothing was tried")
        return CANNOT
    workbench.load_product(networks=asked.what == "train")

    def cases(root: Path, counts: Counts) -> None:
        make = maker(asked.what, root)
        job = make("cut")
        found = record(job, asked.every, random.Random(asked.seed))
        for one in found:
            make_disk(job.folder, one.tree)
            again = type(job)(job.folder, job.truth)
            counts.add("disks after a power cut")
            gone = lost(again, one.acknowledged)
            counts.promise("acknowledged work lost", not gone, f"{one.case}: {gone[:3]}")
            again.look(counts, one.case)
            log = job.folder / "said"
            code = workbench.finished(again.command(), log)
            said = log.read_text(errors="replace").strip()[-300:]
            counts.promise("next runs that failed", code == again.ends_with, f"{one.case}: exit {code}: {said}")
            if code == again.ends_with:
                again.end(counts, one.case, log)

    return workbench.carry_out(f"power cuts during imer {asked.what}", asked, cases)


if __name__ == "__main__":
    sys.exit(main())
