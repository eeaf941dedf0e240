"""What every model takes and gives back.

Shape suffixes: B dialogues in a batch, U padded utterances per dialogue, M modalities, D feature width, C outputs
(classes, or 1 for regression).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from imer.batches.batch import Batch

BRANCHES, JOINT = "branches", "joint"  # the stages of the models of imer; others may name theirs as they like

__all__ = ["BRANCHES", "JOINT", "Batch", "EmotionModel", "ModelOutput", "ModelSpec"]


@dataclass(frozen=True)
class ModelSpec:
    """What a model has to learn; together with its settings it says everything needed to build it.

    modalities     name → feature width, in order
    task           "classification" or "regression"
    n_outputs      number of classes, or 1
    class_weights  weight of each class in the loss, mean 1; None: all alike (and for regression)
    target_centre, target_spread   regression: the model works on (label − centre) / spread
    target_range   regression: smallest and largest training label, in the label's own units
    """

    modalities: dict[str, int]
    task: str
    n_outputs: int
    class_weights: tuple[float, ...] | None = None
    target_centre: float = 0.0
    target_spread: float = 1.0
    target_range: tuple[float, float] = (-1.0, 1.0)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelSpec:
        """Read what `asdict` gave and a JSON file kept."""
        weights = values["class_weights"]
        tuples = {
            "class_weights": None if weights is None else tuple(weights),
            "target_range": tuple(values["target_range"]),
        }
        return cls(**{**values, **tuples})


@dataclass
class ModelOutput:
    """What a forward pass returns.

    joint_BUC        the prediction: logits, or the standardised value for regression
    branch           modality → [B, U, C]: each modality's own head (empty where a model has none)
    weight_BUM       the coordinator's weight per modality: 0 where it must not speak, sums to the number that may
    reconstruction   modality → [B, U, D] (empty where a model has none)
    fused_BUH        what the output head reads
    extra            whatever the model's `losses` needs besides
    """

    joint_BUC: Tensor
    branch: dict[str, Tensor] = field(default_factory=dict)
    weight_BUM: Tensor | None = None
    reconstruction: dict[str, Tensor] = field(default_factory=dict)
    fused_BUH: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class EmotionModel(Protocol):
    """The protocol that training, evaluation and export rely on. Implementations are `torch.nn.Module`s, built as
    `Model(spec, settings, head)`; `Settings` is the frozen dataclass of their settings.

    Optional:
    branch_stages     names of stages that train the branches alone: each modality is selected by its own head's validation
                  score, and `modality_state(u)` gives the tensors to restore for it; without it, none
    least_modalities  how many modalities it needs; without it, one
    takes_head    False: the model answers by itself and is built as `Model(spec, settings)`
    usual_members how many of it are trained for each fold and answer together where nobody says (`train.members`); without
                  it, one
    batch_dependent   True: an answer depends on the other dialogues of its batch (published designs only)
    uses_speakers True: it is called with who speaks, `speaker_BU`
    most_utterances   of a dialogue that the model can answer; None, or not there: any number
    reads_packed  True: also takes packed batches, with `layout` as a further argument (see `batches/layout.py`)
    watched       figures of the last training step for the log, name → a tensor of one number
    start_stage   called as a stage that is no branch stage begins, with what all labelled training utterances look like
                  (`branches_MNH`, from the output's extra["branches"]; `observed_NM`; `target_N`)
    candidates    there (in the class too): the model is not trained by descent but fitted. `collect(batches)` returns what
                  it needs of all training utterances under `mask_draws` draws of the training masks, and `fit(that, i)`
                  solves for candidate i and returns figures for the log; a candidate takes the place of an epoch, and
                  validation picks the best. There is one stage and no `losses`.
    """

    Settings: type
    modalities: dict[str, int]  # name → feature width, in order
    stages: tuple[str, ...]  # names of the training stages, in order; prediction uses the last

    def __call__(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput: ...

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name; training minimises their sum."""
        ...
