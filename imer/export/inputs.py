"""What a user may point `imer predict` at: clips, folders of clips, a manifest, or a feature store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.types import Utterance
from imer.media.manifest import DELIMITERS, JSON_LINES, RowProblem, encodable, read_manifest

STORE_SUFFIXES = (".h5", ".hdf5")
MANIFEST_SUFFIXES = (*DELIMITERS, *JSON_LINES)
TRANSCRIPT_SUFFIX = ".txt"
# What is taken for a clip when a folder is given; a file that is named itself may have any suffix.
CLIP_SUFFIXES = (
    ".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf", ".flac", ".flv", ".m2ts",
    ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".oga", ".ogg", ".ogv",
    ".opus", ".rm", ".ts", ".voc", ".wav", ".webm", ".wma", ".wmv", ".wv",
)  # fmt: skip


@dataclass(frozen=True)
class Clips:
    """Utterances whose media are still to be read.

    `transcripts` counts the clips whose words came from a text file beside them; `problems` are rows of a manifest
    that cannot be used, and such text files that cannot be read.
    """

    utterances: tuple[Utterance, ...]
    transcripts: int = 0
    problems: tuple[RowProblem, ...] = ()


def is_store(paths: Sequence[Path]) -> bool:
    """Say whether the input is one feature store."""
    return len(paths) == 1 and paths[0].suffix.lower() in STORE_SUFFIXES and not paths[0].is_dir()


def read_clips(
    paths: Sequence[Path], *, text: str | None = None, speaker: str = "", allow_outside: bool = False
) -> Clips:
    """Return the utterances of a manifest, of single clips, or of the clips in folders.

    `text` is the transcript of a single clip. A clip without it takes the words of the text file beside it that has
    its name, if there is one. `speaker` is who speaks in all clips. Clips stand for themselves: each is a dialogue of one
    utterance.

    Raises
    ------
    UsageError
        `text` was given for more than one clip, a manifest or store is mixed with other inputs, or a manifest comes with
        `text` or `speaker`, of which it has its own.
    InvalidInput
        A path does not exist, a folder has no clips, or the manifest cannot be used.
    """
    special = [path for path in paths if path.suffix.lower() in (*STORE_SUFFIXES, *MANIFEST_SUFFIXES)]
    special = [path for path in special if not path.is_dir()]
    if special and len(paths) > 1:
        raise UsageError(f"Give {special[0]} alone: a manifest or a feature store is not mixed with other inputs.")
    if special:
        if text is not None:
            raise UsageError("--text gives the words of a single clip; in a manifest they stand in the column text.")
        if speaker:
            raise UsageError("--speaker says who speaks in named clips; in a manifest it stands in the column speaker.")
        manifest = read_manifest(special[0], allow_outside=allow_outside)
        return Clips(manifest.utterances, problems=manifest.problems)
    clips = _named_clips(paths)
    if text is not None and len(clips) != 1:
        raise UsageError(f"--text gives the words of a single clip, but there are {len(clips)}; use a manifest.")
    utterances: list[Utterance] = []
    problems: list[RowProblem] = []
    transcripts = 0
    for number, (name, path) in enumerate(clips):
        words = text
        beside = path.with_suffix(TRANSCRIPT_SUFFIX)
        if text is None and beside.is_file() and beside != path:
            try:
                words = beside.read_text(encoding="utf-8-sig").strip()
                transcripts += 1
            except (OSError, UnicodeDecodeError) as error:
                message = f"the transcript {beside} cannot be read as UTF-8 text ({error})"
                problems.append(RowProblem(number + 1, name, message))
        utterances.append(
            Utterance(name, name, 0, number + 1, number, audio=path, visual=path, text=words, speaker=speaker)
        )
    return Clips(tuple(utterances), transcripts, tuple(problems))


def _named_clips(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return (name, file) of every clip: the file's name without suffix, as long as that is unique."""
    found: list[Path] = []
    if not any(path.exists() for path in paths):
        raise InvalidInput(f"The clip {paths[0]} does not exist.")
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in CLIP_SUFFIXES and p.is_file())
            if not inside:
                raise InvalidInput(f"The folder {path} holds no clip: no file with a suffix such as .mp4 or .wav.")
            found += inside
        else:
            found.append(path)
    found = list(dict.fromkeys(found))  # a clip that is named twice is answered once
    for name_of in (lambda p: p.stem, lambda p: p.name, lambda p: p.as_posix()):
        names = [name_of(path) for path in found]
        if len(set(names)) == len(names):
            break
    broken = [name for name in names if "\x00" in name or not encodable(name)]
    if broken:
        raise InvalidInput(f"The name of {listed(map(ascii, broken))} is not valid UTF-8; rename the file.")
    return list(zip(names, found, strict=True))
