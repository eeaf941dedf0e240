"""Clips that are named, or lie in folders, with the words beside them: utterances without a manifest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.types import Utterance
from imer.media.cells import encodable
from imer.media.parties import heard_in
from imer.media.transcripts import SUFFIXES as TIMED_SUFFIXES
from imer.media.transcripts import read_cues, read_text

TRANSCRIPT_SUFFIX = ".txt"
LOCK_SUFFIX = ".lock"  # of an output that is being written there
LEAST_WINDOW_S = 1.0
BYTES_PER_SECOND_OF_PAUSES = 50  # Opus that hears nothing takes so little: a file of this size may be so long
# What is taken for a clip when a folder is given; a file that is named itself may have any suffix.
CLIP_SUFFIXES = (
    ".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".ape", ".asf", ".au", ".avi", ".caf", ".divx", ".flac",
    ".flv", ".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".oga", ".ogg", ".ogv", ".opus", ".rm", ".ts", ".vob", ".voc", ".wav", ".weba", ".webm", ".wma", ".wmv",
    ".wv",
)  # fmt: skip


@dataclass(frozen=True)
class Cutting:
    """How a clip becomes utterances.

    Where a timed transcript lies beside it, each cue is one, unless clips are to stay `whole`. Other clips are cut into
    windows of `window_s` seconds, if that is given; the last is up to half a window shorter or longer.

    Where `channels` names who is on the first, the second … channel of the sound, as calls are recorded, each clip or window
    is an utterance of every one of them, with the picture there is and without words. A cue is theirs if it names them, and
    else heard in all channels.
    """

    window_s: float | None = None
    whole: bool = False
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len({name.casefold() for name in self.channels}) < len(self.channels) or not all(self.channels):
            raise UsageError(
                "--channels takes who is on each channel, such as agent,customer: different names, none empty."
            )
        if self.whole and self.window_s is not None:
            raise UsageError("--whole and --window contradict each other; give one of them.")
        if self.window_s is not None and not LEAST_WINDOW_S <= self.window_s < float("inf"):
            raise UsageError(
                f"--window takes a number of seconds from {LEAST_WINDOW_S:g} on, but {self.window_s:g} was given."
            )


@dataclass(frozen=True)
class ClipProblem:
    """What of the named clips cannot be used: a transcript of one (E-TEXT), or a file or folder (E-NOFILE); and why."""

    name: str
    message: str
    path: Path
    code: str = "E-TEXT"


@dataclass
class Clips:
    """Utterances whose media are still to be read.

    transcripts, timed   clips whose words came from a text file beside them, or from a timed transcript
    undivided   text files that are of no use, since nobody can say which of their words belong to which part
    problems    what cannot be read
    beyond      cues that begin after their clip's end
    unclaimed   cues of nobody on a channel
    mixed       clips with too few channels for all parties
    links       links to folders, which are not followed
    aside       files of other kinds that lie in the folders, by suffix
    """

    utterances: list[Utterance] = field(default_factory=list)
    transcripts: int = 0
    timed: int = 0
    undivided: int = 0
    problems: list[ClipProblem] = field(default_factory=list)
    beyond: int = 0
    unclaimed: int = 0
    mixed: int = 0
    links: int = 0
    aside: Counter[str] = field(default_factory=Counter)

    @property
    def notes(self) -> list[str]:
        """What a user should know of how the clips were found, in sentences."""
        said = []
        if self.aside:
            kinds = listed((f"{n} {suffix or 'without a suffix'}" for suffix, n in self.aside.most_common()), 5)
            said.append(f"{self.aside.total()} files are no clips by their suffix, and are left aside: {kinds}.")
        if self.links:
            said.append(
                f"{self.links} links to other folders are not followed; name these folders to take their clips."
            )
        if self.timed:
            said.append(f"{self.timed} clips have a timed transcript (.srt, .vtt) beside them, whose cues were taken.")
        if self.unclaimed:
            said.append(f"{self.unclaimed} cues name nobody of --channels, or several: they are heard in all channels.")
        if self.transcripts:
            said.append(f"took the words of {self.transcripts} clips from the .txt files beside them.")
        return said

    @property
    def warnings(self) -> list[str]:
        """What looks like a mistake, in sentences."""
        said = []
        if self.beyond:
            said.append(
                f"{self.beyond} cues begin after the end of their clip: is each transcript that of the clip beside it?"
            )
        if self.mixed:
            said.append(
                f"{self.mixed} recordings have fewer channels than --channels names: their parties are heard together, as "
                "nobody in particular unless a cue says who speaks."
            )
        if self.undivided:
            said.append(
                f"the words of {self.undivided} .txt files are not used: nobody can say which of them belong to which window "
                "or channel."
            )
        return said


def cut_clips(paths: Sequence[Path], cutting: Cutting, *, text: str | None = None, speaker: str = "") -> Clips:
    """Return the utterances of clips, and of the clips in folders. The parts of a clip are a dialogue, in order.

    `text` is the transcript of a single clip, which then stays whole. A clip without it takes the words of the timed
    transcript beside it that has its name, or else of the text file, if there is one. `speaker` is who speaks in all clips.

    Raises
    ------
    UsageError
        `text` was given for more than one clip.
    InvalidInput
        No path exists, a folder has no clips, no name of a clip is UTF-8, or two utterances would have one name.
    """
    found = Clips()
    named = _named(paths, found)
    if text is not None and len(named) != 1:
        raise UsageError(f"--text gives the words of a single clip, but there are {len(named)}; use a manifest.")
    if cutting.channels and (speaker or text is not None):
        raise UsageError(
            "--channels says who speaks, and nobody's words go with a channel: leave out --speaker and --text."
        )
    for name, path in named:
        pieces = [(None, None, text, "")] if text is not None else list(_pieces(name, path, cutting, found))
        width = len(str(len(pieces)))
        is_mixed = bool(cutting.channels) and 0 < _n_channels(path) < len(cutting.channels)
        found.mixed += is_mixed
        position = 0
        for number, (start_s, end_s, words, voice) in enumerate(pieces):
            part = name if start_s is None else f"{name}_{number + 1:0{width}d}"
            is_cue = start_s is not None and words is not None
            for heard in heard_in(part, words, voice, cutting.channels, is_cue=is_cue, is_mixed=is_mixed):
                row = len(found.utterances)
                found.utterances.append(
                    Utterance(
                        heard.utterance_id, name, position, row + 1, row, audio=path, visual=path, start_s=start_s,
                        end_s=end_s, text=heard.words, speaker=speaker or heard.speaker, channel=heard.channel,
                    )
                )  # fmt: skip
                position += 1
                found.unclaimed += is_cue and bool(cutting.channels) and heard.channel is None and not is_mixed
    counts = Counter(utterance.utterance_id for utterance in found.utterances)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InvalidInput(f"Two utterances would be called {listed(twice, 3)}; rename a clip, or use a manifest.")
    return found


_Piece = tuple[float | None, float | None, str | None, str]  # start and end in seconds, words, speaker


def _pieces(name: str, path: Path, cutting: Cutting, found: Clips) -> Iterator[_Piece]:
    """Yield the parts of one clip; count in `found` what its words came from."""
    for transcript in _beside(path, TIMED_SUFFIXES):
        try:
            read = read_cues(transcript)
        except InvalidInput as error:
            found.problems.append(ClipProblem(name, str(error), transcript))
            continue
        found.timed += 1
        if read.unread:
            message = f"{read.unread} cues of the transcript {transcript} cannot be read"
            found.problems.append(ClipProblem(name, message, transcript))
        if cutting.whole:
            yield None, None, " ".join(cue.text for cue in read.cues), ""
            return
        end_s = _duration_s(path)
        found.beyond += sum(end_s is not None and cue.start_s >= end_s for cue in read.cues)
        yield from ((cue.start_s, cue.end_s, cue.text, cue.speaker) for cue in read.cues)
        return
    windows: list[_Piece] = [] if cutting.window_s is None else list(_windows(path, cutting.window_s))
    words, plain = None, _beside(path, (TRANSCRIPT_SUFFIX,))
    if cutting.channels or len(windows) > 1:
        found.undivided += len(plain)
        plain = []
    for transcript in plain:
        try:
            words = " ".join(read_text(transcript).split())  # a table may not have room for all its lines
            found.transcripts += 1
        except InvalidInput as error:
            found.problems.append(ClipProblem(name, str(error), transcript))
    if words is None:
        yield from windows or [(None, None, None, "")]
    else:
        start_s, end_s, *_ = windows[0] if windows else (None, None)
        yield start_s, end_s, words, ""


def _beside(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files that have a clip's name and one of these suffixes, in their order, small letters before capitals."""
    found = []
    for suffix in suffixes:
        spelt = [path.with_suffix(suffix), path.with_suffix(suffix.upper())]
        found += [file for file in spelt if file.is_file()][:1]
    return [file for file in found if file != path]


def _duration_s(path: Path) -> float | None:
    """Return how long a clip is; None where it cannot be opened, of which its extraction says why."""
    from imer.media import probe

    try:
        return probe.plausible_duration_s(path, BYTES_PER_SECOND_OF_PAUSES)
    except probe.MediaError:
        return None


def _n_channels(path: Path) -> int:
    """Return how many channels the sound of a clip has; 0 where it has none, or cannot be opened."""
    from imer.media import probe

    try:
        with probe.open_media(path) as container:
            stream = probe.audio_stream(container)
            return 0 if stream is None or not probe.is_known(stream) else int(stream.codec_context.channels)
    except probe.MediaError:
        return 0


def _windows(path: Path, window_s: float) -> Iterator[_Piece]:
    """Yield windows of a clip; the last one goes to its end, wherever that is. Of what cannot be opened there are none."""
    duration_s = _duration_s(path)
    count = 0 if duration_s is None else max(round(duration_s / window_s), 1)
    for i in range(count):
        yield i * window_s, (i + 1) * window_s if i + 1 < count else None, None, ""


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _named(paths: Sequence[Path], clips: Clips) -> list[tuple[str, Path]]:
    """Return (name, file) of every clip: of one in a folder its way there without the suffix, of another the file's name.

    So a clip keeps its name whatever else comes into the folder, unless that is a namesake of another kind: these keep their
    suffixes. Hidden files and folders are none of the user's making, such as what macOS leaves beside each file on other disks.
    """
    if not any(path.exists() for path in paths):
        raise InvalidInput(f"The clip {paths[0]} does not exist.")
    name_of: dict[Path, str] = {}  # a clip that is named twice is answered once
    for path in paths:
        if path.is_dir():
            for file in _clips_in(path, clips):
                name_of.setdefault(file, file.relative_to(path).with_suffix("").as_posix())
        elif path.suffix.lower() in (*TIMED_SUFFIXES, TRANSCRIPT_SUFFIX):
            clips.aside[path.suffix.lower()] += 1
        else:
            name_of.setdefault(path, path.stem)
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
        name = ascii(name_of.pop(file))[1:-1]
        clips.problems.append(ClipProblem(name, f"the name {str(file)!a} is not valid UTF-8", Path(name), "E-NOFILE"))
    return [(name, file) for file, name in name_of.items()]


def _name_in(folder: Path, path: Path) -> str:
    return ascii(path.relative_to(folder).with_suffix("").as_posix())[1:-1]


def _clips_in(folder: Path, clips: Clips) -> list[Path]:
    """Return the clips in a folder and its folders; count in `clips` what else lies there."""
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
    found = [file for file in files if file.suffix.lower() in CLIP_SUFFIXES]
    if not found:
        also = (
            f" ({links + len(lost)} links to other folders, or to nowhere, are not followed)" if links or lost else ""
        )
        also += f" ({len(unread)} folders in it cannot be read)" if unread else ""
        raise InvalidInput(f"The folder {folder} holds no clip: no file with a suffix such as .mp4 or .wav{also}.")
    clips.links += links
    for error in unread:
        where = Path(str(error.filename))
        message = f"{where} cannot be read ({error.strerror})"
        clips.problems.append(ClipProblem(_name_in(folder, where), message, where, "E-NOFILE"))
    for path in sorted(lost):
        if path.suffix.lower() in CLIP_SUFFIXES:
            message = f"{path} is a link to {os.readlink(path)}, which does not exist"
            clips.problems.append(ClipProblem(_name_in(folder, path), message, path, "E-NOFILE"))
    known = (*CLIP_SUFFIXES, *TIMED_SUFFIXES, TRANSCRIPT_SUFFIX, LOCK_SUFFIX)
    clips.aside.update(suffix for file in files if (suffix := file.suffix.lower()) not in known)
    return found
