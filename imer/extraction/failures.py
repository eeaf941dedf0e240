"""`errors.jsonl`: one line for every item that failed, beside the output. Natural absences are not in it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput, UsageError
from imer.core.files import write_text
from imer.core.json_lines import as_json_lines, read_json_lines
from imer.core.locks import waiting_lock
from imer.extraction.staging import StagedCell
from imer.media.finding import ClipProblem
from imer.media.manifest import RowProblem

FILE_NAME = "errors.jsonl"

# code → (what it means and what to do, whether the same command may succeed another time)
CODES = {
    "E-ROW": ("the manifest's row cannot be used; correct it as the message says", False),
    "E-NOFILE": ("the file does not exist, or is no regular file; correct the path, or mount its disk", True),
    "E-OPEN": (
        "the file is not a media file that can be read; convert it to WAV, FLAC or MP4, or empty the cell",
        False,
    ),
    "E-TRUNCATED": ("the file is cut short; copy it again from where it came", False),
    "E-DAMAGED": ("too much of the stream cannot be decoded; copy or convert it again", False),
    "E-CHANNEL": ("the sound has fewer channels than the row's audio_channel says; correct the row", False),
    "E-TOOLARGE": ("the frames are too large to be real; convert the video to at most 8K", False),
    "E-TIMEOUT": ("reading took longer than 60 s + 5 × the file's duration; try again with fewer workers", True),
    "E-CRASH": ("the worker process died while reading it, twice; try again, or convert the file", True),
    "E-MEMORY": ("it needs more memory than one clip may have; cut it, or give start and end", True),
    "E-EXTRACT": ("the extractor cannot digest it, mostly because it is too short; see the message", False),
    "E-TEXT": ("the transcript beside a clip cannot be read as UTF-8 text; convert it", False),
    "E-NONFINITE": ("the audio or the features hold NaN or infinite values; convert the audio to 16 bits", False),
}
# verdict → what became of a modality of an utterance. Most are data: the modality is naturally absent.
VERDICTS = {
    "ok": "its features are in the store",
    "no_stream": "the utterance has no such medium: no file, no such stream in it, no text column; it counts as missing",
    "decode_error": "it failed: errors.jsonl says why, with a code (`imer doctor CODE`); trying again may help",
    "too_short": "less than 60 ms of sound, or no picture, lie in the segment; it counts as missing",
    "silent": "the sound is silent (below -80 dB of full scale); it counts as missing",
    "no_face": "no face was found in any picture; it counts as missing",
    "empty_text": "the transcript is empty; it counts as missing",
    "non_finite": "the sound or the features hold NaN or infinite values: see E-NONFINITE; it counts as missing",
}
_STAGES = {"E-ROW": "manifest", "E-EXTRACT": "extract", "E-NONFINITE": "extract"}


def error_lines(
    output: Path, cells: Iterable[StagedCell], problems: Sequence[RowProblem], manifest: Path
) -> list[dict[str, Any]]:
    """Return the records of one output's failures, manifest rows first."""
    rows = [
        _record(output, problem.utterance_id, None, "E-ROW", f"{problem}.", str(manifest), 0.0) for problem in problems
    ]
    failed = [
        _record(output, c.utterance_id, c.modality, c.code or "E-EXTRACT", c.message, c.file, c.elapsed_s)
        for c in cells
        if c.failed
    ]
    return rows + failed


def clip_lines(output: Path, problems: Iterable[ClipProblem], *, text: bool) -> list[dict[str, Any]]:
    """Return the records of clips that cannot be used and, where their `text` is wanted, of such transcripts beside them."""
    return [
        _record(
            output, one.name, "text" if one.code == "E-TEXT" else None, one.code, f"{one.message}.", str(one.path), 0.0
        )
        for one in problems
        if text or one.code != "E-TEXT"
    ]


def _record(
    output: Path, utterance_id: str, modality: str | None, code: str, message: str, file: str, elapsed_s: float
) -> dict[str, Any]:
    return {
        "utterance_id": utterance_id,
        "modality": modality,
        "stage": _STAGES.get(code, "decode"),
        "code": code,
        "message": message,
        "file": file,
        "elapsed_s": elapsed_s,
        "retryable": CODES.get(code, ("", False))[1],
        "output": output.name,
    }


def write_errors(output: Path, lines: Sequence[dict[str, Any]], *, shard: bool = False) -> Path | None:
    """Publish the failures of an output; lines of other outputs in the folder stay. Return the file, if there is one.

    Shards are written side by side by processes that know nothing of each other: each has a list of its own.
    """
    path = output.with_name(f"{output.stem}.{FILE_NAME}") if shard else output.parent / FILE_NAME
    with waiting_lock(path):  # several outputs of a folder may end at the same time
        others: list[dict[str, Any]] = []
        ours = True
        if path.exists():
            try:
                others = [line for line in read_json_lines(path) if line.get("output") != output.name]
            except (InvalidInput, AttributeError):
                ours = False  # or damaged: a list of failures takes its place, and it is kept beside
                if lines:
                    os.replace(path, _free_name(path))
        kept = [*others, *lines]
        if kept:
            write_text(path, as_json_lines(kept))
        elif path.exists() and ours:
            path.unlink()
    return path if lines else None


def _free_name(path: Path) -> Path:
    """Return the first of `<path>.1`, `<path>.2` … that nothing has."""
    return next(other for n in count(1) if not (other := path.with_name(f"{path.name}.{n}")).exists())


def failure_limit(text: str | None, n_cells: int) -> int | None:
    """Read `--max-failures`: a number or a percentage of the cells; None means no limit.

    Raises
    ------
    UsageError
        It is neither.
    """
    if text is None:
        return None
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    is_share = text.endswith("%")
    if not math.isfinite(value) or value < 0 or (value > 100 if is_share else value != int(value)):
        raise UsageError(f"--max-failures takes a number such as 5, or a share such as 2%; found {text!r}.")
    return int(value * n_cells / 100) if is_share else int(value)
