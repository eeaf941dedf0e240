"""The forms in which a store's features can be handed to other tools."""

from __future__ import annotations

from pathlib import Path

from imer.core.errors import OutputExists, UsageError, did_you_mean
from imer.core.files import followed, is_free, published_file, spare_inputs, write_json
from imer.core.folders import published_folder
from imer.interop.gcnet import export_gcnet
from imer.interop.mmsa import export_mmsa
from imer.interop.outgoing import Exported, origin
from imer.interop.sheets import export_arrays, export_csv
from imer.store.reader import FeatureStore

EXPORTS = ("csv", "arrays", "gcnet", "mmsa")
LABEL = "sentiment"
ORIGIN_FILE = "store.json"


def export_features(
    kind: str, features: Path, out: Path, *, label: str | None = None, overwrite: bool = False
) -> Exported:
    """Write the features of a store for other tools: a folder, or for mmsa a file.

    Raises
    ------
    UsageError
        The kind is unknown, a label is named where it has no use, or it is no number where numbers are wanted.
    InvalidInput
        The store is missing or damaged, or nothing in it can be written in this form.
    OutputExists
        `out` exists and `overwrite` is false.
    """
    if kind not in EXPORTS:
        raise UsageError(f"There is no exporter {kind!r}; {did_you_mean(kind, EXPORTS)}")
    if label is not None and kind in ("csv", "arrays"):
        raise UsageError(f"imer data export {kind} writes all labels; --label is for gcnet and mmsa.")
    spare_inputs(out, features)
    if kind == "mmsa":
        with FeatureStore.open(features) as store, published_file(out, overwrite=overwrite) as part:
            return export_mmsa(store, part, label or LABEL)
    if not is_free(out) and not (out / ORIGIN_FILE).is_file():
        raise OutputExists(
            f"{out} exists and is no export of features, so --overwrite does not replace it; choose another name."
        )
    if followed(out) in followed(features).parents:
        raise UsageError(f"{features} lies in {out}, which would be replaced; choose another name for the output.")
    with FeatureStore.open(features) as store, published_folder(out, overwrite=overwrite) as folder:
        write_json(folder / ORIGIN_FILE, origin(store))
        if kind == "gcnet":
            return export_gcnet(store, folder, followed(out).name, label or LABEL)
        return export_csv(store, folder) if kind == "csv" else export_arrays(store, folder)
