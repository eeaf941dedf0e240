"""run.json: which data and which folds a run was begun with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imer._version import __version__
from imer.core.errors import InvalidInput
from imer.core.files import read_json, write_json

ORIGIN_FILE = "run.json"


@dataclass(frozen=True)
class Origin:
    """content_sha256: of the feature store; folds: their names; features: the store's full path ("" in older runs)."""

    content_sha256: str
    folds: tuple[str, ...]
    features: str

    def write(self, run: Path) -> None:
        """Write it into a run folder."""
        record = {
            "format": "imer-run/1",
            "imer_version": __version__,
            "content_sha256": self.content_sha256,
            "folds": list(self.folds),
            "features": self.features,
        }
        write_json(run / ORIGIN_FILE, record)

    @classmethod
    def read(cls, run: Path) -> Origin:
        """Read that of a run folder.

        Raises
        ------
        InvalidInput
            The file is missing, or something else than a training wrote it.
        """
        record = read_json(run / ORIGIN_FILE)
        try:
            digest, folds, features = record["content_sha256"], tuple(record["folds"]), record.get("features", "")
        except (AttributeError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"{run / ORIGIN_FILE} does not say what the run was begun with; restore it, or train anew with --overwrite."
            ) from error
        if not all(isinstance(text, str) for text in (digest, features, *folds)):
            raise InvalidInput(
                f"{run / ORIGIN_FILE} holds other than texts; restore it, or train anew with --overwrite."
            )
        return cls(digest, folds, features)
