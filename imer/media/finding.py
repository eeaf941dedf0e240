"""Which clips are meant: those that are named, and those that lie in folders, each with a name of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imer.core.errors import InvalidInput, counted, listed
from imer.core.files import encodable
from imer.media.rows import TABLE_SUFFIXES
from imer.media.transcripts import SUFFIXES as TIMED_SUFFIXES

TRANSCRIPT_SUFFIX = ".txt"
LOCK_SUFFIX = ".lock"  # of an output that is being written there
# What is taken for a clip when a folder is given; a file that is named itself may have any suffix.
CLIP_SUFFIXES = (
    ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf", ".divx", ".flac",
    ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".oga", ".ogg", ".ogv", ".opus", ".rm", ".ts", ".vob", ".voc", ".wav", ".weba", ".webm", ".wma", ".wmv",
    ".wv",
)  # fmt: skip


@dataclass(frozen=True)
class ClipProblem:
    """What of the named clips cannot be used: a transcript of one (E-TEXT), or a file or folder (E-NOFILE); and why."""

    name: str
    message: str
    path: Path
    code: str = "E-TEXT"


@dataclass
class Found:
    """Clips with their names, and what else was met on the way to them.

    named      (name, file) of every clip
    problems   what cannot be read
    links      links to folders, which are not followed
    aside      files of other kinds that lie in the folders, by suffix
    """

    named: list[tuple[str, Path]] = field(default_factory=list)
    problems: list[ClipProblem] = field(default_factory=list)
    links: int = 0
    aside: Counter[str] = field(default_factory=Counter)


def find_clips(paths: Sequence[Path]) -> Found:
    """Find the clips that are meant by paths of clips and folders.

    A clip in a folder is called by its way there without the suffix, another by the file's name.

    So a clip keeps its name whatever else comes into the folder, unless that is a namesake of another kind: these keep their
    suffixes. Hidden files and folders are none of the user's making, such as what macOS leaves beside each file on other disks.

    Raises
    ------
    InvalidInput
        No path exists, a folder has no clips, no path is one, or no name of a clip is UTF-8.
    """
    if not any(path.exists() for path in paths):
        raise InvalidInput(f"The clip {paths[0]} does not exist.")
    found = Found()
    name_of: dict[Path, str] = {}  # a clip that is named twice is answered once
    for path in paths:
        if path.is_dir():
            for file in _clips_in(path, found):
                name_of.setdefault(file, file.relative_to(path).with_suffix("").as_posix())
        elif path.suffix.lower() in (*TIMED_SUFFIXES, TRANSCRIPT_SUFFIX, *TABLE_SUFFIXES):
            found.aside[path.suffix.lower()] += 1
        else:
            name_of.setdefault(path, path.stem)
    if not name_of and paths[0].suffix.lower() in TABLE_SUFFIXES:
        raise InvalidInput(f"{paths[0]} is a table, not a clip; with a column utterance_id, it is a manifest already.")
    if not name_of:
        raise InvalidInput(f"{paths[0]} is a transcript; name the clip that lies beside it.")
    counts = Counter(name_of.values())
    name_of = {file: name + file.suffix if counts[name] > 1 else name for file, name in name_of.items()}
    counts = Counter(name_of.values())
    name_of = {file: file.as_posix() if counts[name] > 1 else name for file, name in name_of.items()}
    broken = [file for file, name in name_of.items() if "\x00" in name or not encodable(str(file.absolute()))]
    if len(broken) == len(name_of):
        raise InvalidInput(f"The name of {listed(map(ascii, map(str, broken)), 3)} is not valid UTF-8; rename it.")
    for file in broken:
        name = _printable(name_of.pop(file))
        found.problems.append(ClipProblem(name, f"the name {str(file)!a} is not valid UTF-8", Path(name), "E-NOFILE"))
    found.named = [(name, file) for file, name in name_of.items()]
    return found


def _name_in(folder: Path, path: Path) -> str:
    return _printable(path.relative_to(folder).with_suffix("").as_posix())


def _printable(name: str) -> str:
    return name if encodable(name) else ascii(name)[1:-1]


def _clips_in(folder: Path, found: Found) -> list[Path]:
    """Return the clips in a folder and its folders; note in `found` what else lies there."""
    unread: list[OSError] = []
    files, links, lost = [], 0, []
    for root, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links += sum(Path(root, name).is_symlink() for name in folders)
        inside = [Path(root, name) for name in names if not name.startswith(".")]
        for path in inside:
            try:
                if path.is_file():
                    files.append(path)
                elif path.is_symlink() and not path.exists():
                    lost.append(path)
            except OSError as refused:  # a folder that may be listed, but not entered
                unread.append(refused)
    files = sorted(files)
    clips = [file for file in files if file.suffix.lower() in CLIP_SUFFIXES]
    if not clips:
        followed = counted(links + len(lost), "link to another folder is", "links to other folders are")
        also = f" ({followed} not followed)" if links or lost else ""
        also += f" ({counted(len(unread), 'folder', 'folders')} in it cannot be read)" if unread else ""
        raise InvalidInput(f"The folder {folder} holds no clip: no file with a suffix such as .mp4 or .wav{also}.")
    found.links += links
    for error in unread:
        where = Path(str(error.filename))
        message = f"{where} cannot be read ({error.strerror})"
        found.problems.append(ClipProblem(_name_in(folder, where), message, where, "E-NOFILE"))
    for path in sorted(lost):
        if path.suffix.lower() in CLIP_SUFFIXES:
            message = f"{path} is a link to {os.readlink(path)}, which does not exist"
            found.problems.append(ClipProblem(_name_in(folder, path), message, path, "E-NOFILE"))
    known = (*CLIP_SUFFIXES, *TIMED_SUFFIXES, TRANSCRIPT_SUFFIX, LOCK_SUFFIX)
    found.aside.update(suffix for file in files if (suffix := file.suffix.lower()) not in known)
    return clips
