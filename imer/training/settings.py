"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from imer.core.errors import UsageError
from imer.core.ranges import Amount, Count, CountOrZero, OneOf, Positive, Range, check_ranges
from imer.core.settings import to_toml

DEFAULT_PRESET = "comp"
# Settings that do not change what is computed on the same machine.
NOT_THE_RESULT = frozenset({"data.features", "train.device", "train.threads", "train.checkpoint_every_s"})
ONE_RATE = ("matched", "matched-static")  # protocols of training that make a model for one missing rate, judged at it
# Settings of `train` that a model which is fitted, without epochs and batches, has no use for.
OF_DESCENT = frozenset({
    "max_epochs_branches", "max_epochs_joint", "batch_utterances", "least_dialogues", "batch_dialogues", "pad_to", "optimiser",
    "learning_rate", "weight_decay", "clip_norm", "warmup_epochs", "schedule", "average_epochs", "carry_optimiser", "precision",
})  # fmt: skip
# What a run did before a setting of training existed: section → key → value.
BEFORE_IT_EXISTED: dict[str, dict[str, Any]] = {
    "train": {"members": 1, "precision": "float32"},
    "model": {"magnitudes_up_to": 0},  # of ComP
    "head": {"branch_answers": "linear", "bin_margins": False},  # of the DPL head; no other has them
}

# Settings of the training that also change what validation measures, so that it cannot choose among them (members: the score
# of several is the mean of their own, each on its own part).
CHANGES_VALIDATION = ("sampler", "pattern", "mask", "select", "validation_masks", "members")


@dataclass(frozen=True)
class RunChoice:
    """What is trained.

    preset   shipped settings that these started from
    model    the model by name
    head     its output head by name
    """

    preset: str = DEFAULT_PRESET
    model: str = "comp"
    head: str = "linear"


@dataclass(frozen=True)
class DataSettings:
    """What is learnt from.

    features          path of the feature store
    label             column to learn; empty: emotion, or else sentiment
    task              auto, classification or regression
    modalities        which to use; empty: all
    feature_sets      `modality=name` for modalities that have several features
    folds             empty: the official split; session, speaker, a column, or a number; none: no test part
    validation_by     auto, speaker or dialogue: what is kept whole where a validation part is cut from training
    validation_share  of the training part
    within_speaker    modalities (or `all`) whose features are taken relative to what else is seen of their speaker: for
                      speakers who are known, with several utterances each
    """

    features: str = ""
    label: str = ""
    task: str = "auto"
    modalities: tuple[str, ...] = ()
    feature_sets: tuple[str, ...] = ()
    folds: str = ""
    validation_by: str = "auto"
    validation_share: Annotated[float, Range("lies between 0 and 1", 0, 1, open_low=True, open_high=True)] = 0.15
    within_speaker: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ranges(self, "data")


@dataclass(frozen=True)
class TrainSettings:
    """How it is learnt.

    protocol        how modalities are hidden in training: see `imer ls protocols`
    missing_rate    for matched, matched-static, instance (a probability) and imbalanced (`audio=0.2,text=0.7`)
    sampler         exact, bernoulli or cpm: how a rate is met
    pattern         for the protocol pattern: which modalities are observed; empty: all patterns
    mask            for the protocol table: a mask file
    members         models that are trained for each fold and answer together (the mean), each with first weights, dropout and
                    order of its own, and, where the validation part is cut from the training part, a validation part
                    of its own; 0: as many as the model is usually given (ComP 3, others 1)
    seed            of every random choice
    max_epochs_branches, max_epochs_joint   most epochs of each stage
    patience        epochs without a better validation score before a stage ends
    batch_utterances  most padded utterances in a batch of whole dialogues
    least_dialogues   fewest dialogues in a batch, however long they are
    batch_dialogues   where not 0: a batch is this many dialogues instead
    pad_to          pad every dialogue at least to this many utterances
    optimiser       adamw; adam: with the decay in the gradient and on everything, as published
    learning_rate   of all but the head, which may have a factor of its own
    weight_decay    of weight matrices; biases, norms and single vectors have none
    clip_norm       longest gradient; longer ones are shortened to it. 0: no limit
    warmup_epochs   over which the learning rate rises from 0
    schedule        constant; or cosine, which ends at 0 after the last epoch
    average_epochs  memory, in epochs, of the running mean of the weights that is validated and kept; 0: no mean
    class_weights   none, sqrt or balanced: weight of rare classes in the loss
    validation_masks  number of fixed masks that each epoch is validated under
    select          val; or test_best: the epoch that is best on the test part, under masks redrawn every epoch, as some
                    published code does; everything that comes of it is marked optimistic
    carry_optimiser  the second stage goes on with the first one's optimiser (as published) instead of a new one
    precision       float32; or bfloat16: of the matrix products of ComP's linear layers while it trains, faster at widths
                    of about 256 and more where the processor can do it. Validation and answers are always float32.
    device          auto, cpu, cuda or cuda:<index>
    threads         of PyTorch on the CPU; 0: one, or all cores for a model that is fitted. Several models at once (`--jobs`)
                    make better use of cores: threads of one wait for each other, for long where anything else is at work
    checkpoint_every_s   least seconds between two saved states
    """

    protocol: str = "mixed"
    missing_rate: str = ""
    sampler: Annotated[str, OneOf("exact", "bernoulli", "cpm")] = "exact"
    pattern: str = ""
    mask: str = ""
    members: CountOrZero = 0
    seed: int = 0
    max_epochs_branches: CountOrZero = 50
    max_epochs_joint: Count = 100
    patience: Count = 20
    batch_utterances: Count = 128
    least_dialogues: Count = 4
    batch_dialogues: CountOrZero = 0
    pad_to: CountOrZero = 0
    optimiser: Annotated[str, OneOf("adamw", "adam")] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: Amount = 5e-2
    clip_norm: Amount = 1.0
    warmup_epochs: Amount = 1.0
    schedule: Annotated[str, OneOf("constant", "cosine")] = "constant"
    average_epochs: Amount = 5.0
    class_weights: Annotated[str, OneOf("none", "sqrt", "balanced")] = "sqrt"
    validation_masks: Count = 3
    select: Annotated[str, OneOf("val", "test_best")] = "val"
    carry_optimiser: bool = False
    precision: Annotated[str, OneOf("float32", "bfloat16")] = "float32"
    device: str = "auto"
    threads: CountOrZero = 0
    checkpoint_every_s: Amount = 10.0

    def __post_init__(self) -> None:
        check_ranges(self, "train")
        if self.carry_optimiser and self.schedule == "cosine":
            raise UsageError("train.carry_optimiser takes a constant learning rate: a cosine ends with its stage.")
        if self.carry_optimiser and self.average_epochs:
            raise UsageError(
                "train.carry_optimiser takes train.average_epochs = 0: the mean of the first stage's weights would weigh down "
                "the second's."
            )


@dataclass(frozen=True)
class Settings:
    """All settings of a run; `model` and `head` are the dataclasses of the chosen model and head."""

    run: RunChoice = field(default_factory=RunChoice)
    data: DataSettings = field(default_factory=DataSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    model: Any = None
    head: Any = None

    def __post_init__(self) -> None:
        if self.data.within_speaker and getattr(self.model, "causal", False):
            raise UsageError(
                "model.causal looks at the past only, and data.within_speaker at all that a speaker says, later on too: drop "
                "one of them."
            )

    def sections(self) -> dict[str, Any]:
        return {"run": self.run, "data": self.data, "train": self.train, "model": self.model, "head": self.head}

    def to_toml(self) -> str:
        return to_toml(self.sections())


SECTIONS = tuple(section.name for section in fields(Settings))
