"""Columns of a manifest that mean much to its author and nothing here: clips, times, words, dialogues under other names.

Whatever is not read is a label. An utterance would then have no sound, or that of its whole clip, and nobody be told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from imer.core.errors import InvalidInput, listed
from imer.core.types import Utterance
from imer.media.finding import CLIP_SUFFIXES

_LOOKED_AT = 200  # cells of a column, from the top
_HEARD_AND_SEEN = ("audio", "visual")
_TIMES = ("start", "begin", "onset", "end", "stop", "offset")
_DIALOGUES = ("dialog", "conversation", "video", "episode", "interview", "call", "meeting", "scene")
_WORDS = 3.0  # that a cell of something said has, in the mean


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
    for column, cells in _other_cells(utterances).items():
        if all(cell.lower().endswith(CLIP_SUFFIXES) for cell in cells) and _is_there(manifest.parent, cells[0]):
            raise InvalidInput(
                f"{manifest}: the column {column} names clips ({cells[0]}), but no utterance has {' or '.join(wanted)}; call "
                f"the column {wanted[0] if len(wanted) == 1 else 'media'} (to extract without: "
                f"{' '.join(f'--{modality} none' for modality in wanted)})."
            )


def doubts(utterances: Sequence[Utterance], modalities: Collection[str]) -> list[str]:
    """Return what its author may not have meant: utterances that share a whole clip or no dialogue, words not read."""
    found: list[str] = []
    if not set(_HEARD_AND_SEEN).isdisjoint(modalities):
        found += _shared_clips(utterances)
    others = _other_cells(utterances)
    if "text" in modalities and not any(u.text for u in utterances):
        found += [
            f"no utterance has a text; if the column {column} holds what is said, call it text."
            for column, cells in others.items()
            if sum(len(cell.split()) for cell in cells) >= _WORDS * len(cells) and len(set(cells)) > len(cells) / 2
        ]
    if all(u.dialogue_id == u.utterance_id for u in utterances):
        found += [
            f"each utterance is a dialogue of its own; if the column {column} says which belong together, call it dialogue_id."
            for column, cells in others.items()
            if column.lower().startswith(_DIALOGUES) and len(set(cells)) < len(cells)
        ]
    return found


def _shared_clips(utterances: Sequence[Utterance]) -> list[str]:
    whole = Counter(
        (u.audio, u.visual, u.channel)
        for u in utterances
        if (u.audio or u.visual) and u.start_s is None and u.end_s is None
    )
    shared = {source: n for source, n in whole.items() if n > 1}
    if not shared:
        return []
    clip = next(path for path in next(iter(shared))[:2] if path is not None).name
    times = [name for name in utterances[0].labels if name.lower().startswith(_TIMES)]
    return [
        f"{sum(shared.values())} utterances share their clip with others and have neither start nor end, so each is the "
        f"whole clip ({clip})" + (f"; are those times in {listed(times)}? Call them start and end." if times else ".")
    ]


def _other_cells(utterances: Sequence[Utterance]) -> dict[str, list[str]]:
    """Return the filled cells of each column that is a label, where there are any."""
    first = utterances[:_LOOKED_AT]
    cells = {column: [u.labels[column] for u in first if u.labels.get(column)] for column in utterances[0].labels}
    return {column: filled for column, filled in cells.items() if filled}


def _is_there(folder: Path, name: str) -> bool:
    """Look for a file, but not on another machine: a name that begins so is a server's on Windows."""
    try:
        return not name.startswith(("//", "\\\\")) and (folder / name).is_file()
    except (OSError, ValueError):  # no name of a file at all
        return False
