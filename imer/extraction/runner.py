"""`extract`: a whole manifest through the extractors into one feature store, and whatever happens, nothing is lost.

Clips are grouped into tasks, tasks go to worker processes, results to shards, shards into the store. The store is the
same, to the byte of its content, for any number of workers, any order, and any kill and resume in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.devices import chosen_device
from imer.core.errors import InvalidInput, OutputExists, UsageError, listed
from imer.core.files import followed, same_file, spare_inputs
from imer.core.locks import output_lock
from imer.extraction.adoption import extractors_of
from imer.extraction.engines import check_engine, make_engine, worker_count
from imer.extraction.job import ExtractSettings, Job, Progress, Share
from imer.extraction.plan import in_shard, media_path, natural_verdict, parse_shard
from imer.extraction.recipe import OF_SOME, Recipe
from imer.extraction.staging import staging_folder
from imer.extraction.summary import ExtractSummary
from imer.media.columns import check_sources, doubts
from imer.media.manifest import Manifest, read_manifest
from imer.media.scripts import in_other_scripts
from imer.store.writer import Part

logger = logging.getLogger(__name__)

SOURCE_COLUMNS = ("media", "audio", "visual", "text")  # of a manifest: what features are made from


def extract(
    manifest: Path | str,
    output: Path | str,
    *,
    audio: str | None = None,
    text: str | None = None,
    visual: str | None = None,
    device: str = "auto",
    settings: ExtractSettings | None = None,
    plan_only: bool = False,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
    **options: Any,
) -> ExtractSummary:
    """Extract the modalities of every utterance of a manifest into a feature store at `output`.

    `audio`, `text` and `visual` name extractors (None: the default; "none": switched off). `options` go to the
    extractors that know them: `level`, `frames_per_s`, `face_policy`, `face_stride`, `face_precision`, `face_weights`,
    `download`, `sentence_model`.
    Utterances whose clip has no such medium, is silent, shows no face or has an empty text stay, marked as not
    present. Failures are in the summary and in errors.jsonl; they raise nothing.

    Raises
    ------
    InvalidInput
        The manifest cannot be used, or a model folder or file is not what it should be.
    UsageError
        An option is wrong, or every modality is switched off.
    MissingDependency
        A package, weights or a device is missing.
    OutputExists
        `output` exists (and `overwrite` is false), or another process is writing it.
    Stopped
        More items failed than `max_failures` allows; what is done is kept for the same command to continue.
    """
    run = settings or ExtractSettings()
    say = notice or (lambda _: None)
    out = Path(output)
    replaces = run.overwrite or (run.add is not None and same_file(run.add, out))
    if out.exists() and not replaces:
        raise OutputExists(f"{out} exists already; choose another name or add --overwrite.")
    if out.is_dir():
        raise OutputExists(f"{out} is a folder; name a file, such as {out / 'features.h5'}.")
    spare_inputs(out, manifest)
    check_engine(run.engine, run.address)
    table = read_manifest(Path(manifest), allow_outside=run.allow_outside)
    if not set(SOURCE_COLUMNS) & set(table.columns):
        raise InvalidInput(
            f"{manifest} has none of the columns {listed(SOURCE_COLUMNS)}, so there is nothing to extract from; it has "
            f"{listed(table.columns)}."
        )
    share = _share(table, run)
    table = replace(table, problems=share.problems)
    asked: dict[str, str | None] = {"audio": audio, "text": text, "visual": visual}
    if run.add is not None:
        asked |= extractors_of(run.add, asked)
    recipe = Recipe.of(asked["audio"], asked["text"], asked["visual"], options, chosen_device(device))
    if useless := recipe.useless():
        flag, _, wanted = OF_SOME[useless[0]]
        raise UsageError(f"{flag} is of no use to {listed(recipe.extractors.values())}; add {wanted}, or leave it out.")
    check_sources(table.utterances, table.path, recipe.extractors)
    workers = worker_count(run.workers, recipe.device)
    run = replace(run, overwrite=replaces)
    with make_engine(run.engine, recipe, workers, run.address) as engine:
        is_begun = run.add is not None or staging_folder(out).exists()  # who knows what is left to do
        if not plan_only and not is_begun:
            engine.prepare(*_sources(share, recipe))
        job = Job(table, share, recipe, recipe.specs(), out, run, engine, say, progress or (lambda *_: None))
        for doubt in _doubts(table, recipe):
            logger.warning(doubt)
        if not share.utterances:
            say(f"shard {run.shard} holds none of the {len(share.whole)} utterances: there is nothing to do.")
        if plan_only:
            return job.plan()
        if not share.utterances:
            return job.list_broken_rows()
        with output_lock(out, say):
            if out.exists() and not replaces:
                raise OutputExists(
                    f"{out} has just been made by another process; choose another name or add --overwrite."
                )
            return job.run()


def _sources(share: Share, recipe: Recipe) -> tuple[list[str], int]:
    """Return the modalities of which there is anything to extract, and how many files that is in."""
    found = [(m, u) for m in recipe.extractors for u in share.utterances if natural_verdict(u, m) is None]
    return list(dict.fromkeys(m for m, _ in found)), len({media_path(u, m) for m, u in found if m != "text"})


def _doubts(table: Manifest, recipe: Recipe) -> list[str]:
    """Return what the manifest's author may not have meant."""
    found = doubts(table.utterances, recipe.extractors)
    if recipe.extractors.get("text") == "minilm" and (n := in_other_scripts(u.text for u in table.utterances)):
        found.append(
            f"{n} of {len(table.utterances)} utterances have a text in another script than Latin, and the default text model "
            "is of English: name one that knows their language by --text sentence-transformers --sentence-model FOLDER."
        )
    return found


def _share(table: Manifest, run: ExtractSettings) -> Share:
    whole, problems = table.utterances, table.problems
    if run.limit is not None:
        if run.limit < 1:
            raise UsageError(f"--limit takes a number of utterances, at least 1; found {run.limit}.")
        whole = whole[: run.limit]
        problems = tuple(problem for problem in problems if problem.line < whole[-1].line)
    if run.shard is None:
        return Share(whole, whole, problems, None)
    shard = parse_shard(run.shard)
    root = followed(table.path.parent)
    rows = [row for row, utterance in enumerate(whole) if in_shard(utterance, root, shard)]
    name = f"{shard[0] or shard[1]}/{shard[1]}"
    if shard[0] != 1:  # somebody has to list them, and nobody else
        problems = ()
    return Share(tuple(whole[row] for row in rows), whole, problems, Part(np.array(rows), len(whole), (name,)))
