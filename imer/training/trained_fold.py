"""A trained fold, ready to answer: its model rebuilt from a checkpoint folder or a bundle, with what it learnt from."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from imer._version import __version__
from imer.batches.corpus import Corpus
from imer.batches.dialogues import Dialogues
from imer.batches.scaling import Scaler
from imer.batches.speakers import named_modalities
from imer.core.devices import chosen_device
from imer.core.errors import InvalidInput, UsageError, listed
from imer.core.files import read_json
from imer.core.folders import verify_folder
from imer.core.settings import Layer, resolve
from imer.core.types import FeatureSpec
from imer.models.base import ModelSpec
from imer.models.ensemble import members_of
from imer.training.build import build_trained
from imer.training.checkpoint import WEIGHTS, load_tensors
from imer.training.fold_data import place
from imer.training.inference import Prediction, answer
from imer.training.publish import CHECKPOINT_FORMAT
from imer.training.repeatable import repeatable
from imer.training.settings import BEFORE_IT_EXISTED, Settings
from imer.training.settings_layers import settings_schema

PREDICTION_BATCH = 2048  # padded utterances
SHAPING = ("run", "model", "head")  # sections of the settings that shape the model; the others name files and machines


@dataclass(frozen=True)
class TrainedFold:
    """A trained model with everything needed to use it.

    name           of the fold; empty for a single split
    label, class_names   what it answers (no class names for regression)
    feature_names, fingerprints, specs   modality → the feature set it was trained on, and how to make it again
    selected       {"epoch", "metric", "value", "on"}: how its weights were chosen
    val            its validation metrics at that epoch
    within_speaker   modalities whose features it reads relative to their speaker
    longest_dialogue   the most utterances of one that it learnt from; None where nobody wrote it down
    constant_answer    the majority class's index, or the mean label, of what it learnt from; likewise
    """

    name: str
    model: nn.Module
    spec: ModelSpec
    scaler: Scaler
    label: str
    class_names: tuple[str, ...]
    feature_names: dict[str, str]
    fingerprints: dict[str, str]
    specs: dict[str, FeatureSpec]
    train_ids: tuple[str, ...]
    val_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    selected: dict[str, Any]
    val: dict[str, float | None]
    pad_to: int
    device: torch.device
    batch_dialogues: int
    within_speaker: tuple[str, ...] = ()
    longest_dialogue: int | None = None
    constant_answer: float | None = None

    @property
    def modalities(self) -> dict[str, int]:
        """Name → feature width, in order."""
        return self.spec.modalities

    @property
    def task(self) -> str:
        return self.spec.task

    @property
    def batch_dependent(self) -> bool:
        """Whether an answer depends on the other dialogues of its batch, as in ComP's public code."""
        return bool(getattr(self.model, "batch_dependent", False))

    def predict(self, corpus: Corpus, rows: np.ndarray, observed_NM: np.ndarray) -> Prediction:
        """Answer these rows of a corpus under a mask over the whole corpus.

        The context of an utterance is what else of its dialogue is among the rows, in order of position, whether it
        has a label or not. Features relative to their speaker (`within_speaker`) are so among the rows, too.

        Raises
        ------
        InvalidInput
            The corpus has not exactly the modalities, widths and features that the model was trained on.
        """
        self.check(corpus)
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            empty = np.zeros((0, self.spec.n_outputs))
            return Prediction(
                rows, empty, np.zeros((0, len(self.modalities)), bool), np.zeros((0, len(self.modalities)))
            )
        observed_NM = observed_NM & corpus.present_NM
        for model in members_of(self.model):
            head: Any = getattr(model, "head", None)
            if hasattr(head, "check_cases"):
                head.check_cases(torch.from_numpy(observed_NM[rows]))
        resident = place(corpus, self.scaler, self.spec, self.device, self.within_speaker, rows)
        tables = Dialogues.of(corpus, rows).batches(
            PREDICTION_BATCH, pad_to=self.pad_to, dialogues=self.batch_dialogues if self.batch_dependent else 0
        )
        with repeatable(self.device):
            return answer(self.model, self.spec, resident, tables, observed_NM).in_order_of(rows)

    def check(self, corpus: Corpus) -> None:
        """Refuse a corpus that the model was not made for."""
        where = "Extract again with the same extractors, or name the ones used in training."
        if dict(corpus.modalities) != dict(self.modalities):
            raise InvalidInput(
                f"The model reads {_widths(self.modalities)}, but the features are {_widths(corpus.modalities)}. {where}"
            )
        other = [name for name in self.modalities if corpus.fingerprints.get(name) != self.fingerprints.get(name)]
        if other and corpus.fingerprints:
            raise InvalidInput(
                f"The {listed(other)} features were made in another way than those that the model was trained on (their "
                f"fingerprints differ). {where}"
            )


def _widths(modalities: dict[str, int]) -> str:
    return ", ".join(f"{name} ({width})" for name, width in modalities.items()) or "none"


def load_fold(folder: Path, device: str = "cpu") -> TrainedFold:
    """Read a checkpoint folder.

    Raises
    ------
    InvalidInput
        It is damaged or incomplete, or no checkpoint.
    """
    folder = Path(folder)
    verify_folder(folder)
    values = read_json(folder / "checkpoint.json")
    if values.get("format") != CHECKPOINT_FORMAT:
        raise InvalidInput(f"{folder} is no checkpoint that this imer reads (format {values.get('format')!r}).")
    scaling = load_tensors(folder / "scaler.safetensors")
    arrays = {
        kind: {m: scaling[f"{kind}.{m}"].numpy() for m in values["spec"]["modalities"]} for kind in ("centre", "spread")
    }
    return rebuilt(
        folder / "checkpoint.json",
        values,
        {**BEFORE_IT_EXISTED["train"], **values["settings"]["train"]},
        device,
        name=values["fold"],
        scaler=Scaler(**arrays),
        label=values["label"],
        class_names=tuple(values["class_names"]),
        feature_names=values["feature_names"],
        fingerprints=values["fingerprints"],
        specs={name: FeatureSpec.from_json(json.dumps(spec)) for name, spec in values["specs"].items()},
        train_ids=tuple(values["train_ids"]),
        val_ids=tuple(values["val_ids"]),
        test_ids=tuple(values["test_ids"]),
        selected=values["selected"],
        val=values["val"],
        # Absent before they existed.
        longest_dialogue=values.get("longest_dialogue"),
        constant_answer=values.get("constant_answer"),
        within_speaker=named_modalities(
            values["settings"]["data"].get("within_speaker", ()), values["spec"]["modalities"]
        ),
    )


def rebuilt(source: Path, values: dict[str, Any], train: dict[str, Any], device: str, **known: Any) -> TrainedFold:
    """Build the model that `source` describes, of a checkpoint or a bundle, and give it the weights that lie beside.

    values  what `source` says: `spec`, `settings`, `imer_version`
    train   how it was trained: only what prediction needs is read, so that versions which train with other settings
            can read it, as long as they know the same model
    known   the other fields of the trained fold

    Raises
    ------
    InvalidInput
        This imer does not know such a model, or the weights are of another one.
    """
    folder, spec = source.parent, ModelSpec.from_json(values["spec"])
    kept = {section: stored for section, stored in values["settings"].items() if section in SHAPING}
    kept["train"] = {key: train[key] for key in ("pad_to", "batch_dialogues", "members") if key in train}
    try:
        schema = settings_schema(kept["run"]["model"], kept["run"]["head"])
        for section in ("model", "head"):
            known_keys = {one.name for one in fields(schema[section])}
            before = {key: value for key, value in BEFORE_IT_EXISTED[section].items() if key in known_keys}
            kept[section] = {**before, **kept.get(section, {})}
        settings = Settings(**resolve(schema, [Layer(str(source), kept)]))
    except UsageError as error:
        raise InvalidInput(
            f"{folder} was made by imer {values['imer_version']}, with a model that this one, {__version__}, does not know "
            f"({error}); use that version, or train again."
        ) from error
    with repeatable(torch.device("cpu")):
        model = build_trained(spec, settings)
    try:
        model.load_state_dict(load_tensors(folder / WEIGHTS))
    except RuntimeError as error:
        raise InvalidInput(f"{folder / WEIGHTS} does not fit its {source.name}: {error}") from error
    where = torch.device(chosen_device(device))
    return TrainedFold(
        model=model.to(where).eval(),
        spec=spec,
        pad_to=settings.train.pad_to,
        batch_dialogues=settings.train.batch_dialogues,
        device=where,
        **known,
    )
