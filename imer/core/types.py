"""The central types. Three booleans are never mixed up:

- **present**: the clip really has this modality and extraction worked;
- **observed**: present and not hidden by a mask;
- **valid**: a real utterance, not padding.

Suffix letters of array names: N utterances, M modalities, D feature width, B dialogues in a batch, U padded
utterances per dialogue, T frames, H hidden width, C outputs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from imer.core.files import sha256_json

MODALITIES = ("audio", "text", "visual")  # the fixed order a, t, v; other names follow alphabetically
SPLITS = ("train", "val", "test")


def ordered_modalities(names: Any) -> tuple[str, ...]:
    """Sort modality names: audio, text, visual first, any other after them by name.

    >>> ordered_modalities(["visual", "gaze", "audio"])
    ('audio', 'visual', 'gaze')
    """
    return tuple(sorted(names, key=lambda m: (MODALITIES.index(m) if m in MODALITIES else len(MODALITIES), m)))


class Verdict(IntEnum):
    """What became of one modality of one utterance; stored in `/quality/<modality>` as uint8."""

    ok = 0
    no_stream = 1  # the utterance has no such medium: no path, no stream, no text column
    decode_error = 2
    too_short = 3
    silent = 4
    no_face = 5
    empty_text = 6
    non_finite = 7


# Verdicts that belong in errors.jsonl. All others but ok are data: the modality is naturally absent.
FAILURES = frozenset({Verdict.decode_error, Verdict.non_finite})


@dataclass(frozen=True)
class Utterance:
    """One labelled segment of one speaker: one row of the manifest. Times are in seconds."""

    utterance_id: str
    dialogue_id: str
    position: int
    line: int  # of the manifest file, for messages
    row: int = -1  # 0-based data row of the manifest, counting broken ones too
    speaker: str = ""
    session: str = ""
    split: str = ""
    audio: Path | None = None
    visual: Path | None = None
    start_s: float | None = None
    end_s: float | None = None
    channel: int | None = None  # of the sound, from 1; None: the mean of all
    text: str | None = None
    labels: dict[str, str] = field(default_factory=dict)  # every other column, stripped; "" for an empty cell


ARRAYS = "array/"  # how the extractor of features that were imported as arrays begins


FLAGS = {"frames_per_s": "frames_per_s (--fps)"}  # settings of extractors whose option has another name


@dataclass(frozen=True)
class FeatureSpec:
    """Where a feature array came from: enough to make it again.

    `config` holds everything that changes the numbers; worker counts and verbosity are not in it, so that
    `fingerprint` is equal exactly when the numbers are.
    """

    modality: str
    extractor: str
    version: str
    level: str  # "utterance" or "frame"
    dim: int
    hop_s: float | None = None
    config: dict[str, Any] = field(default_factory=dict)
    dim_names: tuple[str, ...] = ()
    licence: str = ""

    @property
    def is_array(self) -> bool:
        """Whether it was imported: nobody knows how it was made, only widths and the names of columns can be compared."""
        return self.extractor.startswith(ARRAYS)

    @property
    def fingerprint(self) -> str:
        """sha256 over what changes the numbers."""
        parts = asdict(self)
        del parts["dim_names"], parts["licence"]
        return sha256_json(parts)

    def differences(self, found: FeatureSpec, *, accept_versions: bool = False) -> list[str]:
        """Say in what another feature set differs that changes the numbers; empty: the same numbers for the same clip."""
        if self.is_array and found.is_array:
            if self.dim != found.dim:
                return [f"width {found.dim} instead of {self.dim}"]
            return _other_column(self.dim_names, found.dim_names)
        said = []
        for field_name in ("extractor", "version", "level", "dim", "hop_s"):
            if field_name == "version" and accept_versions:
                continue
            a, b = getattr(self, field_name), getattr(found, field_name)
            if a != b:
                said.append(f"{field_name} {b!r} instead of {a!r}")
        for key in sorted({*self.config, *found.config}):
            a, b = self.config.get(key), found.config.get(key)
            if a != b:
                said.append(f"{FLAGS.get(key, key)} {b!r} instead of {a!r}")
        return said

    def kept(self) -> dict[str, Any]:
        """Return what a model keeps of it. The names of its columns follow from an extractor; those of an array do not."""
        spec = self if self.is_array else replace(self, dim_names=())
        return dict(json.loads(spec.to_json()))

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "fingerprint": self.fingerprint}, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpec:
        values = json.loads(text)
        values.pop("fingerprint", None)
        values["dim_names"] = tuple(values.get("dim_names", ()))
        return cls(**values)


def _other_column(wanted: tuple[str, ...], found: tuple[str, ...]) -> list[str]:
    """Say which column is the first to have another name; nothing where one side has no names, or all are the same."""
    for i, (here, there) in enumerate(zip(wanted, found, strict=False), start=1):
        if here != there:
            return [f"column {i} is {there!r} instead of {here!r}"]
    return []
