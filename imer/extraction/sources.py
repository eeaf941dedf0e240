"""What each cell is made from: the extractor, the text or the file, the segment. The same source gives the same values.

Two digests say it. A `key` names files by their way from the manifest, size and time of change, and is asked for before
every run: it decides what of a staging folder is still good. A `digest` names them by their content and stands in the
store, so that another run, elsewhere and later, can take values over (`--add`).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from imer.core.files import followed, seen_from, sha256_file, sha256_json
from imer.core.types import FeatureSpec, Utterance
from imer.extraction.plan import media_path

_DIGITS = 32


class Sources:
    """The sources of one run's cells, of a manifest in the folder `home`; files are looked at once."""

    def __init__(self, utterances: Sequence[Utterance], specs: Mapping[str, FeatureSpec], home: Path) -> None:
        self._utterances, self._home = utterances, followed(home)
        self._prints = {modality: spec.fingerprint for modality, spec in specs.items()}
        self._identities: dict[Path, list[Any]] = {}
        self._contents: dict[Path, list[Any] | None] = {}
        self._keys: dict[tuple[int, str], str] = {}

    def key(self, row: int, modality: str) -> str:
        """Return a digest of all that a cell's values depend on, without opening its file."""
        if (row, modality) not in self._keys:
            utterance = self._utterances[row]
            path = media_path(utterance, modality)
            source: list[Any] = [utterance.text] if modality == "text" else []
            if path is not None:
                source = [*self._identity(path), *_part(utterance)]
            self._keys[row, modality] = sha256_json([self._prints[modality], *source])
        return self._keys[row, modality]

    def digest(self, row: int, modality: str) -> str:
        """Return a digest of a cell's source (not of its extractor).

        It is empty where there is none that can be read, or a file that is no longer what its `key` was made of.
        """
        utterance = self._utterances[row]
        if modality == "text":
            return sha256_json([utterance.text])[:_DIGITS] if utterance.text else ""
        path = media_path(utterance, modality)
        content = None if path is None else self._content(path)
        return "" if content is None else sha256_json([*content, *_part(utterance)])[:_DIGITS]

    def digests(self, modality: str) -> list[str]:
        """Return the digest of every utterance's cell of a modality."""
        return [self.digest(row, modality) for row in range(len(self._utterances))]

    def _identity(self, path: Path) -> list[Any]:
        if path not in self._identities:
            way = seen_from(self._home, path)
            try:
                status = path.stat()
                self._identities[path] = [way, status.st_size, status.st_mtime_ns]
            except (OSError, ValueError):
                self._identities[path] = [way, None, None]
        return self._identities[path]

    def _content(self, path: Path) -> list[Any] | None:
        """Return a file's size and a sha256 of what is in it; None for what is no regular file, or was replaced meanwhile."""
        if path not in self._contents:
            _, *before = self._identity(path)
            found: list[Any] | None = None
            with suppress(OSError, ValueError):
                status = path.stat()
                same = before == [status.st_size, status.st_mtime_ns]
                if same and stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
                    found = [status.st_size, sha256_file(path)]
            self._contents[path] = found
        return self._contents[path]


def _part(utterance: Utterance) -> list[Any]:
    """Say which part of its file an utterance is."""
    times = [utterance.start_s, utterance.end_s]
    return times if utterance.channel is None else [*times, utterance.channel]
