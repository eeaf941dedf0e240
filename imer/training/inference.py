"""A model's answers for many utterances under a mask: the one path that validation, evaluation and prediction share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imer.batches.batch import Batch, PackedBatch
from imer.batches.dialogues import Resident
from imer.models.base import ModelOutput, ModelSpec


@dataclass(frozen=True)
class Prediction:
    """What a trained model says about n utterances, as NumPy arrays in the order of `rows_N`.

    probabilities_NC  class probabilities, or values [n, 1] in the label's own units
    observed_NM       what it was shown
    branches          modality → the same as probabilities_NC from the modality's own head
    """

    rows_N: np.ndarray
    probabilities_NC: np.ndarray
    observed_NM: np.ndarray
    weights_NM: np.ndarray
    branches: dict[str, np.ndarray] = field(default_factory=dict)

    def in_order_of(self, rows: np.ndarray) -> Prediction:
        """Return the same answers for these rows, which must be the same set."""
        place = np.empty(int(max(rows.max(), self.rows_N.max())) + 1, dtype=np.int64)
        place[self.rows_N] = np.arange(len(self.rows_N))
        index = place[rows]
        return Prediction(
            rows,
            self.probabilities_NC[index],
            self.observed_NM[index],
            self.weights_NM[index],
            {name: values[index] for name, values in self.branches.items()},
        )

    def in_words(self, i: int, modalities: Iterable[str], class_names: Sequence[str]) -> dict[str, Any]:
        """Return what a line of predictions says of answer i; there are no class names for regression."""
        answer_C = self.probabilities_NC[i]
        line: dict[str, Any] = {"prediction": float(answer_C[0]), "value": float(answer_C[0])}
        if class_names:
            probabilities = {name: round(float(p), 8) for name, p in zip(class_names, answer_C, strict=True)}
            line = {"prediction": class_names[int(answer_C.argmax())], "probabilities": probabilities}
        named = list(modalities)
        line["observed"] = [name for name, seen in zip(named, self.observed_NM[i], strict=True) if seen]
        line["weights"] = {name: round(float(w), 6) for name, w in zip(named, self.weights_NM[i], strict=True)}
        return line


@torch.inference_mode()
def answer(
    model: nn.Module,
    spec: ModelSpec,
    resident: Resident,
    tables: Sequence[np.ndarray],
    observed_NM: np.ndarray,
    *,
    stage: str | None = None,
) -> Prediction:
    """Answer every utterance of the batches `tables` (rows [B, U], −1 at padding) under a mask over the corpus."""
    was_training = model.training
    model.eval()
    device = resident.target_N.device
    observed = torch.from_numpy(observed_NM).to(device)
    rows, joint, weights = [], [], []
    branches: dict[str, list[Tensor]] = {}
    resident = resident.as_seen(tables, observed)
    for row_BU in tables:
        batch = gather(model, resident, row_BU, observed)
        output = run(model, batch, stage)
        rows.append(batch.of_real(batch.row_BU))
        joint.append(batch.of_real(output.joint_BUC))
        weight = batch.observed_BUM.float() if output.weight_BUM is None else output.weight_BUM
        weights.append(batch.of_real(weight))
        for name, values in output.branch.items():
            branches.setdefault(name, []).append(batch.of_real(values))
    model.train(was_training)
    rows_N = torch.cat(rows).cpu().numpy()
    return Prediction(
        rows_N,
        in_units(torch.cat(joint), spec),
        observed_NM[rows_N],
        torch.cat(weights).float().cpu().numpy(),
        {name: in_units(torch.cat(parts), spec) for name, parts in branches.items()},
    )


def gather(model: nn.Module, resident: Resident, row_BU: np.ndarray, observed_NM: Tensor) -> Batch:
    """Return the batch of a table of rows in the form that the model reads fastest: packed, where it can."""
    if getattr(model, "reads_packed", False):
        return resident.packed_batch(row_BU, observed_NM)
    return resident.batch(row_BU, observed_NM)


def run(model: nn.Module, batch: Batch, stage: str | None) -> ModelOutput:
    """Run a model on a batch, and tell it what it wants to know besides: who speaks, and where dialogues begin."""
    extras: dict[str, Any] = {"speaker_BU": batch.speaker_BU} if getattr(model, "uses_speakers", False) else {}
    if isinstance(batch, PackedBatch):
        extras["layout"] = batch.layout
    output: ModelOutput = model(batch.features, batch.observed_BUM, batch.valid_BU, stage=stage, **extras)
    return output


def in_units(answers_NC: Tensor, spec: ModelSpec) -> np.ndarray:
    """Turn a model's answers into class probabilities, or into values in the label's own units."""
    if spec.task == "classification":
        return torch.softmax(answers_NC.float(), dim=-1).cpu().numpy()
    return (answers_NC.double() * spec.target_spread + spec.target_centre).cpu().numpy()
