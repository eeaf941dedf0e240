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
    """What a run was begun with.

    content_sha256, features   of the feature store, and its full path ("" in older runs)
    folds                      their names
    mask_sha256, mask          of the mask file that it is trained under, and its full path ("" without one)
    device                     its kind, cpu or cuda ("" in older runs)
    """

    content_sha256: str
    folds: tuple[str, ...]
    features: str
    mask_sha256: str = ""
    mask: str = ""
    device: str = ""

    def write(self, run: Path) -> None:
        """Write it into a run folder."""
        record = {
            "format": "imer-run/1",
            "imer_version": __version__,
            "content_sha256": self.content_sha256,
            "folds": list(self.folds),
            "features": self.features,
            "mask_sha256": self.mask_sha256,
            "mask": self.mask,
            "device": self.device,
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
            folds, digest = tuple(record["folds"]), record["content_sha256"]
            others = [record.get(key, "") for key in ("features", "mask_sha256", "mask", "device")]
        except (AttributeError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"{run / ORIGIN_FILE} does not say what the run was begun with; restore it, or train anew with --overwrite."
            ) from error
        if not all(isinstance(text, str) for text in (digest, *others, *folds)):
            raise InvalidInput(
                f"{run / ORIGIN_FILE} holds other than texts; restore it, or train anew with --overwrite."
            )
        return cls(digest, folds, *others)
