#!/usr/bin/env python3
"""The results table and the ablation, made again with one command from a folder of corpora.

    pipelines/results_table.py DATA OUT                  methods × missing rates
    pipelines/results_table.py DATA OUT --protocols mixed,matched   also one model for each rate
    pipelines/results_table.py DATA OUT --ablation       ComP with one idea changed at a time

`--page docs/results.md` also writes the table as a page with the command, the commit, the date and the machine.

DATA has one folder a corpus (see results_plan.py) with manifest.csv and the arrays named there. OUT becomes
    OUT/stores/<corpus>.h5                                       the features
    OUT/runs/<corpus>/<method>/<protocol>/seed<S>[/rate<R>]/     one run each, evaluated in its eval/
    OUT/table.md, OUT/table.tex, OUT/ablation.md, …              the tables of `imer report --table`

A cell is a corpus, a method, a protocol, a seed and, where a model is for one rate alone, that rate. Worker processes
like those of `imer sweep` train and evaluate them, several at a time (--jobs), each with one thread. The same command
goes on from where it was stopped: finished cells are skipped, interrupted ones are continued, and ones that were made
with other settings than today's are made again. A cell that fails is reported, the others go on, and the exit code is 3.

Validation chooses epochs and hyper-parameters; the test part is only looked at in the table.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_plan import ABLATION, CORPORA, CORPORA_BESIDE, CURVES, METHODS, Corpus, cells

from imer import __version__
from imer.comparison.document import as_latex_document, as_markdown_document
from imer.comparison.evaluated_run import EvaluatedRun, read_run
from imer.comparison.methods import group_methods
from imer.comparison.over_runs import over_runs
from imer.comparison.report import TITLE, report_blocks
from imer.core.files import published_file, write_bytes, write_text
from imer.core.pool import Pool
from imer.evaluation.plots import curves_png
from imer.experiments.cells import FINISHED, NEW, OTHER, CellJob, State, state_of
from imer.experiments.plan import Cell
from imer.store.reader import FeatureStore

ROOT = Path(__file__).resolve().parents[1]
IMER = [sys.executable, "-m", "imer"]


# --- the stores ------------------------------------------------------------------------------------------------------


def make_store(corpus: Corpus, data: Path, stores: Path, jobs: int) -> bool:
    """Make a corpus's feature store, unless it is there; tell whether it is."""
    store = stores / f"{corpus.source}.h5"
    if store.is_file():
        return True
    stores.mkdir(parents=True, exist_ok=True)
    folder = data / corpus.source
    arrays = {modality: folder / file for modality, file in corpus.arrays.items()}
    if corpus.extracted:
        arrays = {"audio": stores / f"{corpus.source}_audio.npy", **arrays}
        if not arrays["audio"].is_file() and not _extracted(corpus, folder, arrays["audio"], jobs):
            return False
    features = [word for modality, path in arrays.items() for word in ("--features", f"{modality}={path}")]
    return (
        _imer("data", "import", "arrays", "--manifest", str(folder / "manifest.csv"), *features, "-o", str(store)) == 0
    )


def _extracted(corpus: Corpus, folder: Path, array: Path, jobs: int) -> bool:
    """Extract audio features from the clips, as an array beside the store. A clip that fails is a row of NaN."""
    clips = array.with_name(f"{corpus.source}_clips.h5")
    audio_alone = ("--audio", corpus.extracted, "--text", "none", "--visual", "none", "--workers", str(jobs))
    if not clips.is_file() and _imer("extract", str(folder / "manifest.csv"), "-o", str(clips), *audio_alone) not in (
        0,
        3,
    ):
        return False
    with FeatureStore.open(clips) as store:
        values_ND, _ = store.vectors("audio")
    with published_file(array) as part, open(part, "wb") as file:
        np.save(file, values_ND)
    return True


def _imer(*words: str) -> int:
    return subprocess.run([*IMER, *words], check=False, stdout=subprocess.DEVNULL).returncode


# --- all cells ---------------------------------------------------------------------------------------------------------


def unfinished(every: Sequence[tuple[Corpus, Cell]], args: argparse.Namespace) -> list[tuple[Corpus, CellJob]]:
    """Return what is to be done for the cells that are not finished."""
    todo, contents = [], {}
    for corpus, cell in every:
        store, folder = args.stores / f"{corpus.source}.h5", args.out / "runs" / cell.name
        if store.is_file() and store not in contents:
            with FeatureStore.open(store) as features:
                contents[store] = features.content_sha256
        state = state_of(cell, folder, contents[store]) if store in contents else State(NEW)
        if state.kind != FINISHED:
            todo.append((corpus, CellJob(cell, store, folder, anew=state.kind == OTHER)))
    return todo


def work(todo: Sequence[CellJob], jobs: int) -> list[str]:
    """Do them, several at a time; return the names of the cells that failed."""
    failed: list[str] = []
    warned: set[str] = set()
    started = time.monotonic()
    with Pool(jobs) as pool:
        for number, outcome in enumerate(pool.run(todo), start=1):
            name, failure = outcome.job.cell.name, outcome.failure
            left_min = (time.monotonic() - started) / number * (len(todo) - number) / 60
            how = f"{outcome.elapsed_s:.0f} s"
            if failure:
                failed.append(name)
                how = f"FAILED with exit code {failure['exit_code']}: {failure.get('traceback') or failure['message']}"
            for warning in set(outcome.warnings) - warned:
                say(f"warning: {warning}")
            warned |= set(outcome.warnings)
            say(f"[{number}/{len(todo)}, about {left_min:.0f} min left] {name}: {how}")
    return failed


def write_tables(every: Sequence[tuple[Corpus, Cell]], args: argparse.Namespace) -> list[Path]:
    """Write the table of all finished runs as Markdown and LaTeX, and the page if one is asked for."""
    commit = _commit()  # before the page's own pictures change anything
    runs = [run for _, cell in every if ((run := args.out / "runs" / cell.name) / "eval" / "metrics.json").is_file()]
    if not runs:
        return []
    name = "ablation" if args.ablation else "table"
    written = [args.out / f"{name}.md", args.out / f"{name}.tex"]
    blocks = report_blocks([read_run(run) for run in runs], table=True)
    for path, render in zip(written, (as_markdown_document, as_latex_document), strict=True):
        write_text(path, render(TITLE, blocks))
    if args.page:
        pictures = [] if args.ablation else curves(every, args)
        about = page(written[0].read_text(encoding="utf-8"), len(runs), len(every), pictures, commit, args)
        write_text(args.page, about)
        written += [args.page, *pictures]
    return written


def curves(every: Sequence[tuple[Corpus, Cell]], args: argparse.Namespace) -> list[Path]:
    """Plot, beside the page, what becomes of each main method as more is missing: a picture a corpus."""
    drawn: dict[str, list[EvaluatedRun]] = {}
    for corpus, cell in every:
        folder = args.out / "runs" / cell.name
        if cell.family in CURVES and cell.rate is None and (folder / "eval" / "metrics.json").is_file():
            drawn.setdefault(corpus.name, []).append(read_run(folder))
    written = []
    for name, runs in drawn.items():
        png = curves_png(
            [(m.name, over_runs(m)) for m in group_methods(runs)], "mean ± sd over seeds, of means over masks"
        )
        if png is not None:
            written.append(args.page.with_name(f"{args.page.stem}_{name}.png"))
            write_bytes(written[-1], png)
    return written


def page(table: str, n_runs: int, n_cells: int, pictures: Sequence[Path], commit: str, args: argparse.Namespace) -> str:
    """Return the table with what is needed to make it again: command, commit, date and machine."""
    about_the_page = ("--page", str(args.page), "--note", args.note, "--table-only")
    words = [word for word in sys.argv[1:] if word not in about_the_page]
    command = " ".join(["pipelines/results_table.py", *words])
    for path, placeholder in ((args.data, "DATA"), (args.stores, "STORES"), (args.out, "OUT")):
        command = command.replace(str(path), placeholder)
    what = "Ablation: ComP with one idea changed at a time" if args.ablation else "Results: methods and missing rates"
    head = [
        f"# {what}", "",
        "This page is written by the command below; do not edit it by hand.", "",
        f"- command: `{command}`",
        f"- commit: {commit}",
        f"- date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- runs: {n_runs} of the {n_cells} that the command makes; up to {args.seeds} training seeds (see the column), each "
        f"evaluated under {args.mask_seeds} masks a rate",
        f"- imer {__version__}, Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}, "
        f"{platform.machine()}, CPU",
        "",
        "How it was made: one set of defaults for all corpora. Epochs are chosen on validation data alone, except where a "
        "method is marked optimistic. All methods meet the same test masks. Intervals are 95 %, by resampling dialogues "
        "(a corpus of single utterances: utterances)." + f" {args.note}".rstrip(), "",
        *(f"![{path.stem.removeprefix(args.page.stem + '_')}: by missing rate]({path.name})" for path in pictures), "",
    ]  # fmt: skip
    return "\n".join(head) + "\n" + table.split("\n", 2)[2]


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD") or "unknown"
    return commit + (", with uncommitted changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _words(choices: Sequence[str]) -> Any:
    def read(text: str) -> list[str]:
        chosen = [word for word in text.split(",") if word]
        wrong = [word for word in chosen if word not in choices]
        if wrong:
            raise argparse.ArgumentTypeError(f"there is no {wrong[0]!r}; choose from {', '.join(choices)}")
        return chosen

    return read


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="the folder of the corpora")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument("--ablation", action="store_true", help="the ablation of ComP instead of the table of methods")
    every = [*CORPORA, *CORPORA_BESIDE]
    parser.add_argument("--corpora", type=_words(every), default=list(CORPORA), help="default: the first four")
    parser.add_argument("--methods", type=_words(sorted({*METHODS, *ABLATION})), default=[], help="default: all")
    parser.add_argument("--protocols", type=_words(["mixed", "matched"]), default=["mixed"], help="default: mixed")
    parser.add_argument("--seeds", type=int, default=5, help="training seeds 0 … N − 1 (default: 5)")
    parser.add_argument("--mask-seeds", type=int, default=5, help="masks for each missing rate (default: 5)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, one thread each (default: 2)")
    parser.add_argument("--stores", type=Path, help="a folder of stores that exist already (default: OUT/stores)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting for every run")
    parser.add_argument("--page", type=Path, help="also write the table with its provenance as this Markdown page")
    parser.add_argument(
        "--note", default="", help="a sentence for the page, such as at which commit the runs were made"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what is to be done, and stop")
    parser.add_argument("--table-only", action="store_true", help="write the tables of what is finished, train nothing")
    args = parser.parse_args(words)
    args.stores = args.stores or args.out / "stores"
    table = ABLATION if args.ablation else METHODS
    lacking = [name for name in args.methods if name not in table]
    if lacking:
        parser.error(f"{lacking[0]} is not part of this table; choose from {', '.join(table)}")
    return args


def main() -> int:
    args = arguments()
    every = cells(args)
    todo = unfinished(every, args)
    say(f"{len(every)} cells, {len(every) - len(todo)} finished, {len(todo)} to do, {args.jobs} at a time")
    if args.dry_run:
        print("\n".join(job.cell.name for _, job in todo))
        return 0
    failed: list[str] = []
    if todo and not args.table_only:
        wanted = {corpus.name: corpus for corpus, _ in todo}
        there = {n: make_store(corpus, args.data, args.stores, args.jobs) for n, corpus in wanted.items()}
        failed = [job.cell.name for corpus, job in todo if not there[corpus.name]]
        failed += work([job for corpus, job in todo if there[corpus.name]], args.jobs)
    for path in write_tables(every, args):
        print(path)
    if failed:
        say(f"{len(failed)} cells failed and are not in the tables; the same command tries them again.")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
