"""The rows of a manifest, or of a table like one, CSV, TSV or JSONL: the line and the cells of each, by column."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from imer.core.errors import InvalidInput, listed
from imer.media.encoding import decoded
from imer.media.tables import Row, table_rows

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (*DELIMITERS, *JSON_LINES)


def read_rows(
    path: Path, keys: Sequence[str] = ("utterance_id",), what: str = "manifest"
) -> tuple[list[str], Iterator[Row]]:
    """Return the column names and an iterator over the rows; it has one of the columns `keys`; `what` is what messages call it.

    Raises
    ------
    InvalidInput
        The file is missing, unreadable or empty, is neither UTF-8 nor UTF-16 text, or has another suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        found = "a folder" if path.is_dir() else suffix or "no suffix"
        rename = " (one whose columns are set apart by tabs is a .tsv: rename it)" if suffix == ".txt" else ""
        lists = "; `imer data manifest CLIPS -o manifest.csv` lists clips in one" if what == "manifest" else ""
        raise InvalidInput(
            f"{path} is not a {what}: expected a .csv, .tsv or .jsonl file, found {found}{rename}{lists}."
        )
    if not path.is_file():
        raise InvalidInput(f"The {what} {path} does not exist or is not a file.")
    try:
        content = path.read_bytes()
        text = decoded(content)
    except OSError as error:
        raise InvalidInput(f"The {what} {path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidInput(
            f"{path} is not UTF-8 text (line {line}); save it as UTF-8 (in Excel: CSV UTF-8)."
        ) from error
    if not text.strip():
        raise InvalidInput(f"The {what} {path} is empty.")
    return _json_rows(text) if suffix in JSON_LINES else table_rows(text, DELIMITERS[suffix], path, *keys)


def known_names(columns: Sequence[str], ours: Collection[str]) -> dict[str, str]:
    """Return the columns that are ours but for capitals, blanks and hyphens, where only one is meant.

    >>> known_names(["File Name", "Emotion", "emotion"], ["file_name", "emotion"])
    {'File Name': 'file_name'}
    """
    plain = {column: re.sub(r"[\s-]+", "_", column.strip().lower()) for column in columns if column not in ours}
    mine = {column: name for column, name in plain.items() if name in ours}
    spelt = list(mine.values())
    return {column: name for column, name in mine.items() if name not in columns and spelt.count(name) == 1}


def _json_rows(text: str) -> tuple[list[str], Iterator[Row]]:
    parsed: list[Row] = []
    columns: dict[str, None] = {}
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content, object_pairs_hook=_without_repeats)
            if not isinstance(record, dict):
                raise ValueError("not an object")
            cells = {str(key): _as_cell(value) for key, value in record.items()}
        except (ValueError, RecursionError) as error:
            parsed.append((line, f"not a JSON object ({error})"))
            continue
        columns.update(dict.fromkeys(cells))
        parsed.append((line, cells))
    return list(columns), iter(parsed)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{listed(sorted({name for name in names if names.count(name) > 1}))} is named more than once")
    return record


def _as_cell(value: Any) -> str:
    if value is None or value != value:  # null, or NaN, which is how pandas writes an empty cell
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
