"""A mask table: which modalities of which utterances are observed, with how it was drawn. Kept as an HDF5 file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imer.core.errors import InvalidInput, listed
from imer.core.files import sha256_json
from imer.masks.sampling import Mask, missing_rate
from imer.store import profile


@dataclass(frozen=True)
class MaskTable:
    """Made once, kept as a file, reused by every method.

    `observed_NM` is true where the modality is present and not hidden; row i belongs to `utterance_ids[i]`, column j
    to `modalities[j]`. `nominal_rate` is what was asked for (None where the protocol has no single rate).
    """

    protocol: str
    nominal_rate: float | None
    seed: int
    split: str
    modalities: tuple[str, ...]
    utterance_ids: tuple[str, ...]
    observed_NM: Mask
    detail: str = ""  # the pattern, or the rate per modality, as asked for

    @property
    def realised_rate(self) -> float:
        """1 − observed cells / (N·M)."""
        return missing_rate(self.observed_NM)

    @property
    def fingerprint(self) -> str:
        """Tells this mask from any other: 12 digits of a digest of what it hides from whom."""
        cells = np.packbits(self.observed_NM).tobytes().hex()
        return sha256_json([list(self.modalities), list(self.utterance_ids), cells])[:12]

    def write(self, path: Path, *, overwrite: bool = False) -> str:
        """Write the table; the same table gives the same bytes. Return its content digest."""
        attributes: dict[str, str | int | float] = {
            "protocol": self.protocol,
            "nominal_rate": np.nan if self.nominal_rate is None else float(self.nominal_rate),
            "realised_rate": self.realised_rate,
            "seed": self.seed,
            "split": self.split,
            "detail": self.detail,
        }
        datasets = {
            "modalities": profile.encode_strings(self.modalities),
            "utterance_id": profile.encode_strings(self.utterance_ids),
            "observed": self.observed_NM.astype(np.uint8),
        }
        return profile.write_small(path, profile.MASK, datasets, attributes, overwrite=overwrite)

    @classmethod
    def read(cls, path: Path) -> MaskTable:
        """Read and verify a mask file.

        Raises
        ------
        InvalidInput
            The file is missing, damaged, or not a mask.
        """
        datasets, attributes = profile.read_small(path, profile.MASK)
        try:
            rate = float(attributes["nominal_rate"])
            return cls(
                protocol=str(attributes["protocol"]),
                nominal_rate=None if np.isnan(rate) else rate,
                seed=int(attributes["seed"]),
                split=str(attributes["split"]),
                modalities=tuple(profile.decode_strings(datasets["modalities"])),
                utterance_ids=tuple(profile.decode_strings(datasets["utterance_id"])),
                observed_NM=datasets["observed"].astype(bool),
                detail=str(attributes["detail"]),
            )
        except KeyError as error:
            raise InvalidInput(f"{path} is a mask file without {error}; make it again with `imer mask`.") from error

    def rows_for(self, utterance_ids: Sequence[str] | np.ndarray, modalities: tuple[str, ...]) -> Mask:
        """Return `observed_NM` for these utterances and modalities, in their order.

        Raises
        ------
        InvalidInput
            The table has no row for an utterance, or no column for a modality.
        """
        missing = [m for m in modalities if m not in self.modalities]
        if missing:
            raise InvalidInput(f"The mask has no column for {listed(missing)}; it covers {listed(self.modalities)}.")
        row_of = {name: row for row, name in enumerate(self.utterance_ids)}
        unknown = [name for name in utterance_ids if name not in row_of]
        if unknown:
            raise InvalidInput(
                f"The mask has no row for {len(unknown)} of {len(utterance_ids)} utterances ({listed(unknown, 3)}); "
                "make it from the same features and split."
            )
        rows = np.array([row_of[name] for name in utterance_ids], dtype=int)
        columns = np.array([self.modalities.index(m) for m in modalities], dtype=int)
        return self.observed_NM[np.ix_(rows, columns)]
