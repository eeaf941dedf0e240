"""`imer demo`: a synthetic corpus of talking faces to try everything on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from imer.cli import options
from imer.cli.reporting import reporting
from imer.demo import DEFAULT_UTTERANCES


def demo(
    out_dir: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="The folder to make.")],
    utterances: Annotated[
        int, typer.Option(help="How many labelled utterances (clips of about 2 s) to make.")
    ] = DEFAULT_UTTERANCES,
    seed: options.Seed = 0,
    workers: Annotated[str, typer.Option(help="Processes that make clips: a number, or auto.")] = "auto",
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Make a small labelled corpus of talking faces, entirely synthetic, to try everything on.

    A public-domain portrait speaks, in clips with sound and transcripts; emotion shows partly in the voice, partly
    in the face, partly in the words. Needs the extra `demo`: the speech synthesiser espeak-ng (GPL-3).
    """
    with reporting("demo", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.machine import usable_cores
        from imer.core.processes import process_count
        from imer.core.types import MODALITIES, SPLITS
        from imer.demo.corpus import make_demo

        corpus = make_demo(
            out_dir,
            n_utterances=utterances,
            seed=seed,
            workers=process_count(workers, "--workers", usable_cores),
            overwrite=overwrite,
            progress=lambda done, total: report.progress("clips", done, total),
        )
        report.output(out_dir)
        report.counts = {"utterances": len(corpus.lines), "unseen": len(corpus.unseen)}
        absent = Counter(modality for line in corpus.lines for modality in line.absent)
        report.extra = {
            "manifest": str(out_dir / "manifest.csv"),
            "synthetic": True,
            "seed": seed,
            "duration_s": round(corpus.duration_s, 2),
            "splits": {split: sum(line.split == split for line in corpus.lines) for split in SPLITS},
            "emotions": dict(sorted(Counter(line.emotion for line in corpus.lines).items())),
            "absent": {modality: absent[modality] for modality in MODALITIES},
        }
        report.table(
            "demo corpus (synthetic)",
            ["manifest", "utterances", *SPLITS, "dialogues", "speakers", "minutes"],
            [[
                report.extra["manifest"], len(corpus.lines), *report.extra["splits"].values(),
                len({line.dialogue_id for line in corpus.lines}), len({line.speaker for line in corpus.lines}),
                f"{corpus.duration_s / 60:.1f}",
            ]],
        )  # fmt: skip
