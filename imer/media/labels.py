"""What is known of clips in a table of its own, such as their emotions, speakers and parts, by the name of each clip."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.files import followed
from imer.core.types import Utterance
from imer.media.cells import COLUMNS, NOT_AVAILABLE, BadRow, seconds_of
from imer.media.manifest import RowProblem
from imer.media.rows import known_names, read_rows

# The column that names a clip or an utterance: the first of these that the table has.
NAMING = (
    "utterance_id", "media", "file", "filename", "file_name", "path", "clip", "video", "audio", "name", "stem", "id",
)  # fmt: skip
_OF_THE_CLIP = ("utterance_id", "media", "start", "end")  # columns of a listing that no table changes
_SAME_TIME_S = 0.001


@dataclass(frozen=True)
class Known:
    """What a table says of the utterances of a listing.

    columns    in the order of the table, without the one that names clips
    cells      of each utterance, by column; empty where the table does not name it
    strangers  names in the table that are no clip's
    problems   rows that cannot be used
    """

    columns: tuple[str, ...]
    cells: tuple[Mapping[str, str], ...]
    strangers: tuple[str, ...]
    problems: tuple[RowProblem, ...]

    @property
    def n_named(self) -> int:
        """Number of utterances that the table names."""
        return sum(map(bool, self.cells))


def read_labels(path: Path, utterances: Sequence[Utterance]) -> Known:
    """Find what a table says of utterances, whose clips it may name by id, path, file name, or file name without suffix.

    What is said of a clip holds for all the utterances that were cut from it. A table that says when utterances begin and end,
    as an earlier listing of fewer clips does, has to say so of each by its id, and the same as here.

    Raises
    ------
    InvalidInput
        The table cannot be read, has no column that names clips, or names none of these.
    UsageError
        It says itself where utterances begin and end, as a manifest does, and not the same as here.
    """
    columns, rows = read_rows(path, NAMING, "table of labels")
    ours = known_names(columns, (*COLUMNS, *NAMING))
    columns = [ours.get(column, column) for column in columns]
    key = next((name for name in NAMING if name in columns), None)
    if key is None:
        raise InvalidInput(
            f"{path} has no column that names clips (one of {listed(NAMING, 20)}), but {listed(columns)}."
        )
    is_timed = bool({"start", "end"} & set(columns))
    otherwise = UsageError(
        f"{path} says itself where utterances begin and end, and not those of this listing, so it can be the manifest: give "
        "it the columns utterance_id and media, and use it as it is."
    )
    if is_timed and key != "utterance_id":
        raise otherwise
    clips = _Names(path.parent, utterances)
    cells: list[dict[str, str]] = [{} for _ in utterances]
    named_on: dict[int, int] = {}
    strangers, problems = [], []
    of_utterances, of_clips = [], []
    for line, row in rows:
        if isinstance(row, str):
            problems.append(RowProblem(line, "", row))
            continue
        values = {ours.get(column, column): value.strip() for column, value in row.items()}
        name = values.pop(key)
        found = clips.find(name)
        if not found:
            strangers.append(name)
        elif len({utterances[i].audio for i in found}) > 1:
            problems.append(RowProblem(line, name, f"{name!r} may be any of several clips; name it by its path"))
        elif is_timed and (wrong := _other_times(name, values, [utterances[i] for i in found])):
            problems.append(RowProblem(line, name, wrong))
        elif len(found) > 1:
            values.pop("text", None)  # the words of the whole clip are those of none of its parts
            of_clips.append((line, name, values, found))
        else:
            of_utterances.append((line, name, values, found))
    for line, name, values, found in of_utterances + of_clips:  # a row of its own says more than one of its whole clip
        if all(i in named_on for i in found):
            again = max(named_on[i] for i in found)
            problems.append(RowProblem(line, name, f"{name!r} is named on line {again} already"))
        for i in found:
            if i not in named_on:
                named_on[i], cells[i] = line, values
    if any(utterances[i].start_s is not None for i in named_on):
        for values in cells:  # a clip's place says nothing about those of its parts
            values.pop("position", None)
    known = Known(
        tuple(column for column in columns if column not in (key, *_OF_THE_CLIP)),
        tuple(cells),
        tuple(strangers),
        tuple(sorted(problems, key=lambda problem: problem.line)),
    )
    if not known.n_named and is_timed and problems:
        raise otherwise
    if not known.n_named:
        raise InvalidInput(
            f"{path} names none of the {len(utterances)} utterances in its column {key} "
            f"({listed(strangers, 3) or 'no names'}); a name is such as {clips.example!r}."
        )
    return known


def _other_times(name: str, values: Mapping[str, str], found: Sequence[Utterance]) -> str:
    """Say how the times of a row are not those of the utterances that it names; nothing where they are."""
    cells = {column: values.get(column, "") for column in ("start", "end")}
    try:
        start_s, end_s = (
            None if cell in NOT_AVAILABLE else seconds_of(cell, column, name) for column, cell in cells.items()
        )
    except BadRow as wrong:
        return str(wrong)
    if all(_is_same(start_s, u.start_s) and _is_same(end_s, u.end_s) for u in found):
        return ""
    return f"{name!r} begins or ends at another time here; were the clips cut in another way (--window, --whole)?"


def _is_same(one_s: float | None, other_s: float | None) -> bool:
    if one_s is None or other_s is None:
        return one_s is other_s
    return abs(one_s - other_s) < _SAME_TIME_S


class _Names:
    """All names by which utterances can be meant: ids, and every ending of their clips' paths, with and without suffix."""

    def __init__(self, folder: Path, utterances: Sequence[Utterance]) -> None:
        self._folder = folder
        self._by_id = {u.utterance_id: [i] for i, u in enumerate(utterances)}
        self._by_path: dict[str, list[int]] = {}
        self._by_ending: dict[str, list[int]] = {}
        self.example = ""
        for i, u in enumerate(utterances):
            clip = followed(Path(u.audio or u.visual or ""))
            for path in (clip, clip.with_suffix("")):
                self._by_path.setdefault(_composed(path.as_posix()), []).append(i)
                for ending in _endings(path.as_posix()):
                    self._by_ending.setdefault(ending, []).append(i)
            self.example = self.example or clip.name

    def find(self, name: str) -> list[int]:
        """Return the utterances that a name means; of several clips where it is not clear which."""
        if name in self._by_id:
            return self._by_id[name]
        name = name.replace("\\", "/")  # as Windows writes paths
        path = followed(self._folder / name).as_posix()
        if _composed(path) in self._by_path:  # to the letter, capitals included
            return self._by_path[_composed(path)]
        wanted = [*_endings(path)[:1], *_endings(name)]
        return next((self._by_ending[ending] for ending in wanted if ending in self._by_ending), [])


def _composed(path: str) -> str:
    """Return a path with each accented letter as one character: macOS writes letter and accent."""
    return unicodedata.normalize("NFC", path)


def _endings(path: str) -> list[str]:
    """Return a path and what is left of it without its first, second … folder, in small letters.

    >>> _endings("C:/Day/A.wav")
    ['c:/day/a.wav', 'day/a.wav', 'a.wav']
    """
    parts = [part for part in _composed(path).casefold().split("/") if part not in ("", ".")]
    return ["/".join(parts[i:]) for i in range(len(parts))]
