"""Settings of ComP. Every choice that the papers and their code make differently is one of these."""

from __future__ import annotations

from dataclasses import dataclass

from imer.core.errors import UsageError, did_you_mean

CHOICES = {
    "positions": ("none", "conv", "sinusoidal", "rotary"),
    "keys": ("available", "valid"),
    "prototypes": ("bank", "dialogue", "batch"),
    "attention": ("pre_norm", "published"),
    "prompt_head": ("sum", "paper"),
    "bank_start": ("normal", "kmeans"),
    "prompt_aggregation": ("sum", "rescale"),
    "missing_prompts": ("none", "case", "modality"),
    "regulator": ("balanced", "off", "paper"),
    "regulator_direction": ("hard_up", "hard_down"),
    "coordinator": ("router", "uniform", "concat"),
    "coordinator_mask": ("hard", "soft", "none"),
    "regression_loss": ("mse", "l1", "huber"),
}


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
        speaker_embedding add a vector per speaker of the dialogue, by order of appearance
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
                          of each of its observed modalities (modality); missing_prompt_length rows each
    Regulator             see `regulator.py`
    Coordinator
        coordinator       router, uniform, or concat (no weights at all)
        coordinator_mask  hard: an unobserved modality is silent; soft: it may speak where its dialogue has that
                          modality elsewhere; none: always (as published)
    Training
        stage1            train the branches alone first
        identity_start    new layers of the joint stage start as the identity; false: at random (as published)
        branch_weight     weight of the branches' losses beside the joint one
        reconstruction_weight, reconstruction_weight_joint   in stage 1 and in stage 2
        branch_loss_on_missing   branches answer also where their modality is missing
        regression_loss   of the branches' heads
    """

    hidden: int = 96
    heads: int = 4
    blocks: int = 2
    layers: int = 1
    prompt_width: int = 16
    n_prototypes: int = 10
    feed_forward: float = 1.0
    final_norm: bool = True
    dropout: float = 0.5
    input_dropout: float = 0.3
    label_smoothing: float = 0.1
    clip_z: float = 10.0
    attention: str = "pre_norm"
    positions: str = "conv"
    position_width: int = 5
    causal: bool = False
    keys: str = "available"
    speaker_embedding: bool = False
    prototypes: str = "bank"
    longest_dialogue: int = 150
    bank_start: str = "normal"
    prompt_momentum: float = 0.5
    prompt_aggregation: str = "sum"
    prompts: bool = True
    prompt_head: str = "sum"
    prompts_from_missing: bool = False
    missing_prompts: str = "none"
    missing_prompt_length: int = 8
    regulator: str = "balanced"
    regulator_direction: str = "hard_up"
    regulator_strength: float = 0.5
    regulator_limit: float = 2.0
    coordinator: str = "router"
    coordinator_mask: str = "soft"
    stage1: bool = True
    identity_start: bool = True
    branch_weight: float = 0.5
    reconstruction_weight: float = 0.1
    reconstruction_weight_joint: float = 0.0
    branch_loss_on_missing: bool = False
    regression_loss: str = "mse"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(f"model.{name} cannot be {value!r}; {did_you_mean(value, choices)}")
        counts = ("hidden", "heads", "layers", "prompt_width", "n_prototypes", "position_width")
        for name in (*counts, "missing_prompt_length", "longest_dialogue"):
            if getattr(self, name) < 1:
                raise UsageError(f"model.{name} is at least 1, but {getattr(self, name)} was given.")
        weights = ("branch_weight", "reconstruction_weight", "reconstruction_weight_joint")
        for name in ("blocks", "regulator_strength", *weights):
            if getattr(self, name) < 0:
                raise UsageError(f"model.{name} is not below 0, but {getattr(self, name)} was given.")
        for name in ("feed_forward", "clip_z"):
            if getattr(self, name) <= 0:
                raise UsageError(f"model.{name} is above 0, but {getattr(self, name)} was given.")
        if self.regulator_limit < 1:
            raise UsageError(f"model.regulator_limit is at least 1, but {self.regulator_limit} was given.")
        for name in ("dropout", "input_dropout", "label_smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"model.{name} lies in 0 … 1 (1 excluded), but {getattr(self, name)} was given.")
        if not 0.0 <= self.prompt_momentum <= 1.0:
            raise UsageError(f"model.prompt_momentum lies in 0 … 1, but {self.prompt_momentum} was given.")
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
