"""Settings of ComP. Every choice that the papers and their code make differently is one of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from imer.core.errors import UsageError
from imer.core.ranges import Amount, Count, CountOrZero, OneOf, Positive, Range, Share, check_ranges
from imer.models.losses import REGRESSION_LOSSES


@dataclass(frozen=True)
class CompSettings:
    """Settings of ComP. The defaults are those of the preset `comp`: regularisation was compared on validation data of small
    corpora, one seed each; width and schedule are a compromise between them.

    Size
        hidden            H, width of every branch
        heads             attention heads
        blocks            L, pairs of prompt generation and propagation; 0: no propagation at all (ablation)
        layers            attention layers in a block
        prompt_width      width of a prompt
        n_prototypes      prototypes per modality
        magnitudes_up_to  of modalities with at most this many features the encoders also read how far each lies from
                          its mean, on either side (learnt in stage 1 alone, where there is one); 0: of none
        final_norm        normalise the branches after the last attention layer, before anything reads them
        feed_forward      width of the inner layer of attention layers, as a multiple of H
    Regularisation
        dropout           in encoders and attention layers
        input_dropout     of the standardised features
        label_smoothing   of the branches' heads
        clip_z            standardised features are cut to ± this
    Sequence
        positions         none, conv (depth-wise convolution), sinusoidal or rotary
        position_width    utterances that the convolution sees
        causal            look at the past only
        attention         pre_norm, or published (no norms, no output layer, x + y + MLP(y))
        keys              attention reads `available` rows of its modality, or all `valid` ones
        speaker_embedding  add a vector per speaker of the dialogue, by order of appearance
    Prompts
        prototypes        bank (learned), dialogue (bank plus what the dialogue's own rows say), or batch (published:
                          compressed from the positions of all dialogues of the batch, so that answers depend on it)
        longest_dialogue  with batch prototypes: the fixed length that dialogues are padded to
        bank_start        normal, or kmeans of the branches at the start of the last stage
        prompt_momentum   λ of ComP eq. 9
        prompt_aggregation  sum, or rescale to the number of sources
        prompts           false: propagation without prompts (ablation)
        prompt_head       sum: MLP(S K) + linear(Z); paper: MLP(MLP(S K) + MLP(Z)) as in ComP eq. 8
        prompts_from_missing  missing modalities send prompts too (as published)
        missing_prompts   none; or attention also reads prompts of the reader's set of observed modalities (case), or
                          of each of its observed modalities (modality)
        missing_prompt_length  rows of each of these
    Regulator             see `regulator.py`
        regulator         balanced: gradients of the prototypes weighed by how much worse a modality does than the others
                          of its utterance; paper: by the published quotient; or off
        regulator_direction  hard_up: more weight where it does worse; hard_down: less
        regulator_strength  how steeply the weight follows
        regulator_limit   weights lie between its inverse and itself
    Coordinator
        coordinator       router, uniform, or concat (no weights at all)
        coordinator_mask  hard: an unobserved modality is silent; soft: it may speak where its dialogue has that
                          modality elsewhere; none: always (as published)
    Training
        stage1            train the branches alone first
        identity_start    new layers of the joint stage start as the identity; false: at random (as published)
        branch_weight     weight of the branches' losses beside the joint one
        reconstruction_weight  of the loss of rebuilding the features from the branches, in stage 1
        reconstruction_weight_joint  the same in stage 2
        branch_loss_on_missing   branches answer also where their modality is missing
        regression_loss   of the branches' heads
    """

    hidden: Count = 96
    heads: Count = 4
    blocks: CountOrZero = 2
    layers: Count = 1
    prompt_width: Count = 16
    n_prototypes: Count = 10
    feed_forward: Positive = 1.0
    magnitudes_up_to: CountOrZero = 128
    final_norm: bool = True
    dropout: Share = 0.5
    input_dropout: Share = 0.3
    label_smoothing: Share = 0.1
    clip_z: Positive = 10.0
    attention: Annotated[str, OneOf("pre_norm", "published")] = "pre_norm"
    positions: Annotated[str, OneOf("none", "conv", "sinusoidal", "rotary")] = "conv"
    position_width: Count = 5
    causal: bool = False
    keys: Annotated[str, OneOf("available", "valid")] = "available"
    speaker_embedding: bool = False
    prototypes: Annotated[str, OneOf("bank", "dialogue", "batch")] = "bank"
    longest_dialogue: Count = 150
    bank_start: Annotated[str, OneOf("normal", "kmeans")] = "normal"
    prompt_momentum: Annotated[float, Range("lies in 0 … 1", 0, 1)] = 0.5
    prompt_aggregation: Annotated[str, OneOf("sum", "rescale")] = "sum"
    prompts: bool = True
    prompt_head: Annotated[str, OneOf("sum", "paper")] = "sum"
    prompts_from_missing: bool = False
    missing_prompts: Annotated[str, OneOf("none", "case", "modality")] = "none"
    missing_prompt_length: Count = 8
    regulator: Annotated[str, OneOf("balanced", "off", "paper")] = "balanced"
    regulator_direction: Annotated[str, OneOf("hard_up", "hard_down")] = "hard_up"
    regulator_strength: Amount = 0.5
    regulator_limit: Annotated[float, Range("is at least 1", 1)] = 2.0
    coordinator: Annotated[str, OneOf("router", "uniform", "concat")] = "router"
    coordinator_mask: Annotated[str, OneOf("hard", "soft", "none")] = "soft"
    stage1: bool = True
    identity_start: bool = True
    branch_weight: Amount = 0.5
    reconstruction_weight: Amount = 0.1
    reconstruction_weight_joint: Amount = 0.0
    branch_loss_on_missing: bool = False
    regression_loss: Annotated[str, REGRESSION_LOSSES] = "mse"

    def __post_init__(self) -> None:
        check_ranges(self, "model")
        if self.hidden % self.heads:
            raise UsageError(f"model.hidden ({self.hidden}) must be a multiple of model.heads ({self.heads}).")
        if self.attention == "published" and (self.positions == "rotary" or self.missing_prompts != "none"):
            raise UsageError("model.attention = published knows neither rotary positions nor missing-aware prompts.")
        if self.causal and self.prototypes != "bank":
            raise UsageError(
                f"model.prototypes = {self.prototypes} looks at whole dialogues, the future included; model.causal takes bank."
            )
        if self.positions == "rotary" and (self.hidden // self.heads) % 2:
            raise UsageError("model.positions = rotary needs an even width per head (hidden / heads).")
