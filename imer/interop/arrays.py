"""NumPy arrays beside a manifest → a feature store: row i of each array belongs to row i of the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.files import sha256_file
from imer.core.types import ARRAYS, FeatureSpec, Verdict
from imer.interop.incoming import Imported
from imer.interop.verdicts import take_verdicts
from imer.media.columns import doubts
from imer.media.manifest import Manifest, read_manifest
from imer.store.writer import FeatureBlock, vector_block, write_store


def import_arrays(manifest_path: Path, arrays: Mapping[str, Path], out: Path, *, overwrite: bool = False) -> Imported:
    """Write a store from a manifest and one `.npy` file [rows, D] per modality.

    A row of NaN means that the modality is not present; why may stand in the manifest, as `imer data export` writes it.
    A row that is NaN or infinite in part is not present either, and its verdict is `non_finite`. Nobody can say how an
    array was made, so its fingerprint says no more than its modality and width; the file's sha256 stands in the
    provenance.

    Raises
    ------
    InvalidInput
        A file is missing or is no two-dimensional array of numbers, its rows do not match the manifest's, or the
        manifest has broken rows (they could not be matched with confidence).
    UsageError
        No array is named.
    """
    if not arrays:
        raise UsageError("Name at least one array, such as --features audio=audio.npy.")
    manifest = read_manifest(manifest_path, allow_outside=True)  # its media are not opened
    if manifest.problems:
        raise InvalidInput(
            f"{manifest_path} has {len(manifest.problems)} broken rows ({listed(manifest.problems, 3)}); mend them, so that "
            "every row of the arrays has its utterance."
        )
    blocks: list[FeatureBlock] = []
    quality: dict[str, np.ndarray] = {}
    notes = doubts(manifest.utterances, ())  # no media, no words: of dialogues
    for modality, path in arrays.items():
        values_ND = _load(Path(path), modality, manifest)
        finite_N = np.isfinite(values_ND).all(axis=1)
        absent_N = np.isnan(values_ND).all(axis=1)
        quality[modality] = np.where(finite_N, Verdict.ok, np.where(absent_N, Verdict.no_stream, Verdict.non_finite))
        if n_partly := int((~finite_N & ~absent_N).sum()):
            columns = np.flatnonzero(~np.isfinite(values_ND[~absent_N]).all(axis=0))
            notes.append(
                f"{modality}: {n_partly} of {len(values_ND)} rows are NaN or infinite in part and count as not present "
                f"(columns, from 0: {listed(columns, 5)})."
            )
        spec = FeatureSpec(
            modality=modality,
            extractor=f"{ARRAYS}{modality}",
            version="1",
            level="utterance",
            dim=values_ND.shape[1],
        )
        blocks.append(vector_block(spec, values_ND, finite_N))
    provenance = {
        "command": "data import arrays",
        "manifest": {"name": Path(manifest_path).name, "sha256": sha256_file(Path(manifest_path))},
        "arrays": {m: {"name": Path(path).name, "sha256": sha256_file(Path(path))} for m, path in arrays.items()},
    }
    utterances, quality = take_verdicts(manifest.utterances, quality)
    digest = write_store(out, utterances, blocks, quality, provenance=provenance, overwrite=overwrite)
    return Imported(digest, len(manifest.utterances), notes=tuple(notes))


def _load(path: Path, modality: str, manifest: Manifest) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False, mmap_mode="r")
    except FileNotFoundError as error:
        raise InvalidInput(f"The {modality} array {path} does not exist.") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror or error}).") from error
    except (ValueError, EOFError) as error:  # NumPy takes anything that it does not know for a pickle
        raise InvalidInput(f"{path} is not a .npy file of numbers; write it with numpy.save.") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiub" or not values.shape[1]:
        found = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else "an archive"
        raise InvalidInput(f"{path} must be an array of numbers [rows, width], but it is {found}.")
    if len(values) != manifest.n_rows:
        raise InvalidInput(
            f"{path} has {len(values)} rows, but {manifest.path} has {manifest.n_rows}: row i of an array belongs to row i "
            "of the manifest."
        )
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, and so its row's verdict
        return np.asarray(values, dtype=np.float32)
