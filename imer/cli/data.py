"""`imer data`: list clips, import and export features, look at a store, merge shards, verify a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imer.cli import options
from imer.cli.output import Report
from imer.cli.reporting import reporting
from imer.core.errors import counted

app = typer.Typer(
    help="List clips in a manifest; import and export features; inspect, merge and verify stores.", no_args_is_help=True
)


@app.command("manifest")
def manifest_command(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP…", help="Clips, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="MANIFEST.csv", help="The manifest to write.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="What is known of the clips (CSV, TSV or JSONL): a column file, media or utterance_id, and emotion, speaker, "
            "split or others.",
        ),
    ] = None,
    window: options.Window = None,
    whole: options.Whole = False,
    channels: options.Channels = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """List clips in a manifest for `imer extract`, with labels, speakers and splits from a table, or to be filled in.

    Words come from the transcripts beside the clips: a .txt file for the whole, a .srt or .vtt file cue by cue.
    """
    with reporting("data manifest", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.errors import PartialFailure, listed
        from imer.core.files import spare_inputs
        from imer.core.locks import output_lock
        from imer.media.clips import Cutting, cut_clips
        from imer.media.labels import read_labels
        from imer.media.listing import says_who_speaks, write_listing

        spare_inputs(out, labels)
        with output_lock(out, report.note):
            found = cut_clips(clips, Cutting(window, whole, options.names(channels)))
            known = None if labels is None else read_labels(labels, found.utterances)
            outside = write_listing(found.utterances, out, known, overwrite=overwrite)
        report.output(out)
        report.counts = {
            "clips": len({utterance.audio for utterance in found.utterances}),
            "utterances": len(found.utterances),
            "with_words": sum(utterance.text is not None for utterance in found.utterances),
        }
        if known is not None:
            report.counts["with_labels"] = known.n_named
            if known.n_named < len(found.utterances):
                report.note(
                    f"{len(found.utterances) - known.n_named} of {len(found.utterances)} utterances are not in {labels}."
                )
            said = zip(found.utterances, known.cells, strict=True)
            if overruled := sum(
                cells.get("speaker", "") not in ("", u.speaker) and says_who_speaks(u) for u, cells in said
            ):
                report.note(
                    f"the column speaker of {labels} is not used for {counted(overruled, 'utterance', 'utterances')}, "
                    "whose channel or cue says who speaks."
                )
            if known.strangers:
                report.warn(
                    f"{counted(len(known.strangers), f'row of {labels} names', f'rows of {labels} name')} no clip that was "
                    f"given ({listed(known.strangers, 3)})."
                )
        report.table("manifest", ["output", *report.counts], [[out, *report.counts.values()]])
        for note in found.notes:
            report.note(note)
        for warning in found.warnings:
            report.warn(warning)
        if outside:
            report.warn(
                f"{counted(outside, 'clip lies', 'clips lie')} outside the folder of {out}: `imer extract` needs "
                "--allow-outside."
            )
        for problem in found.problems:
            report.warn(f"{problem.name}: {problem.message}.")
        unusable = known.problems if known else ()
        for row in unusable:
            report.warn(f"{labels}, {row}.")
        if found.problems:
            raise PartialFailure(
                f"{counted(len(found.problems), 'clip, folder or transcript', 'clips, folders or transcripts')} cannot be "
                "used, or not wholly: see above."
            )
        if unusable:
            raise PartialFailure(f"{counted(len(unusable), 'row', 'rows')} of {labels} cannot be used: see above.")


@app.command("import")
def import_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="csv, arrays, gcnet, mmsa or csd: see below.")],
    source: Annotated[
        Path | None, typer.Argument(metavar="SOURCE", help="mmsa: the pickle; gcnet: the folder.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FEATURES.h5", help="The store to write.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="csv: whose utterances; arrays: row i of each belongs to its row i.")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY=NAME", help="Repeat for each modality: a file or folder.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="LABELS.csd", help="csd: the sequence of labels.")] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Make a feature store from features that you have already. No code in a foreign file is ever run.

    csv --manifest m.csv --features audio=audio.csv: a table with a column utterance_id, a row an utterance or several
    frames; or a folder with <utterance_id>.csv for each, as OpenFace writes them.

    arrays --manifest m.csv --features audio=audio.npy: one row of an array a row of the manifest; NaN: not present.

    gcnet CORPUS_FOLDER --features audio=wav2vec-large-c-UTT: corpora as GCNet, MoMKE and ComP lay them out.

    mmsa FILE.pkl: MMSA's pickles of CMU-MOSI, CMU-MOSEI and CH-SIMS, as sequences.

    csd --labels labels.csd --features audio=COVAREP.csd: sequences of the CMU-Multimodal SDK, averaged by utterance.
    """
    with reporting("data import", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.locks import output_lock
        from imer.interop.imports import Request, import_features

        request = Request(kind, source, manifest, tuple(features or ()), labels)
        with output_lock(out, report.note):
            path, made = import_features(request, out, overwrite=overwrite)
        report.output(path)
        _describe(path, report, verify=False)
        report.extra["content_sha256"] = made.content_sha256
        for note in made.notes:
            report.warn(note)
        if made.n_mended:
            mended = counted(
                made.n_mended, "value was no finite number and is", "values were no finite numbers and are"
            )
            report.warn(f"{mended} 0 now.")


@app.command("export")
def export_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="csv, arrays, gcnet or mmsa: see below.")],
    features: options.Features,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The folder to write; mmsa: the file.")],
    label: Annotated[str | None, typer.Option(help="gcnet, mmsa: the label, a number. Default: sentiment.")] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Hand the features of a store to other tools.

    csv: a folder with utterances.csv, and a table for each modality (a line an utterance, or a frame).

    arrays: a folder with manifest.csv, and a .npy file for each modality; `imer data import arrays` reads them again.

    gcnet: a corpus folder as GCNet, MoMKE and ComP read CMU-MOSI.

    mmsa: a pickle as MMSA reads it.

    Where it comes from is in store.json (mmsa: in its `config`).
    """
    with reporting("data export", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.locks import output_lock
        from imer.interop.exports import export_features

        with output_lock(out, report.note):
            made = export_features(kind, features, out, label=label, overwrite=overwrite)
        report.output(out)
        report.counts = {"utterances": made.n_utterances}
        report.extra = {"kind": kind}
        for note in made.notes:
            report.warn(note)
        report.table("exported", ["output", "kind", "utterances"], [[out, kind, made.n_utterances]])


@app.command("inspect")
def inspect(
    features: options.Features,
    list_globals: Annotated[
        bool, typer.Option("--globals", help="List what a foreign pickle would import or run.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Say what a feature store holds: features, counts, verdicts, labels, splits, where it came from.

    With --globals the file is somebody's pickle, of which nothing is loaded: what it names of the world outside it is listed.
    """
    with reporting("data inspect", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        if list_globals:
            from imer.interop.safe_pickle import globals_of

            found = globals_of(features)
            report.counts = {"globals": len(found), "refused": sum(not allowed for allowed in found.values())}
            report.extra = {"path": str(features), "globals": found}
            rows = [[name, "read" if allowed else "refused"] for name, allowed in found.items()]
            report.table(f"globals of {features}", ["global", "an import"], rows)
            return
        _describe(features, report, verify=True)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A feature store, a mask, or a folder with a manifest.json.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Recompute the digests of a file, or of a folder's files that a manifest.json names; exit 4 where any was changed."""
    with reporting("data verify", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.errors import listed
        from imer.store.verify import not_covered, verify_any

        kind, digest = verify_any(file)
        if file.is_dir() and (others := not_covered(file)):
            report.warn(f"nothing says what these files held, so they were not checked: {listed(others, 5)}.")
        report.extra = {"path": str(file), "kind": kind, "content_sha256": digest}
        report.table("verified", ["file", "kind", "content_sha256"], [[file, kind, digest]])


@app.command("merge")
def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="SHARD.h5…", help="Stores of `imer extract --shard I/N`.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FEATURES.h5", help="The store to write.")],
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Merge what there is of the shards.")] = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Merge the shards of an extraction into the store of one that was never split."""
    with reporting("data merge", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.files import spare_inputs
        from imer.core.locks import output_lock
        from imer.store.merging import merge_stores

        spare_inputs(out, *parts)
        with output_lock(out, report.note):
            merged = merge_stores(parts, out, allow_missing=allow_missing, overwrite=overwrite)
        report.output(out)
        report.counts = {
            "parts": len(parts),
            "utterances": merged.n_utterances,
            "missing": merged.n_whole - merged.n_utterances,
            "repeated": merged.n_repeated,
        }
        report.extra = {"content_sha256": merged.content_sha256, "shards": list(merged.shards)}
        if report.counts["missing"]:
            report.warn(f"{out} lacks {report.counts['missing']} of {merged.n_whole} utterances.")
        row = [out, len(parts), merged.n_utterances, merged.n_whole, merged.content_sha256]
        report.table("merged", ["file", "parts", "utterances", "of", "content_sha256"], [row])


def _describe(path: Path, report: Report, *, verify: bool) -> None:
    from imer.store.describe import describe
    from imer.store.reader import FeatureStore

    with FeatureStore.open(path, verify=verify) as store:
        facts = describe(store)
    report.counts = {
        "utterances": facts["n_utterances"],
        "dialogues": facts["n_dialogues"],
        "present": facts["present"],
    }
    report.extra.update(facts)
    report.table(
        str(path),
        ["modality", "extractor", "level", "width", "present", "of", "verdicts"],
        [
            [
                f["modality"], f["extractor"], f["level"], f["dim"], f["present"], facts["n_utterances"],
                ", ".join(f"{name} {count}" for name, count in facts["quality"].get(f["modality"], {}).items()),
            ]
            for f in facts["features"]
        ],
    )  # fmt: skip
    report.table(
        "labels",
        ["label", "kind", "labelled", "classes or range"],
        [[name, v["kind"], v["labelled"], v["summary"]] for name, v in facts["labels"].items()],
    )
    splits = ", ".join(f"{name or '(none)'} {count}" for name, count in facts["splits"].items())
    utterances = counted(facts["n_utterances"], "utterance", "utterances")
    dialogues = counted(facts["n_dialogues"], "dialogue", "dialogues")
    report.line(f"{utterances} in {dialogues}; splits: {splits}")
    report.line(f"content_sha256 {facts['content_sha256']}")
