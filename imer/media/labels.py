"""What is known of clips in a table of its own, such as their emotions, speakers and parts, by the name of each clip."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.files import followed
from imer.core.types import Utterance
from imer.media.cells import COLUMNS
from imer.media.manifest import RowProblem
from imer.media.rows import known_names, read_rows

# The column that names a clip or an utterance: the first of these that the table has.
NAMING = (
    "utterance_id", "media", "file", "filename", "file_name", "path", "clip", "video", "audio", "name", "stem", "id",
)  # fmt: skip
_OF_THE_CLIP = ("utterance_id", "media", "start", "end")  # columns of a listing that no table changes


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

    What is said of a clip holds for all the utterances that were cut from it.

    Raises
    ------
    InvalidInput
        The table cannot be read, has no column that names clips, or names none of these.
    UsageError
        It says itself where utterances begin and end, as a manifest does.
    """
    columns, rows = read_rows(path, NAMING, "table of labels")
    ours = known_names(columns, (*COLUMNS, *NAMING))
    columns = [ours.get(column, column) for column in columns]
    key = next((name for name in NAMING if name in columns), None)
    if key is None:
        raise InvalidInput(
            f"{path} has no column that names clips (one of {listed(NAMING, 20)}), but {listed(columns)}."
        )
    if {"start", "end"} & set(columns):
        raise UsageError(
            f"{path} says itself where utterances begin and end, so it can be the manifest: give it the columns utterance_id "
            "and media, and use it as it is."
        )
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
    if not known.n_named:
        raise InvalidInput(
            f"{path} names none of the {len(utterances)} utterances in its column {key} "
            f"({listed(strangers, 3) or 'no names'}); a name is such as {clips.example!r}."
        )
    return known


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
