"""What an output head takes and gives back.

A head turns the branches of a model into the answer, and says what it costs to be wrong. It is built with the model's
spec and the width H of the branches, called with a `HeadInput`, and its `losses` get the `HeadOutput` back together with
the targets:

    head = LinearHead(spec, width, LinearSettings())
    output = head(given)
    terms = head.losses(output, target_BU, counted_BU)

Every head takes the branches *unscaled*, with the coordinator's weights beside them, and decides itself what to do
with the weights. Where nothing is admitted (no weight at all) it must answer with something finite that does not
depend on the branches.

Shape suffixes: B dialogues, U padded utterances, M modalities, H hidden width, C outputs, N training utterances.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class HeadInput:
    """What a head reads.

    branches_MBUH  one vector per modality and utterance, unscaled. Where not observed it may carry what the
                   neighbours and the other modalities say, or nothing at all: `weight_BUM` tells.
    observed_BUM   bool; false at padding
    weight_BUM     ≥ 0, the coordinator's weights: 0 where a modality must not speak; their sum is the number of
                   modalities that may (so that each is 1 where all weigh alike)
    branch_answers_MBUC   the answer of each branch's own linear head, for late fusion
    """

    branches_MBUH: Tensor
    observed_BUM: Tensor
    weight_BUM: Tensor
    branch_answers_MBUC: Tensor


@dataclass(frozen=True)
class HeadOutput:
    """What a head answers.

    answer_BUC  logits, whose softmax are the class probabilities; or [B, U, 1] the standardised value
    fused_BUH   what the answer was read from
    branch_MBUC the branches' own answers where the head gives them in place of the model's linear layers; they mean something
                where a modality is observed
    extra       whatever `losses` needs besides, by name
    """

    answer_BUC: Tensor
    fused_BUH: Tensor
    branch_MBUC: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)


class Head(Protocol):
    """The protocol of heads. Implementations are `torch.nn.Module`s, built as `Head(spec, width, settings)`.

    `Settings` is the frozen dataclass of the head's settings: flat, numbers, strings and booleans only.
    `learning_rate_factor` multiplies the learning rate of the head's parameters; `undecayed` names those of its
    parameters that take no weight decay (biases and norms never do).

    Optional:
    is_calibrated   True: `calibrate` is called with answers and labels of the validation part once the epoch is chosen
    check_cases     refuses, by UsageError, sets of modalities that the head cannot answer
    """

    Settings: type
    learning_rate_factor: float
    undecayed: frozenset[str]

    def __call__(self, given: HeadInput) -> HeadOutput: ...

    def losses(self, output: HeadOutput, target_BU: Tensor, counted_BU: Tensor) -> dict[str, Tensor]:
        """Return the weighted loss terms by name (their sum is minimised), zero where nothing is counted.

        target_BU is int64 (any value where not counted), or float32 standardised; counted_BU tells which to count.
        """
        ...

    def start(self, branches_MNH: Tensor, observed_NM: Tensor, target_N: Tensor) -> None:
        """Be shown all labelled training utterances once, before the head is first trained (without gradient)."""
        ...
