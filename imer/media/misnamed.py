"""A column of a manifest that names clips and is called something else, such as `video` or `path`: nobody would read it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from imer.core.errors import InvalidInput
from imer.core.types import Utterance
from imer.media.finding import CLIP_SUFFIXES

_LOOKED_AT = 20  # cells of a column, from the top
_HEARD_AND_SEEN = ("audio", "visual")


def check_sources(utterances: Sequence[Utterance], manifest: Path, modalities: Collection[str]) -> None:
    """Notice that no utterance has sound, or a picture, while another column names clips that are there.

    Raises
    ------
    InvalidInput
        It is so: all of these utterances would be taken for ones without that modality.
    """
    wanted = [m for m in _HEARD_AND_SEEN if m in modalities and not any(getattr(u, m) for u in utterances)]
    if not wanted:
        return
    for column in utterances[0].labels:
        cells = [cell for u in utterances[:_LOOKED_AT] if (cell := u.labels.get(column, ""))]
        if (
            cells
            and all(cell.lower().endswith(CLIP_SUFFIXES) for cell in cells)
            and _is_there(manifest.parent, cells[0])
        ):
            raise InvalidInput(
                f"{manifest}: the column {column} names clips ({cells[0]}), but no utterance has {' or '.join(wanted)}; call "
                f"the column {wanted[0] if len(wanted) == 1 else 'media'} (to extract without: "
                f"{' '.join(f'--{modality} none' for modality in wanted)})."
            )


def _is_there(folder: Path, name: str) -> bool:
    """Look for a file, but not on another machine: a name that begins so is a server's on Windows."""
    try:
        return not name.startswith(("//", "\\\\")) and (folder / name).is_file()
    except (OSError, ValueError):  # no name of a file at all
        return False
