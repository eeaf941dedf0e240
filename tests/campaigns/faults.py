"""One file call after another fails: a clear sentence, nothing half-published, and the same command then gets there.

    python -m tests.campaigns.faults                              every call of extract, mask and import × four errors
    python -m tests.campaigns.faults --what train,export --errors in-turn

The n-th open, write, sync, rename, link, make or remove below the campaign's folder is answered with ENOSPC, EIO, EACCES
or EMFILE, for n = 1, 2, 3 … until a run ends before its n-th call. `--every 7` tries every seventh n only; with
`--errors in-turn` each n gets one of the four errors instead of all.
"""

from __future__ import annotations

import errno
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imer.core.errors import EXIT_DONE, EXIT_INVALID_INPUT, EXIT_PARTIAL, InvalidInput
from imer.core.folders import verify_folder
from imer.core.json_lines import read_json_lines
from tests.campaigns import calls, workbench
from tests.campaigns.workbench import CANNOT, Counts
from tests.stores import write_small_store

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE)


@dataclass(frozen=True)
class Job:
    """A command that reads from `inputs` and writes one output into a folder of its own."""

    name: str
    inputs: Path
    output: str
    arguments: Callable[[Path, Path], Callable[[], int]]  # (inputs, output) → what runs it
    ends_with: int = EXIT_DONE

    def run(self, folder: Path) -> Callable[[], int]:
        return self.arguments(self.inputs, folder / self.output)


@dataclass(frozen=True)
class Truth:
    """What a quiet run gives: the digest of its output and, of a feature store, of its values alone."""

    content: str
    values: str


def jobs(names: list[str], root: Path) -> Iterator[Job]:
    """Yield the jobs by name, with their inputs made."""
    store = write_small_store(root / "in" / "small.h5", n_dialogues=6) if _makes_folder(root / "in") else Path()
    workbench.corpus(root / "in" / "corpus")
    workbench.arrays(root / "in" / "arrays")
    if {"export", "onnx"} & set(names):
        assert workbench.finished(workbench.train(store, root / "in" / "run")) == 0
    table: dict[str, Job] = {
        "extract": Job("extract", root / "in" / "corpus", "f.h5", workbench.extract, EXIT_PARTIAL),
        "mask": Job("mask", store, "m.h5", lambda given, out: workbench.command(
            "mask", given, "-o", out, "--missing-rate", 0.5, "--overwrite")),
        "import": Job("data import", root / "in" / "arrays", "f.h5", lambda given, out: workbench.command(
            "data", "import", "arrays", "--manifest", given / "m.csv", "--features", f"audio={given / 'audio.npy'}",
            "--features", f"text={given / 'text.npy'}", "-o", out, "--overwrite")),
        "train": Job("train", store, "run", workbench.train),
        "export": Job("export", root / "in" / "run", "bundle", lambda given, out: workbench.command(
            "export", given, "-o", out, "--overwrite")),
        "onnx": Job("export", root / "in" / "run", "model.onnx", lambda given, out: workbench.command(
            "export", given, "-o", out, "--format", "onnx", "--overwrite")),
    }  # fmt: skip
    for name in names:
        yield table[name]


def _makes_folder(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    return True


def campaign(job: Job, root: Path, every: int, in_turn: bool, counts: Counts) -> None:
    """Let every n-th call of a job fail."""
    quiet = root / "quiet"
    quiet.mkdir()
    whole = calls.watched(job.run(quiet), root)
    assert whole.code == job.ends_with, whole.err
    output = quiet / job.output
    truth = Truth(workbench.content(output), workbench.values(output) if job.name == "extract" else "")
    shutil.rmtree(quiet)
    counts.add(f"{job.name}: file calls of a quiet run", len(whole.calls))
    n, reached = 1, True
    while reached:
        chosen = [ERRORS[(n // every) % len(ERRORS)]] if in_turn else list(ERRORS)
        reached = all([_case(job, root, n, code, truth, counts) for code in chosen])
        n += every


def _case(job: Job, root: Path, n: int, code: int, truth: Truth, counts: Counts) -> bool:
    """Let call n fail with this error, look, and run again; say whether the run came that far."""
    folder = root / f"{n}-{code}"
    folder.mkdir()
    hit: list[calls.Call] = []

    def decide(number: int, call: calls.Call) -> int | None:
        if number != n:
            return None
        hit.append(call)
        return code

    try:
        found = calls.watched(job.run(folder), root, decide)
    except TimeoutError as error:
        counts.promise("runs that hang", False, f"{job.name}, call {n}: {error}")
        shutil.rmtree(folder)
        return True
    if hit:
        call = hit[0]
        case = f"{job.name}, call {n} ({call.name} {Path(call.path).name}): {errno.errorcode[code]}"
        counts.add(f"{job.name}: faults, {errno.errorcode[code]}")
        counts.add(
            {0: "ended well all the same", 3: "ended with one item failed"}.get(found.code, "ended with an error")
        )
        _judge(job, folder, root, found, case, call, truth, counts)
        log = folder / "said"
        again = workbench.finished(job.run(folder), log)
        said = log.read_text(errors="replace").strip()[-300:]
        counts.promise("next runs that failed", again == job.ends_with, f"{case}: exit {again}: {said}")
        if again == job.ends_with:
            same = workbench.content(folder / job.output) == truth.content
            counts.promise("next runs with another result", same, case)
    shutil.rmtree(folder)
    return bool(hit)


def _judge(
    job: Job, folder: Path, root: Path, found: calls.Watched, case: str, call: calls.Call, truth: Truth, counts: Counts
) -> None:
    """Check how the run ended and what it left."""
    output = folder / job.output
    last = found.err.strip().splitlines()[-1:] or [""]
    known = found.code in (EXIT_DONE, EXIT_PARTIAL, EXIT_INVALID_INPUT)
    counts.promise("runs with a wrong exit code", known, f"{case}: exit {found.code}: {last[0][:300]}")
    if found.code == EXIT_INVALID_INPUT:
        clear = re.fullmatch(rf"imer {job.name}: error: .*{re.escape(str(root))}.*\.", last[0])
        counts.promise("errors that are no clear sentence", bool(clear), f"{case}: {found.err.strip()[-300:]}")
    if found.code == EXIT_DONE or (found.code == EXIT_PARTIAL and _names_only_the_broken(folder)):
        same = workbench.content(output) == truth.content
        if not same and job.name == "extract" and call.path.startswith(str(job.inputs)):
            counts.add("ended well, but could not say what a clip's values were made from")
            same = workbench.values(output) == truth.values
        counts.promise("good ends with another result", same, case)
    elif output.exists():
        counts.promise("half-published outputs", _whole(output), case)
    parts = [path for path in folder.rglob(".*.part") if call.name not in ("unlink", "unlinkat", "rmdir")]
    excused = call.name in ("open", "openat") and not call.writes  # removing a folder opens it first
    counts.promise("half-written files left behind", not parts or excused, f"{case}: {[p.name for p in parts]}")


def _names_only_the_broken(folder: Path) -> bool:
    """Say whether no more failed than fails in a quiet run; a clip that could not be opened is one more."""
    lines = read_json_lines(folder / "errors.jsonl")
    return [line["utterance_id"] for line in lines] == [workbench.BROKEN]


def _whole(output: Path) -> bool:
    """Say whether what stands under a published name can be read."""
    try:
        if output.is_file():
            workbench.content(output)
        else:
            for manifest in output.rglob("manifest.json"):
                verify_folder(manifest.parent)
    except InvalidInput:
        return False
    return True


def main() -> int:
    """Run the campaign; 0 where every promise held."""
    asked = workbench.arguments(__doc__ or "", what="extract,mask,import", every=1, errors="all")
    if not calls.available():
        print("this machine lets no process watch the file calls of another; nothing was tried")
        return CANNOT
    names = asked.what.split(",")
    workbench.load_product(networks=bool({"train", "export", "onnx"} & set(names)))

    def cases(root: Path, counts: Counts) -> None:
        for job in jobs(names, root):
            campaign(job, root, asked.every, asked.errors == "in-turn", counts)

    return workbench.carry_out("file calls that fail", asked, cases)


if __name__ == "__main__":
    sys.exit(main())
