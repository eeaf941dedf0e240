"""`imer data`: import other people's features, look at a store, merge shards, verify a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imer.cli import options
from imer.cli.output import Report, reporting

app = typer.Typer(help="Import features, inspect, merge and verify stores.", no_args_is_help=True)


@app.command("import")
def import_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="arrays: one .npy file per modality beside a manifest.")],
    manifest: Annotated[Path, typer.Option(help="The manifest; row i of each array belongs to its row i.")],
    features: Annotated[list[str], typer.Option(metavar="MODALITY=FILE.npy", help="Repeat for each modality.")],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FEATURES.h5", help="The store to write.")],
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Make a feature store from features that you have already. A row of NaN means: not present."""
    with reporting("data import", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.core.errors import UsageError, did_you_mean
        from imer.interop.arrays import import_arrays

        importers = ("arrays",)
        if kind not in importers:
            raise UsageError(f"There is no importer {kind!r}; {did_you_mean(kind, importers)}")
        pairs = [text.split("=", 1) for text in features]
        if any(len(pair) != 2 or not all(pair) for pair in pairs):
            raise UsageError(f"--features takes MODALITY=FILE.npy, not {' '.join(features)!r}.")
        if len({name for name, _ in pairs}) < len(pairs):
            raise UsageError("--features names a modality twice.")
        digest = import_arrays(manifest, {name: Path(path) for name, path in pairs}, out, overwrite=overwrite)
        report.output(out)
        _describe(out, report, verify=False)
        report.extra["content_sha256"] = digest


@app.command("inspect")
def inspect(
    features: options.Features,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Say what a feature store holds: features, counts, verdicts, labels, splits, where it came from."""
    with reporting("data inspect", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        _describe(features, report, verify=True)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A feature store, a mask, or a folder with a manifest.json.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Recompute the digests of a file or folder; exit 4 where anything was changed or damaged."""
    with reporting("data verify", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        from imer.store.verify import verify_any

        kind, digest = verify_any(file)
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
        from imer.core.locks import output_lock
        from imer.store.merging import merge_stores

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
    report.line(f"{facts['n_utterances']} utterances in {facts['n_dialogues']} dialogues; splits: {splits}")
    report.line(f"content_sha256 {facts['content_sha256']}")
