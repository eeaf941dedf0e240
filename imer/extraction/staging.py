"""Finished work on its way to the store: small shards that exist completely or not at all.

`FEATURES.h5.staging/` holds shards `s-<sha256>.npz` of up to 64 items or 30 s of work, each written, synced
and renamed, and `journal.jsonl`, one line a shard. A shard is named by its own content, so the journal is only a hint:
what resuming believes is what is on the disk and has the digest that it is named by. Whatever does not, is made again.
"""

from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from imer.core.errors import InvalidInput, counted
from imer.core.files import fault_point, make_folder, write_bytes
from imer.core.json_lines import append_line, read_json_lines
from imer.core.types import FAILURES, Verdict
from imer.extractors.base import Extracted

SHARD_CELLS = 64  # finished items (one modality of one utterance) at most
SHARD_SECONDS = 30.0
SHARD_BYTES = 64 << 20
_FORMAT = "imer-shard/1"
_CACHE_BYTES = 128 << 20  # of shards' values kept while packing: work is finished nearly in manifest order
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class StagedCell:
    """A finished cell: where its values are, and what became of it. `key` says what it was made from."""

    utterance_id: str
    modality: str
    key: str
    verdict: Verdict
    code: str
    message: str
    file: str
    elapsed_s: float
    n_rows: int
    first_row: int = 0
    shard: str = ""

    @property
    def failed(self) -> bool:
        return self.verdict in FAILURES


def staging_folder(output: Path) -> Path:
    """Return where the work on an output is kept until it is published."""
    return output.with_name(output.name + ".staging")


class Staging:
    """The staging folder of one output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells: dict[tuple[str, str], StagedCell] = {}
        self._pending: list[tuple[StagedCell, np.ndarray | None]] = []
        self._pending_bytes = 0
        self._since = time.monotonic()
        self._cache: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()  # (shard, modality) → its values
        self._cached_bytes = 0

    def start(self, *, resume: bool, notice: Callable[[str], None]) -> int:
        """Make the folder, or take over what is in it and throw away the rest; return the number of cells found."""
        if not resume and self.folder.exists():
            shutil.rmtree(self.folder)
        fault_point("mkdir")
        make_folder(self.folder)
        for part in self.folder.glob(".*.part"):
            part.unlink()
        for useless in self.look(notice):
            useless.unlink()
        return len(self.cells)

    def look(self, notice: Callable[[str], None]) -> list[Path]:
        """Find the cells that are there, and return the files that are of no use. Nothing is changed.

        Where one cell is there twice (a failure that was tried again), the one that worked counts.
        """
        promised, useless = self._journalled(notice)
        for path in sorted(self.folder.glob("s-*.npz")):
            promised.discard(path.name)
            try:
                found = self._read_cells(path)
            except InvalidInput as error:
                notice(f"{error} It is made again.")
                useless.append(path)
                continue
            for cell in found:
                before = self.cells.get((cell.utterance_id, cell.modality))
                if before is None or before.failed:
                    self.cells[cell.utterance_id, cell.modality] = cell
        if promised:
            notice(
                f"{counted(len(promised), 'shard', 'shards')} that {JOURNAL} names cannot be found: that work is done again."
            )
        return useless

    def _journalled(self, notice: Callable[[str], None]) -> tuple[set[str], list[Path]]:
        """Return the shards that the journal names, and the journal itself where it is damaged."""
        path = self.folder / JOURNAL
        if not path.exists():
            return set(), []
        try:
            lines = read_json_lines(path)
        except InvalidInput as error:
            notice(f"{error} It is only a hint and is started anew.")
            return set(), [path]
        good = [line for line in lines if isinstance(line, dict) and line.pop("crc", None) == _crc(line)]
        return {str(line["shard"]) for line in good}, []

    def _read_cells(self, path: Path) -> list[StagedCell]:
        content = path.read_bytes()
        if path.name != f"s-{sha256(content).hexdigest()[:32]}.npz":
            raise InvalidInput(f"{path} is damaged: its content is not what it is named by.")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                header = json.loads(arrays["header"].tobytes())
            if header["format"] != _FORMAT:
                raise ValueError(header["format"])
            return [
                StagedCell(**{**cell, "verdict": Verdict[cell["verdict"]], "shard": path.name})
                for cell in header["cells"]
            ]
        except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InvalidInput(f"{path} is not a shard of this version ({error}).") from error

    def add(self, utterance_id: str, modality: str, key: str, result: Extracted, file: str, elapsed_s: float) -> None:
        """Take a finished cell; it is on disk after the next `flush`."""
        values = result.values_TD if result.verdict is Verdict.ok else None
        cell = StagedCell(
            utterance_id, modality, key, result.verdict, result.code, result.message, file, round(elapsed_s, 3),
            0 if values is None else len(values),
        )  # fmt: skip
        self._pending.append((cell, values))
        self._pending_bytes += 0 if values is None else values.nbytes
        full = len(self._pending) >= SHARD_CELLS or self._pending_bytes >= SHARD_BYTES
        if full or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Publish a shard of what is pending, and say so in the journal."""
        self._since = time.monotonic()
        if not self._pending:
            return
        cells, arrays = _laid_out(self._pending)
        header = {"format": _FORMAT, "cells": [_as_json(cell) for cell in cells]}
        arrays["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        content = buffer.getvalue()
        digest = sha256(content).hexdigest()
        name = f"s-{digest[:32]}.npz"
        write_bytes(self.folder / name, content)
        line = {"shard": name, "bytes": len(content), "sha256": digest, "cells": len(cells), "verdicts": _tally(cells)}
        append_line(self.folder / JOURNAL, json.dumps({**line, "crc": _crc(line)}, sort_keys=True))
        for cell in cells:
            self.cells[cell.utterance_id, cell.modality] = replace(cell, shard=name)
        self._pending, self._pending_bytes = [], 0

    def values(self, cell: StagedCell) -> np.ndarray:
        """Return a finished cell's values float32 [T, D].

        Raises
        ------
        InvalidInput
            Its shard was damaged or removed after it had been checked.
        """
        values = self._cache.get((cell.shard, cell.modality))
        if values is None:
            values = self._read_values(cell.shard, cell.modality)
            self._cached_bytes += values.nbytes
        self._cache[cell.shard, cell.modality] = values
        self._cache.move_to_end((cell.shard, cell.modality))
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return values[cell.first_row : cell.first_row + cell.n_rows]

    def _read_values(self, shard: str, modality: str) -> np.ndarray:
        path = self.folder / shard
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return np.asarray(arrays[modality])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise InvalidInput(f"{path} cannot be read any more ({error}); run the same command again.") from error

    def remove_empty(self) -> None:
        """Delete the folder where nothing is in it: the work was refused before it began."""
        with suppress(OSError):
            self.folder.rmdir()

    def remove(self) -> None:
        """Delete the folder: the store is published and verified."""
        self._cache.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def _laid_out(
    pending: Iterable[tuple[StagedCell, np.ndarray | None]],
) -> tuple[list[StagedCell], dict[str, np.ndarray]]:
    """Join the values of each modality, and note where each cell's begin."""
    cells: list[StagedCell] = []
    parts: dict[str, list[np.ndarray]] = {}
    n_rows: dict[str, int] = {}
    for cell, values in pending:
        first = n_rows.get(cell.modality, 0)
        cells.append(replace(cell, first_row=first))
        if values is not None:
            parts.setdefault(cell.modality, []).append(values)
            n_rows[cell.modality] = first + len(values)
    return cells, {modality: np.concatenate(values) for modality, values in parts.items()}


def _as_json(cell: StagedCell) -> dict[str, Any]:
    fields = {**cell.__dict__, "verdict": cell.verdict.name}
    del fields["shard"]
    return fields


def _tally(cells: Iterable[StagedCell]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in cells:
        name = f"{cell.modality}:{cell.verdict.name}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _crc(line: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(line, sort_keys=True).encode())
