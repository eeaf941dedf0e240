"""`imer mask`: simulate missing modalities, once, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imer.cli import options
from imer.cli.reporting import reporting

if TYPE_CHECKING:
    from imer.cli.output import Report
    from imer.masks.table import MaskTable


def mask(
    features: options.Features,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="MASK.h5", help="The mask file to write.")],
    missing_rate: Annotated[
        str | None,
        typer.Option(help="Share of hidden cells, such as 0.5; or one per modality: audio=0.2,text=0.7 (imbalanced)."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="exact (default), bernoulli, nested, pattern, instance, imbalanced, mixed or cpm."),
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="The modalities to keep, such as `at`: audio and text.")] = None,
    seed: options.Seed = 0,
    split: Annotated[str | None, typer.Option(help="Only this split: train, val or test. Default: all.")] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
) -> None:
    """Hide modalities of utterances by a protocol, and keep the table as a file.

    The same utterances, protocol, rate and seed give the same file, byte for byte. The missing rate is
    1 − observed cells / (utterances × modalities); what is absent by nature counts as missing.
    """
    with reporting("mask", json=json, quiet=quiet, verbose=verbose, log_file=log_file) as report:
        import numpy as np

        from imer.core.files import spare_inputs
        from imer.core.locks import output_lock
        from imer.masks.make import make_mask
        from imer.masks.notation import parse_rates
        from imer.store.reader import FeatureStore

        rate, rates = parse_rates(missing_rate)
        spare_inputs(out, features)
        with output_lock(out, report.note):
            with FeatureStore.open(features) as store:
                table = make_mask(store, protocol, rate=rate, rates=rates, pattern=pattern, seed=seed, split=split)
                named = set(table.utterance_ids)  # np.isin compares every id with every other, as they are objects
                of_split = np.array([name in named for name in store.utterance_ids], dtype=bool)
                natural_rate = 1.0 - float(store.present_NM()[of_split].mean())
            table.write(out, overwrite=overwrite)
        _show(table, natural_rate, out, report)


def _show(table: MaskTable, natural_rate: float, out: Path, report: Report) -> None:
    from imer.masks.sampling import RATE_TOLERANCE

    n_empty = int((~table.observed_NM.any(axis=1)).sum())
    if n_empty:
        report.warn(f"{n_empty} of {len(table.utterance_ids)} utterances have no observed modality left.")
    if table.protocol in ("exact", "nested") and 0 < (table.nominal_rate or 0) < natural_rate - RATE_TOLERANCE:
        report.warn(
            f"{natural_rate:.4f} is missing by nature already, more than the {table.nominal_rate:g} asked for: nothing is "
            "hidden."
        )
    if table.protocol == "cpm" and natural_rate > RATE_TOLERANCE:
        report.warn(
            f"{natural_rate:.4f} is missing by nature; cpm hides its share of what is there, so that more is missing."
        )
    report.output(out)
    report.counts = {
        "utterances": len(table.utterance_ids),
        "cells": int(table.observed_NM.size),
        "observed": int(table.observed_NM.sum()),
        "without_any": n_empty,
    }
    observed_share = dict(zip(table.modalities, table.observed_NM.mean(axis=0).round(6).tolist(), strict=True))
    report.extra = {
        "protocol": table.protocol,
        "missing_rate": table.nominal_rate,
        "realised_rate": round(table.realised_rate, 6),
        "natural_rate": round(natural_rate, 6),
        "seed": table.seed,
        "split": table.split or None,
        "observed_share": observed_share,
    }
    report.table(
        "mask",
        ["protocol", "nominal", "realised", "natural", "utterances", *(f"observed {m}" for m in table.modalities)],
        [
            [
                table.protocol + (f" {table.detail}" if table.detail else ""),
                table.nominal_rate,
                table.realised_rate,
                natural_rate,
                len(table.utterance_ids),
                *observed_share.values(),
            ]
        ],
    )
