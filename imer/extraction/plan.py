"""From utterances to work: each clip is decoded once for all that lie in the same 30 seconds of it.

What a task yields for an utterance never depends on the other utterances of the task, so tasks may be cut anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from imer.core.errors import UsageError
from imer.core.types import Utterance, Verdict
from imer.media.segments import Segment

MAX_SEGMENTS = 64  # per task
MAX_OVERLAP = 4  # segments of one task that share a moment: bounds a worker's memory
TEXTS_PER_TASK = 256
CHARACTERS_PER_TASK = 32_768  # so that long texts or a slow model keep a task within seconds
TEXTS_PER_WINDOW = 4096  # among which texts are sorted by length; packing finds their shards near each other
Cell = tuple[int, str]  # (row among the utterances of this run, modality)


@dataclass(frozen=True)
class MediaTask:
    """Segments of one file. `audio_rows[i]` and `visual_rows[i]` are the utterances that want segment i's."""

    path: Path
    segments: tuple[Segment, ...]
    audio_rows: tuple[tuple[int, ...], ...]
    visual_rows: tuple[tuple[int, ...], ...]

    @property
    def cells(self) -> list[Cell]:
        audio = [(row, "audio") for rows in self.audio_rows for row in rows]
        return audio + [(row, "visual") for rows in self.visual_rows for row in rows]


@dataclass(frozen=True)
class TextTask:
    """Texts of about one length."""

    rows: tuple[int, ...]
    texts: tuple[str, ...]

    @property
    def cells(self) -> list[Cell]:
        return [(row, "text") for row in self.rows]

    def only(self, rows: Sequence[int]) -> TextTask:
        """Return the task of some of its rows."""
        texts = dict(zip(self.rows, self.texts, strict=True))
        return TextTask(tuple(rows), tuple(texts[row] for row in rows))

    def halves(self) -> list[TextTask]:
        middle = len(self.rows) // 2
        return [self.only(self.rows[:middle]), self.only(self.rows[middle:])]


Task = MediaTask | TextTask


def natural_verdict(utterance: Utterance, modality: str) -> tuple[Verdict, str] | None:
    """Return the verdict of a cell that needs no work: nothing there to extract from."""
    if modality == "text":
        if utterance.text is None:
            return Verdict.no_stream, "the manifest has no text column."
        return None if utterance.text.strip() else (Verdict.empty_text, "the text is empty.")
    if media_path(utterance, modality) is None:
        return Verdict.no_stream, f"the manifest names no {modality} file."
    return None


def media_path(utterance: Utterance, modality: str) -> Path | None:
    """Return the file that an utterance's audio or visual modality comes from, or None."""
    return {"audio": utterance.audio, "visual": utterance.visual}.get(modality)


def plan_tasks(
    utterances: Sequence[Utterance], modalities: Iterable[str], wanted: Callable[[int, str], bool]
) -> list[Task]:
    """Return the tasks that make every wanted cell with a source: texts first, then the files in manifest order."""
    modalities = tuple(modalities)
    texts: list[tuple[int, str]] = []
    files: dict[Path, dict[Segment, dict[str, list[int]]]] = {}
    for row, utterance in enumerate(utterances):
        for modality in modalities:
            if natural_verdict(utterance, modality) is not None or not wanted(row, modality):
                continue
            if modality == "text":
                texts.append((row, utterance.text or ""))
                continue
            path = media_path(utterance, modality)
            if path is not None:
                segment = Segment(utterance.start_s or 0.0, utterance.end_s, utterance.channel)
                rows = files.setdefault(path, {}).setdefault(segment, {"audio": [], "visual": []})
                rows[modality].append(row)
    tasks: list[Task] = list(_text_tasks(texts))
    for path, by_segment in files.items():
        for group in _grouped(list(by_segment)):
            tasks.append(
                MediaTask(
                    path,
                    tuple(group),
                    tuple(tuple(by_segment[segment]["audio"]) for segment in group),
                    tuple(tuple(by_segment[segment]["visual"]) for segment in group),
                )
            )
    return tasks


def _text_tasks(texts: Sequence[tuple[int, str]]) -> Iterator[TextTask]:
    """Yield tasks of texts of about one length, long ones first: a model takes those of equally many tokens together."""
    for start in range(0, len(texts), TEXTS_PER_WINDOW):
        window = sorted(texts[start : start + TEXTS_PER_WINDOW], key=lambda row_text: (-len(row_text[1]), row_text[1]))
        part: list[tuple[int, str]] = []
        n_characters = 0
        for row, text in window:
            if part and (len(part) == TEXTS_PER_TASK or n_characters + len(text) > CHARACTERS_PER_TASK):
                yield _text_task(part)
                part, n_characters = [], 0
            part.append((row, text))
            n_characters += len(text)
        yield _text_task(part)


def _text_task(part: Sequence[tuple[int, str]]) -> TextTask:
    return TextTask(tuple(row for row, _ in part), tuple(text for _, text in part))


def _grouped(segments: list[Segment]) -> list[list[Segment]]:
    """Cut a file's segments into groups that are read in one go: same anchor, and few at a time."""
    groups: list[list[Segment]] = []
    open_groups: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda s: (s.start_s, s.end_s is None, s.end_s or 0.0)):
        open_groups = [
            group for group in open_groups if group[0].anchor == segment.anchor and len(group) < MAX_SEGMENTS
        ]
        for group in open_groups:
            running = [s for s in group if s.end_s is None or s.end_s > segment.start_s]
            if len(running) < MAX_OVERLAP and all(s.end_s is not None for s in [*running, segment]):
                group.append(segment)
                break
        else:
            groups.append([segment])
            open_groups.append(groups[-1])
    return groups


def parse_shard(text: str) -> tuple[int, int]:
    """Read `I/N`; counting from 0 or from 1 both cover everything, since I is taken modulo N.

    Raises
    ------
    UsageError
        It is not two numbers with 0 ≤ I ≤ N.
    """
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or int(count) < 1 or int(index) > int(count):
        raise UsageError(f"--shard takes I/N, such as 2/4, with I from 1 to N (0 means N); found {text!r}.")
    return int(index) % int(count), int(count)


def in_shard(utterance: Utterance, root: Path, shard: tuple[int, int]) -> bool:
    """Say whether an utterance belongs to a shard. Utterances of one clip stay together; no order matters."""
    path = utterance.visual or utterance.audio
    key = Path(path).relative_to(root).as_posix() if path and path.is_relative_to(root) else str(path or "")
    digest = blake2b((key or utterance.utterance_id).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shard[1] == shard[0]
