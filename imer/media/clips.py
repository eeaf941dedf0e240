"""Clips that are named, or lie in folders, with the words beside them: utterances without a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imer.core.errors import InvalidInput, UsageError, counted, listed
from imer.core.types import Utterance
from imer.media.finding import TRANSCRIPT_SUFFIX, ClipProblem, find_clips
from imer.media.parties import heard_in
from imer.media.transcripts import SUFFIXES as TIMED_SUFFIXES
from imer.media.transcripts import read_cues, read_text

LEAST_WINDOW_S = 1.0
BYTES_PER_SECOND_OF_PAUSES = 50  # Opus that hears nothing takes so little: a file of this size may be so long


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


@dataclass
class Clips:
    """Utterances whose media are still to be read.

    transcripts, timed   clips whose words came from a text file beside them, or from a timed transcript
    named       who speaks by the names that cues begin with
    undivided   transcripts that are of no use, since they do not say which of their words belong to which part
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
    named: set[str] = field(default_factory=set)
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
            files = counted(self.aside.total(), "file is no clip by its suffix", "files are no clips by their suffix")
            said.append(f"{files}, and left aside: {kinds}.")
        if self.links:
            said.append(
                f"{counted(self.links, 'link to another folder is', 'links to other folders are')} not followed; name such "
                "folders to take their clips."
            )
        if self.timed:
            clips = counted(self.timed, "clip has a timed transcript", "clips have a timed transcript")
            said.append(f"{clips} (.srt, .vtt) of the same name, whose cues were taken.")
        if self.named:
            said.append(f"the names that their cues begin with say who speaks: {listed(sorted(self.named), 5)}.")
        if self.unclaimed:
            said.append(
                f"{counted(self.unclaimed, 'cue names', 'cues name')} nobody of --channels, or several: such are heard in all "
                "channels."
            )
        if self.transcripts:
            clips = counted(
                self.transcripts, "clip from the .txt file beside it", "clips from the .txt files beside them"
            )
            said.append(f"took the words of {clips}.")
        return said

    @property
    def warnings(self) -> list[str]:
        """What looks like a mistake, in sentences."""
        said = []
        if self.beyond:
            said.append(
                f"{counted(self.beyond, 'cue begins', 'cues begin')} after the end of the clip: is each transcript that of the "
                "clip beside it?"
            )
        if self.mixed:
            said.append(
                f"{self.mixed} recordings have fewer channels than --channels names: their parties are heard together, as "
                "nobody in particular unless a cue says who speaks."
            )
        if self.undivided:
            said.append(
                f"the words of {self.undivided} transcripts are not used: a .txt file does not say which of them belong to "
                "which window or channel, and a timed transcript tells channels apart only where it is cut at its cues."
            )
        return said


def cut_clips(paths: Sequence[Path], cutting: Cutting, *, text: str | None = None, speaker: str = "") -> Clips:
    """Return the utterances of clips, and of the clips in folders. The parts of a clip are a dialogue, in order.

    `text` is the transcript of a single clip, which then stays whole. A clip without it takes the words of the timed
    transcript beside it that has its name, or else of the text file, if there is one. `speaker` is who speaks in all clips.

    Raises
    ------
    UsageError
        `text` was given for more than one clip, or for one that is to be cut into windows.
    InvalidInput
        No path exists, a folder has no clips, no name of a clip is UTF-8, or two utterances would have one name.
    """
    there = find_clips(paths)
    found = Clips(problems=there.problems, links=there.links, aside=there.aside)
    named = there.named
    if text is not None and len(named) != 1:
        raise UsageError(f"--text gives the words of a single clip, but there are {len(named)}; use a manifest.")
    if text is not None and cutting.window_s is not None:
        raise UsageError(
            "--text gives the words of a whole clip, which --window cuts: give one of them, or lay a timed transcript (.srt, "
            ".vtt) beside the clip."
        )
    if cutting.channels and (speaker or text is not None):
        raise UsageError(
            "--channels says who speaks, and nobody's words go with a channel: leave out --speaker and --text."
        )
    for name, path in named:
        is_mixed = bool(cutting.channels) and 0 < _n_channels(path) < len(cutting.channels)
        found.mixed += is_mixed
        cut = replace(cutting, channels=()) if is_mixed else cutting  # who is heard together has all the words
        pieces = [(None, None, text, "")] if text is not None else list(_pieces(name, path, cut, found))
        width = len(str(len(pieces)))
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
        if cutting.whole and cutting.channels:
            found.undivided += 1
            yield None, None, None, ""
            return
        found.timed += 1
        found.named.update(read.names)
        if read.unread:
            message = f"{counted(read.unread, 'cue', 'cues')} of the transcript {transcript} cannot be read"
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
