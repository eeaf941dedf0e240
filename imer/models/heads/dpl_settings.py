"""The settings of the decoupled-prototype head (DPL)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from imer.core.errors import UsageError
from imer.core.ranges import Amount, CountOrZero, OneOf, Positive, Share, check_ranges
from imer.models.losses import REGRESSION_LOSSES


@dataclass(frozen=True)
class DPLSettings:
    """How the prototypes are kept, trained and read. Every angle is in radians.

    sharing           how cases share prototypes: delta, full, shared, additive or cardinality
    attach            `branches`: one block per modality; `concatenated`: one block of all branches, zero where not
                      observed (prototypes per case only, the un-decomposed ablation); `fused`: the model gives one
                      vector per utterance
    absent            `zero`: only observed modalities vote; `heard`: also those that the coordinator gives a weight, such as
                      modalities that the dialogue has elsewhere; `trainable`: all branches, however little stands behind them
    normalise         `block`: every block to unit length by itself; `joint`: their concatenation (ablation)
    initial           class_mean (at the start of the last stage, from the training features as they are: a case that only
                      simulated masks make starts at the mean over all cases), tied or xavier
    class_mean_pull   utterances at which a case's own mean counts as much as the mean over all cases
    delta_penalty     weight of the mean squared length of the offsets of `delta` and `additive`
    scale             s of softmax(s·z)
    learn_scale       for which tasks s is learnt, within its bounds: regression, always or never
    scale_low, scale_high   the bounds of s
    margin_complete, margin_single   angular margin with all modalities observed and with one; linear between;
                      of classes, and of bins with bin_margins
    scales            s of single cases by their names, such as ["audio=8", "audio+text=16"]
    margins           margins of single cases by their names, such as ["audio=0.3", "audio+text=0.15"]
    contrast_weight   weight of the contrastive loss among prototypes
    contrast_scope    which of them meet: those of one modality (intra_modality), all, or none
    contrast_temperature   of that loss
    decoder           regression by `bins` (expectation over ordered classes) or one `axis` per case and modality
    bins              how many
    bin_low, bin_high   lowest and highest bin in the label's own units; None: the training labels' extremes
    regression_loss   mse, l1 or huber, on standardised values
    bin_loss_weight   weight of the two-hot cross-entropy beside the loss on the value
    bin_margins       bins with the margins of classes, too: each of the two that hold a value is pushed as if it were the
                      class; what that makes over-confident is put right by a temperature for each number of observed
                      modalities, fitted to the validation part once the epoch is chosen
    coordinator       `logit_weight`: the coordinator's weights mix the cosines; `off`: every modality counts alike
    refine            a residual layer h + Dropout(ReLU(Linear h)) of its own for every modality before the cosine
    branch_answers    the branches' own answers, which have losses of their own and guide ComP's regulator, come from `linear`
                      layers, or from the `prototypes` (where a modality is observed; by attach = branches, normalise = block)
    late_fusion       how much of the weighted mean of the branches' own answers joins the answer (published: 0)
    dropout           of the residual layer, share of its units
    label_smoothing   share of the target spread over all classes
    zero_as_missing   treat an observed feature vector of zeros as missing
    unseen            a case with fewer than unseen_minimum training utterances in any epoch: use a trained substitute
                      (shared_fallback), use its own prototypes all the same (own), or refuse (error)
    unseen_minimum    fewest training utterances of a case, in the epoch with the most, for its own prototypes to be used
    learning_rate_factor   the head's learning rate over the encoder's
    decay             whether the run's weight decay also applies to the prototypes (their directions do not care)
    """

    sharing: Annotated[str, OneOf("delta", "full", "shared", "additive", "cardinality")] = "delta"
    attach: Annotated[str, OneOf("branches", "concatenated", "fused")] = "branches"
    absent: Annotated[str, OneOf("zero", "heard", "trainable")] = "heard"
    normalise: Annotated[str, OneOf("block", "joint")] = "block"
    initial: Annotated[str, OneOf("class_mean", "tied", "xavier")] = "class_mean"
    class_mean_pull: Amount = 20.0
    delta_penalty: Amount = 1e-2
    scale: float = 16.0
    learn_scale: Annotated[str, OneOf("regression", "always", "never")] = "regression"
    scale_low: float = 4.0
    scale_high: float = 64.0
    scales: tuple[str, ...] = ()
    margin_complete: Amount = 0.10
    margin_single: Amount = 0.20
    margins: tuple[str, ...] = ()
    contrast_weight: Amount = 0.1
    contrast_scope: Annotated[str, OneOf("intra_modality", "all", "none")] = "intra_modality"
    contrast_temperature: Positive = 1.0
    decoder: Annotated[str, OneOf("bins", "axis")] = "bins"
    bins: int = 7
    bin_low: float | None = None
    bin_high: float | None = None
    regression_loss: Annotated[str, REGRESSION_LOSSES] = "mse"
    bin_loss_weight: Amount = 1.0
    bin_margins: bool = False
    coordinator: Annotated[str, OneOf("logit_weight", "off")] = "logit_weight"
    refine: bool = True
    branch_answers: Annotated[str, OneOf("linear", "prototypes")] = "linear"
    late_fusion: Amount = 0.0
    dropout: Share = 0.3
    label_smoothing: Share = 0.0
    zero_as_missing: bool = True
    unseen: Annotated[str, OneOf("shared_fallback", "own", "error")] = "shared_fallback"
    unseen_minimum: CountOrZero = 50
    learning_rate_factor: Positive = 1.0
    decay: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, "head")
        if not 0 < self.scale_low < self.scale_high:
            raise UsageError(
                f"The settings head.scale_low and head.scale_high need 0 < low < high, "
                f"but are {self.scale_low:g} and {self.scale_high:g}."
            )
        for case, value in {"": self.scale, **by_case("head.scales", self.scales)}.items():
            if not self.scale_low <= value <= self.scale_high:
                raise UsageError(
                    f"The scale of {case or 'every case'} must lie between head.scale_low and head.scale_high "
                    f"({self.scale_low:g} to {self.scale_high:g}), but is {value:g}."
                )
        by_case("head.margins", self.margins)
        if self.branch_answers == "prototypes":
            if self.attach != "branches" or self.normalise != "block":
                raise UsageError(
                    "head.branch_answers = prototypes needs head.attach = branches and head.normalise = block."
                )
            if self.late_fusion:
                raise UsageError(
                    "With head.branch_answers = prototypes the answer is their mean already: leave out late_fusion."
                )
        if self.bin_low is not None and self.bin_high is not None and not self.bin_high > self.bin_low:
            raise UsageError(f"head.bin_high must lie above head.bin_low, but {self.bin_high:g} ≤ {self.bin_low:g}.")


def by_case(setting: str, parts: Iterable[str]) -> dict[str, float]:
    """Read values of single cases.

    Raises UsageError for anything that is not a case, '=' and a number.

    >>> by_case("head.margins", ["audio=0.3", "audio+text=0.15"])
    {'audio': 0.3, 'audio+text': 0.15}
    """
    values = {}
    for part in parts:
        name, _, number = part.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError as error:
            raise UsageError(f"The setting {setting} holds entries such as 'audio+text=0.15', not {part!r}.") from error
    return values


def needs_equal_widths(settings: DPLSettings, widths: Iterable[int]) -> bool:
    """Whether prototypes of different widths would have to be compared."""
    return settings.contrast_scope == "all" and settings.contrast_weight > 0 and len(set(widths)) > 1
