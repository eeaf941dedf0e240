"""A feature store → tables for R, pandas or a spreadsheet, or arrays for NumPy; the utterances in a table beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imer.core.types import Verdict
from imer.interop.outgoing import Exported, in_order, save_array, save_blocks, spec_of
from imer.interop.verdicts import new_column
from imer.media.tables import csv_cell, csv_row
from imer.store.columns import number_text
from imer.store.reader import FeatureStore

TIME = "time_s"  # of a frame, in seconds of its utterance


def export_csv(store: FeatureStore, folder: Path) -> Exported:
    """Write `utterances.csv`, and a table for each modality: a line an utterance, or a line a frame.

    Absent values are empty cells, absent frames no lines. `utterances.csv` also says what became of each modality.
    `imer data import csv` reads both again.
    """
    _write_utterances(store, folder / "utterances.csv")
    for modality in store.modalities:
        _write_values(store, modality, folder / f"{modality}.csv")
    return Exported(store.n)


def export_arrays(store: FeatureStore, folder: Path) -> Exported:
    """Write `manifest.csv`, and a `.npy` file [N, D] for each modality, NaN where it is not present.

    `imer data import arrays` reads them. A frame-level modality becomes its frames [ΣT, D] and `<modality>_offsets.npy`
    [N+1]: utterance i has the rows offsets[i]:offsets[i+1].
    """
    _write_utterances(store, folder / "manifest.csv")
    notes = []
    for modality in store.modalities:
        path = folder / f"{modality}.npy"
        if spec_of(store, modality).level == "utterance":
            save_array(path, store.vectors(modality)[0])
            continue
        feature = store.feature(modality)
        save_blocks(path, feature)
        save_array(folder / f"{modality}_offsets.npy", feature.offsets)
        notes.append(f"{modality} is frame-level: row i of {modality}_offsets.npy says where utterance i begins.")
    return Exported(store.n, tuple(notes))


def _write_utterances(store: FeatureStore, path: Path) -> None:
    """Write what is known of the utterances but their features, as a manifest that `imer` reads."""
    verdicts = {
        new_column(modality, store.columns): [Verdict(int(value)).name for value in values]
        for modality, values in store.quality.items()
    }
    columns: dict[str, Any] = {
        "utterance_id": store.utterance_ids,
        "dialogue_id": store.dialogue_ids,
        "position": store.positions,
        "speaker": store.speakers,
        "session": store.sessions,
        "split": store.splits,
        "start": [number_text(seconds) for seconds in store.start_s.tolist()],
        "end": [number_text(seconds) for seconds in store.end_s.tolist()],
        "text": store.texts,
        **verdicts,
        **store.columns,
    }
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(csv_row(columns))
        file.writelines(csv_row(cells) for cells in zip(*columns.values(), strict=True))


def _write_values(store: FeatureStore, modality: str, path: Path) -> None:
    """Write one modality, with the digits that a float32 needs. Frames say when they are, unless their values do."""
    feature, spec = store.feature(modality), spec_of(store, modality)
    names = spec.dim_names or tuple(f"{modality}_{i}" for i in range(spec.dim))
    of_frames = spec.level != "utterance"
    hop_s = None if TIME in names else spec.hop_s
    line = ",".join(["%.9g"] * spec.dim)
    empty = "," * (spec.dim - 1)
    with open(path, "w", encoding="utf-8", newline="") as file:
        heads = [
            "utterance_id",
            *(["frame"] if of_frames else []),
            *([TIME] if of_frames and hop_s else []),
            *names,
        ]
        file.write(csv_row(heads))
        for name, values_TD in zip(store.utterance_ids, in_order(feature), strict=True):
            quoted = csv_cell(name)
            if not of_frames:
                file.write(f"{quoted},{line % tuple(values_TD[0]) if len(values_TD) else empty}\n")
                continue
            for i, row in enumerate(values_TD):
                when = f",{i * hop_s:.9g}" if hop_s else ""
                file.write(f"{quoted},{i}{when},{line % tuple(row)}\n")
