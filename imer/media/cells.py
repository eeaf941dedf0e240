"""One row of a manifest: the utterance that it describes, or why it cannot be used."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from decimal import Decimal
from pathlib import Path

from imer.core.files import encodable
from imer.core.types import SPLITS, Utterance

COLUMNS = (
    "utterance_id", "media", "audio", "visual", "audio_channel", "start", "end", "text", "dialogue_id", "position",
    "speaker", "session", "split",
)  # fmt: skip
MAX_ID_BYTES = 512
MAX_CHANNELS = 1024
MAX_POSITION = 2**53  # the whole numbers that are exact
# How R, pandas, databases and spreadsheets spell an empty cell. It means what an empty cell means, but in `utterance_id`.
NOT_AVAILABLE = frozenset({"NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"})
_CLOCK = re.compile(
    r"(?:(?P<hours>[0-9]{1,4}):)?(?P<minutes>[0-5]?[0-9]):(?P<seconds>[0-5][0-9])(?:[.,](?P<fraction>[0-9]{1,9}))?"
)
_CHANNEL_WORDS = {"left": "1", "right": "2"}
_SPLIT_WORDS = {"valid": "val", "validation": "val", "dev": "val", "training": "train", "testing": "test"}


class BadRow(Exception):
    """A row that cannot be used; its message becomes a RowProblem."""


def utterance_of(cells: dict[str, str], line: int, row: int, places: Places) -> tuple[Utterance, int | None]:
    """Check one row; return its utterance, and what it says of its place in its dialogue, which `with_positions` decides.

    The values of its own columns are stripped; a text is kept as written. Raises BadRow.
    """
    stripped = {column: value.strip() for column, value in cells.items()}
    stripped |= {column: "" for column, value in stripped.items() if _is_empty(column, value)}

    def cell(column: str) -> str:
        return stripped.get(column, "")

    name = cell("utterance_id")
    if not name:
        raise BadRow("utterance_id is empty")
    whole = "\n".join(cells.values())
    if "\x00" in whole or not encodable(whole):
        raise BadRow(f"{name!a}: a cell holds a NUL character or half of a surrogate pair")
    for column in ("utterance_id", "dialogue_id", "speaker", "session"):
        if len(cell(column).encode(errors="replace")) > MAX_ID_BYTES:
            raise BadRow(f"{name[:40]}…: {column} is longer than {MAX_ID_BYTES} bytes")
    start_s, end_s = seconds_of(cell("start"), "start", name), seconds_of(cell("end"), "end", name)
    if end_s is not None and end_s <= (start_s or 0.0):
        raise BadRow(f"{name}: end {end_s:g} s is not after start {start_s or 0.0:g} s")
    media = places.path(cell("media"), "media", name)
    split = _SPLIT_WORDS.get(cell("split").lower(), cell("split").lower())
    if split and split not in SPLITS:
        raise BadRow(f"{name}: split {cell('split')!r} is not one of {', '.join(SPLITS)}")
    labels = {column: value for column, value in stripped.items() if column and column not in COLUMNS}
    sentiment = labels.get("sentiment", "")
    if sentiment and _number(sentiment) is None:
        raise BadRow(f"{name}: sentiment {sentiment!r} is not a number{_with_a_point(sentiment)}")
    number = _position(cell("position"), name)
    utterance = Utterance(
        utterance_id=name,
        dialogue_id=cell("dialogue_id") or name,
        position=0,
        line=line,
        row=row,
        speaker=cell("speaker"),
        session=cell("session"),
        split=split,
        audio=places.path(cell("audio"), "audio", name) or media,
        visual=places.path(cell("visual"), "visual", name) or media,
        start_s=start_s,
        end_s=end_s,
        channel=_channel(cell("audio_channel"), name),
        text=cells["text"] if cell("text") else ("" if "text" in cells else None),
        labels=labels,
    )
    return utterance, number


def _is_empty(column: str, value: str) -> bool:
    """Say whether a cell stands for an empty one. A time that is not a number is a mistake of whoever computed it."""
    if column == "utterance_id" or (column in ("start", "end") and value.lower() == "nan"):
        return False
    return value in NOT_AVAILABLE


def _number(text: str) -> float | None:
    """Return the number, or None where the text is none (`1_000` neither, which Python would read), or not finite."""
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _clock_s(text: str) -> float | None:
    """Return the seconds of a time as ELAN, subtitles and spreadsheets write it, or None where it is none.

    Minutes and seconds have either hours before them or a fraction behind them: `1:02` may be hours and minutes.
    """
    match = _CLOCK.fullmatch(text)
    if match is None or not (match["hours"] or match["fraction"]):
        return None
    seconds = Decimal(f"{match['seconds']}.{match['fraction'] or 0}")  # exact, so that the same time is the same number
    return float(3600 * int(match["hours"] or 0) + 60 * int(match["minutes"]) + seconds)


def _with_a_point(text: str) -> str:
    """Say how to write a number whose decimal sign is a comma, as spreadsheets write it in many countries."""
    return "; write it with a decimal point" if _number(text.replace(",", ".", 1)) is not None else ""


def seconds_of(text: str, column: str, name: str) -> float | None:
    """Return the time that a cell says, in seconds, or None for an empty one. Raises BadRow."""
    if not text:
        return None
    value = _clock_s(text) if ":" in text else _number(text)
    if value is None or value < 0:
        usual = "; write hours, minutes and seconds as 0:01:02.5" if ":" in text else _with_a_point(text)
        raise BadRow(f"{name}: {column} {text!r} is not a time in seconds{usual}")
    return float(value)


def _channel(text: str, name: str) -> int | None:
    if not text:
        return None
    number = _number(_CHANNEL_WORDS.get(text.lower(), text))
    if number is None or not number.is_integer() or not 1 <= number <= MAX_CHANNELS:
        raise BadRow(f"{name}: audio_channel {text!r} is not left, right or a number from 1")
    return int(number)


def _position(text: str, name: str) -> int | None:
    if not text:
        return None
    value = _number(text)
    if value is None or value != int(value) or abs(value) > MAX_POSITION:
        raise BadRow(f"{name}: position {text!r} is not a whole number")
    return int(value)


class Places:
    """Paths of the manifest, which may name local files below its folder only; each is followed once. Raises BadRow."""

    def __init__(self, root: Path, allow_outside: bool) -> None:
        self._root, self._allow_outside = root, allow_outside
        self._known: dict[str, Path] = {}

    def path(self, text: str, column: str, name: str) -> Path | None:
        """Return the path that a cell names, or None for an empty one."""
        if not text:
            return None
        if text not in self._known:
            self._known[text] = self._checked(text, column, name)
        return self._known[text]

    def _found(self, text: str) -> Path:
        """Return where a path leads, also as Windows (backslashes) and macOS (accents as characters of their own) write it."""
        path, plain = self._root / text, text.replace("\\", "/")
        others = {unicodedata.normalize(form, plain) for form in ("NFC", "NFD")} - {text}
        if not others or os.path.lexists(path):
            return path
        return next((other for other in map(self._root.joinpath, sorted(others)) if os.path.exists(other)), path)

    def _checked(self, text: str, column: str, name: str) -> Path:
        if "://" in text or text.startswith(("concat:", "subfile:", "data:", "file:", "pipe:", "crypto:")):
            raise BadRow(f"{name}: {column} {text!r} is a URL or protocol; only local files are read")
        path = self._found(text)
        try:
            inside = self._allow_outside or path.resolve().is_relative_to(self._root)
        except (OSError, RuntimeError) as error:  # Python tells of a circle of links by a RuntimeError
            raise BadRow(f"{name}: {column} {text!r} cannot be followed ({error})") from None
        if not inside:
            raise BadRow(
                f"{name}: {column} {text!r} lies outside the manifest's folder (allow it with --allow-outside)"
            )
        return path
