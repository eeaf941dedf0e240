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
_MINUTES_S = 300.0  # that an utterance of milliseconds, taken for seconds, mostly is longer than
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
    """Return what its author may not have meant: a whole clip shared, or no dialogue, words not read, milliseconds."""
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
        called = [
            f"each utterance is a dialogue of its own; if the column {column} says which belong together, call it dialogue_id."
            for column, cells in others.items()
            if column.lower().startswith(_DIALOGUES) and len(set(cells)) < len(cells)
        ]
        found += called or _strewn_clips(utterances)
    return found + _long_utterances(utterances)


def _strewn_clips(utterances: Sequence[Utterance]) -> list[str]:
    """Return the doubt that parts of one clip are no dialogue, where there are any and something is to be learnt."""
    clips = Counter(u.audio or u.visual for u in utterances if u.start_s is not None or u.end_s is not None)
    shared = {clip: n for clip, n in clips.items() if clip is not None and n > 1}
    if not shared or not any(u.split or any(u.labels.values()) for u in utterances):
        return []
    return [
        f"{sum(shared.values())} utterances share their clip with others, and each is a dialogue of its own, so training and "
        f"test may be of one recording; a column dialogue_id, such as {next(iter(shared)).stem}, tells what belongs together."
    ]


def _long_utterances(utterances: Sequence[Utterance]) -> list[str]:
    """Return the doubt that times without a fraction, by which most utterances last for minutes, are in seconds."""
    timed = [(u.utterance_id, u.start_s or 0.0, u.end_s) for u in utterances if u.end_s is not None]
    long = [(name, start_s, end_s) for name, start_s, end_s in timed if end_s - start_s > _MINUTES_S]
    if 2 * len(long) <= len(timed) or not all(start_s % 1 == end_s % 1 == 0 for _, start_s, end_s in timed):
        return []
    name, start_s, end_s = long[0]
    return [
        f"start and end are in seconds, and most utterances last longer than {_MINUTES_S:g} of them, such as {name} from "
        f"{start_s:.10g} to {end_s:.10g}; divide milliseconds by 1000."
    ]


def _shared_clips(utterances: Sequence[Utterance]) -> list[str]:
    from_its_start = [u for u in utterances if (u.audio or u.visual) and u.start_s is None]
    clips = Counter((u.audio, u.visual, u.channel) for u in from_its_start)
    shared = {source: n for source, n in clips.items() if n > 1}
    if not shared:
        return []
    clip = next(path for path in next(iter(shared))[:2] if path is not None).name
    times = [name for name in utterances[0].labels if name.lower().startswith(_TIMES)]
    are_whole = all(u.end_s is None for u in from_its_start)
    lacking = (
        "neither start nor end, so each is the whole clip" if are_whole else "no start, so each begins where that does"
    )
    return [
        f"{sum(shared.values())} utterances share their clip with others and have {lacking} ({clip})"
        + (f"; are those times in {listed(times)}? Call them start and end." if times else ".")
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
