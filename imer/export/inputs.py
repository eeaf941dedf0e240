"""What a user may point `imer predict` at: clips, folders of clips, a manifest, or a feature store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imer.core.errors import UsageError
from imer.media.clips import Clips, Cutting, cut_clips
from imer.media.manifest import read_manifest
from imer.media.rows import TABLE_SUFFIXES

STORE_SUFFIXES = (".h5", ".hdf5")


def is_store(paths: Sequence[Path]) -> bool:
    """Say whether the input is one feature store."""
    return len(paths) == 1 and _ends_in(paths[0], STORE_SUFFIXES)


def is_manifest(paths: Sequence[Path]) -> bool:
    """Say whether the input is one manifest."""
    return len(paths) == 1 and _ends_in(paths[0], TABLE_SUFFIXES)


def read_clips(
    paths: Sequence[Path],
    *,
    text: str | None = None,
    speaker: str = "",
    cutting: Cutting = Cutting(),
    allow_outside: bool = False,
) -> Clips:
    """Return the utterances of a manifest, or of clips and folders of clips (see `cut_clips`).

    Raises
    ------
    UsageError
        A manifest or store is mixed with other inputs, or a manifest comes with `text`, `speaker` or `cutting`, of which it
        has its own; or as `cut_clips`.
    InvalidInput
        The manifest cannot be used, or as `cut_clips`.
    """
    special = [path for path in paths if _ends_in(path, (*STORE_SUFFIXES, *TABLE_SUFFIXES))]
    if special and len(paths) > 1:
        raise UsageError(f"Give {special[0]} alone: a manifest or a feature store is not mixed with other inputs.")
    if not special:
        return cut_clips(paths, cutting, text=text, speaker=speaker)
    if text is not None:
        raise UsageError("--text gives the words of a single clip; in a manifest they stand in the column text.")
    if speaker:
        raise UsageError("--speaker says who speaks in named clips; in a manifest it stands in the column speaker.")
    if cutting != Cutting():
        raise UsageError(
            "--window, --whole and --channels are for named clips; a manifest has the columns start, end and audio_channel."
        )
    manifest = read_manifest(special[0], allow_outside=allow_outside)
    return Clips(list(manifest.utterances))


def _ends_in(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.is_dir()
