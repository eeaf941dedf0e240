"""Make the demo corpus: clips, manifest, what was acted, and a few clips that no manifest names."""

from __future__ import annotations

import csv
import io
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imer.core.errors import OutputExists
from imer.core.files import is_free, write_text
from imer.core.folders import FOLDER_MANIFEST, published_folder
from imer.core.locks import output_lock
from imer.core.machine import usable_cores
from imer.core.types import MODALITIES
from imer.demo import DEFAULT_UTTERANCES
from imer.demo.clip import write_clip
from imer.demo.face import require_portrait
from imer.demo.prosody import colour, envelope, speech_of
from imer.demo.scene import FRAME_RATE, frames
from imer.demo.script import EMOTIONS, Line, unseen_lines, write_script
from imer.demo.speech import SAMPLE_RATE_HZ, require_synthesiser, speak_all

CLIP_FOLDER, UNSEEN_FOLDER = "clips", "unseen"
MANIFEST_COLUMNS = (
    "utterance_id", "media", "text", "dialogue_id", "position", "speaker", "session", "split", "emotion", "sentiment",
)  # fmt: skip
README = """This corpus is synthetic. `imer demo` made it; nobody in it felt anything.

The face is a public-domain NASA portrait (Eileen Collins, from scikit-image's test images) whose mouth, brows and eyes
are moved by warping; she had no part in this and endorses nothing. The voices are those of the espeak-ng synthesiser. The
sentences are ours. The corpus is there to try `imer` on, from the first command to the last, without downloading
anything: figures measured on it say nothing about how people feel or how well a method does on real recordings.

manifest.csv   one row an utterance: media, transcript, dialogue, speaker, split, emotion, sentiment (-3 to 3)
clips/         the clips the manifest names (H.264 and AAC in MP4, 320x240 at 25 frames per second)
cues.csv       what each modality was made to show; it often differs from the emotion, which is the point
unseen/        clips by a speaker of no split, each with its transcript, to try `imer predict` on

About one utterance in 25 has no transcript, as many have a muted track, and as many show an empty room.
Utterances: {n}. Emotions: {emotions}. Seed: {seed}.
"""


@dataclass(frozen=True)
class DemoCorpus:
    """What was made: where it is, its lines, and how long the clips are together, in seconds."""

    folder: Path
    lines: tuple[Line, ...]
    unseen: tuple[Line, ...]
    duration_s: float


def make_demo(
    folder: Path,
    *,
    n_utterances: int = DEFAULT_UTTERANCES,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> DemoCorpus:
    """Make the corpus in `folder`, complete or not at all; `progress` is told (clips done, clips in all).

    Raises
    ------
    MissingDependency
        The speech synthesiser is not installed.
    OutputExists
        `folder` exists and `overwrite` is false, or is none of this command's, or another process is making it.
    UsageError
        Too few utterances are asked for.
    """
    folder = Path(folder)
    if not is_free(folder) and not all((folder / name).is_file() for name in (FOLDER_MANIFEST, "cues.csv")):
        raise OutputExists(f"{folder} exists and was not made by `imer demo`; choose another name.")
    require_synthesiser()
    require_portrait()
    lines, unseen = write_script(n_utterances, seed), unseen_lines(seed)
    with output_lock(folder), published_folder(folder, overwrite=overwrite) as part:
        (part / CLIP_FOLDER).mkdir()
        (part / UNSEEN_FOLDER).mkdir()
        spoken = speak_all([speech_of(line, seed) for line in lines + unseen])
        tasks = [
            (line, samples, part / _media(line), seed) for line, samples in zip(lines + unseen, spoken, strict=True)
        ]
        duration_s = _make_clips(tasks, workers or usable_cores(), progress)
        for line in unseen:
            write_text(part / _media(line).with_suffix(".txt"), line.words + "\n")
        write_text(part / "manifest.csv", _table(MANIFEST_COLUMNS, [_manifest_row(line) for line in lines]))
        cue_rows = [[line.utterance_id, *(_shown(line, m) for m in MODALITIES)] for line in lines]
        write_text(part / "cues.csv", _table(("utterance_id", *MODALITIES), cue_rows))
        write_text(part / "README.txt", README.format(n=len(lines), emotions=", ".join(EMOTIONS), seed=seed))
    return DemoCorpus(folder, tuple(lines), tuple(unseen), duration_s)


def _make_clips(
    tasks: list[tuple[Line, NDArray[np.int16], Path, int]],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> float:
    """Make all clips over several processes; return their duration together, in seconds."""
    duration_s = 0.0
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(workers, len(tasks)), mp_context=fresh) as pool:
        futures = [pool.submit(make_clip, *task) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                duration_s += future.result()
                if progress is not None:
                    progress(done, len(tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return duration_s


def make_clip(line: Line, spoken: NDArray[np.int16], path: Path, seed: int) -> float:
    """Make one clip from its line and the synthesiser's samples; return its duration in seconds."""
    samples = colour(spoken, line, seed)
    mouth = envelope(samples, FRAME_RATE)
    if "audio" in line.absent:
        samples = np.zeros_like(samples)
    write_clip(path, frames(line, mouth, seed), samples, frame_rate=FRAME_RATE, sample_rate_hz=SAMPLE_RATE_HZ)
    return len(mouth) / FRAME_RATE


def _media(line: Line) -> Path:
    """Where a line's clip lies in the corpus."""
    return Path(UNSEEN_FOLDER if not line.split else CLIP_FOLDER) / f"{line.utterance_id}.mp4"


def _shown(line: Line, modality: str) -> str:
    return "absent" if modality in line.absent else line.cues[modality]


def _manifest_row(line: Line) -> list[object]:
    return [
        line.utterance_id, _media(line).as_posix(), line.transcript, line.dialogue_id, line.position,
        line.speaker, line.session, line.split, line.emotion, line.sentiment,
    ]  # fmt: skip


def _table(columns: tuple[str, ...], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
