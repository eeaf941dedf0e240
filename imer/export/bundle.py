"""A bundle: one folder with all that `imer predict` needs, to be copied to wherever the model is used.

model.safetensors   the weights
config.json         which model, and every setting that shapes it
preprocess.json     what it reads: modalities in order, extractors, standardisation; what it answers; what masks mean
bundle.json         where it came from: run, fold, training data, selection, metrics
README.md           the model card
manifest.json       size and sha256 of every file: a bundle that was changed is refused
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from imer._version import __version__
from imer.batches.dialogues import LONGEST_READ
from imer.batches.scaling import Scaler
from imer.batches.speakers import PRIOR_UTTERANCES
from imer.core.errors import InvalidInput
from imer.core.files import read_json, sha256_json, write_json, write_text
from imer.core.folders import FOLDER_MANIFEST, verify_folder
from imer.core.settings import flat
from imer.core.types import FeatureSpec
from imer.evaluation.subject import Subject
from imer.models.ensemble import members_of
from imer.training.checkpoint import WEIGHTS, save_tensors
from imer.training.trained_fold import SHAPING, TrainedFold, rebuilt

BUNDLE_FORMAT = "imer-bundle/1"
CONFIG, PREPROCESS, RECORD, CARD = "config.json", "preprocess.json", "bundle.json", "README.md"

MASK_SEMANTICS = {
    "observed": "true where the utterance really has the modality and nobody hid it; a zero vector does not mean missing",
    "valid": "true for a real utterance, false for padding",
    "hidden": "what stands where `observed` or `valid` is false is never read; it may be anything, also NaN",
    "context": "the utterances of a dialogue go together, in order; a single utterance is a dialogue of length 1; one of "
    f"more than {LONGEST_READ} is cut into as few parts as that allows, of like length (part i of p ends at n * i // p), and "
    "each part is read by itself",
}
WITHIN_SPEAKER = (
    "a feature with within_speaker is, once standardised, taken relative to its speaker: minus the mean, over the spread of "
    "what is observed of the speaker's utterances that are answered together, as if there were "
    f"{PRIOR_UTTERANCES:g} more with mean 0 and variance 1; of an unknown speaker it stays as it is"
)


def write_bundle(
    folder: Path, fold: TrainedFold, settings: Mapping[str, Any], record: Mapping[str, Any], card: str
) -> None:
    """Fill a folder with the files of a bundle; the caller publishes it (which adds the manifest).

    `settings` are the sections of the run's checkpoint, `record` is what `bundle.json` says besides its format.
    """
    save_tensors(folder / WEIGHTS, fold.model.state_dict())
    write_json(
        folder / CONFIG,
        {
            "format": BUNDLE_FORMAT,
            "imer_version": __version__,
            "spec": asdict(fold.spec),
            "settings": {section: settings[section] for section in SHAPING},
            "members": len(members_of(fold.model)),
            "pad_to": fold.pad_to,
            "batch_dialogues": fold.batch_dialogues,
        },
    )
    write_json(folder / PREPROCESS, preprocessing(fold))
    write_json(folder / RECORD, {"format": BUNDLE_FORMAT, "imer_version": __version__, **record})
    write_text(folder / CARD, card)


def preprocessing(fold: TrainedFold) -> dict[str, Any]:
    """Return what must be known to feed the model and to read its answers."""
    return {
        "modalities": [
            {
                "name": name,
                "width": width,
                "feature": fold.feature_names[name],
                "spec": fold.specs[name].kept(),
                # float32 → double → text → double → float32 gives the same number back
                "mean": fold.scaler.centre[name].astype(float).tolist(),
                "sd": fold.scaler.spread[name].astype(float).tolist(),
                "within_speaker": name in fold.within_speaker,
            }
            for name, width in fold.modalities.items()
        ],
        "task": fold.task,
        "label": fold.label,
        "class_names": list(fold.class_names),
        "target": {"mean": fold.spec.target_centre, "sd": fold.spec.target_spread},
        "masks": MASK_SEMANTICS | ({"speakers": WITHIN_SPEAKER} if fold.within_speaker else {}),
    }


def is_bundle(folder: Path) -> bool:
    """Say whether a folder looks like a bundle; whether it is sound, `load_bundle` finds out."""
    return (folder / PREPROCESS).is_file() and (folder / CONFIG).is_file()


def load_bundle(folder: Path, device: str = "cpu", *, verify: bool = True) -> TrainedFold:
    """Read a bundle as a trained model; its lists of training utterances are empty.

    Raises
    ------
    InvalidInput
        A file is missing or was changed since the bundle was made, or the bundle is of a newer format.
    """
    folder = Path(folder)
    if verify:
        verify_folder(folder)
    config, prepared, record = (read_json(folder / name) for name in (CONFIG, PREPROCESS, RECORD))
    for name, values in ((CONFIG, config), (RECORD, record)):
        if values.get("format") != BUNDLE_FORMAT:
            raise InvalidInput(
                f"{folder / name} has the format {values.get('format')!r}, but imer {__version__} reads {BUNDLE_FORMAT!r}; "
                "update imer, or export the run again."
            )
    modalities = {entry["name"]: entry for entry in prepared["modalities"]}
    if {name: entry["width"] for name, entry in modalities.items()} != config["spec"]["modalities"]:
        raise InvalidInput(f"{folder}: {PREPROCESS} and {CONFIG} name different modalities; export the run again.")
    specs = {name: FeatureSpec.from_json(json.dumps(entry["spec"])) for name, entry in modalities.items()}
    return rebuilt(
        folder / CONFIG,
        config,
        {"members": 1, **config},
        device,
        name=record["fold"],
        scaler=Scaler(
            {name: np.array(entry["mean"], dtype=np.float32) for name, entry in modalities.items()},
            {name: np.array(entry["sd"], dtype=np.float32) for name, entry in modalities.items()},
        ),
        label=prepared["label"],
        class_names=tuple(prepared["class_names"]),
        feature_names={name: entry["feature"] for name, entry in modalities.items()},
        fingerprints={name: feature.fingerprint for name, feature in specs.items()},
        specs=specs,
        train_ids=(),
        val_ids=(),
        test_ids=(),
        selected=record["selected"],
        val=record["val"],
        longest_dialogue=record.get("longest_dialogue"),
        constant_answer=record.get("constant_answer"),
        within_speaker=tuple(name for name, entry in modalities.items() if entry.get("within_speaker")),
    )


def bundle_subject(folder: Path, device: str = "cpu") -> Subject:
    """Open a bundle to evaluate it; which utterances it learnt from, it does not know.

    Raises
    ------
    InvalidInput
        See `load_bundle`.
    """
    fold = load_bundle(folder, device)
    record = read_json(folder / RECORD)
    # Its own files alone: what somebody put beside them makes no other model of it.
    digest = sha256_json(read_json(folder / FOLDER_MANIFEST)["files"])
    return Subject(
        path=folder,
        folds=(fold,),
        settings=record.get("settings") or _settings_of_before(folder, record, digest),
        sha256=digest,
        trained_on=record["content_sha256"],
    )


def _settings_of_before(folder: Path, record: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Return what a bundle from before it kept its run's settings knows of them, and what tells it from every other."""
    config = read_json(folder / CONFIG)
    train = {"protocol": record["protocol"], "missing_rate": record["missing_rate"] or "", "seed": record["seed"]}
    train["members"] = config.get("members", 1)
    return flat({**config["settings"], "train": train, "bundle": {"sha256": digest[:12]}})
