"""ComP as its public code is known to behave, faults included: for comparison with published numbers only.

What differs from `comp`, by the literature on that code:
- every modality's features are split into a shared and a private part, and only the shared one goes on;
- the private head of every modality reads audio's private part;
- missing rows are zeros that pass through biases, send prompts and get coordinator weight;
- prototypes are compressed from all positions of a dialogue, padding and missing rows among them, and every row is compared
  with those of the whole batch, so that an answer depends on its batch-mates, at test too;
- new layers of the second stage start at random, and the best first stage is not restored;
- the branches' losses count twice and on missing rows;
- there is no gradient regulator, because the public one never fires.

Left out are faults that stop or spoil a run: the fixed padding (only the prototypes have a fixed length; `train.pad_to`
brings it back), NaN from underflowing logarithms, and the first stage as a candidate of the selection. Metrics are ours: MAE
and correlation count neutral labels. Otherwise than there, stacked layers start by Xavier's rule with zero biases; router,
prompts and compression have no dropout behind their last layer; values to learn are standardised.

Shape suffixes: M modalities, B dialogues, U padded utterances, H hidden width, C outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from imer.batches.batch import Batch
from imer.batches.layout import Padded
from imer.core.ranges import Amount, Count, Positive, Share, check_ranges
from imer.models.base import BRANCHES, JOINT, ModelOutput, ModelSpec
from imer.models.comp.attention import PublishedAttentionLayer, Reading, readable
from imer.models.comp.prompts import Exchange, PromptGenerator
from imer.models.comp.prototypes import BatchPrototypes
from imer.models.comp.regulator import InstanceWeights
from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedLinear, StackedMLP
from imer.models.dropout import Dropout
from imer.models.inputs import visible
from imer.models.losses import TaskLoss, cross_entropy, masked_mean, regression_loss

LAYERS = 2  # attention layers before and after the second round of prompts
NOISE_SD, NOISE_LIMIT = 1.5, 3.0  # of the values that private parts are fitted to (regression), in label units
SMALLEST_SHARE = 1e-12  # below this a probability's logarithm is not taken


@dataclass(frozen=True)
class OfficialSettings:
    """Settings of the public code; its example's values are the defaults.

    hidden, heads, prompt_width, n_prototypes, dropout   as in `comp`
    longest_dialogue   the fixed length of the prototypes' compression
    prompt_momentum    λ
    branch_weight      of the branches' losses in the second stage
    distance_weight    of the terms that pull shared parts together and private parts apart
    reconstruction_weight   in the second stage
    clip_z             standardised features are cut to ± this
    """

    hidden: Count = 256
    heads: Count = 2
    prompt_width: Count = 16
    n_prototypes: Count = 10
    dropout: Share = 0.5
    longest_dialogue: Count = 150
    prompt_momentum: float = 0.3
    branch_weight: Amount = 2.0
    distance_weight: Amount = 1.0
    reconstruction_weight: Amount = 1.0
    clip_z: Positive = 10.0

    def __post_init__(self) -> None:
        check_ranges(self, "model")
        self.shared()

    def shared(self) -> CompSettings:
        """Return the settings of the parts that `comp` has as well; they check what must fit together."""
        return CompSettings(
            hidden=self.hidden, heads=self.heads, prompt_width=self.prompt_width, n_prototypes=self.n_prototypes,
            dropout=self.dropout, longest_dialogue=self.longest_dialogue, prompt_momentum=self.prompt_momentum,
            attention="published", positions="none", prototypes="batch", coordinator_mask="none", regulator="off",
        )  # fmt: skip


class OfficialComp(nn.Module):
    """The public code's network over M ≥ 2 modalities."""

    Settings: ClassVar[type] = OfficialSettings
    takes_head: ClassVar[bool] = False
    batch_dependent: ClassVar[bool] = True
    least_modalities: ClassVar[int] = 2
    stages: ClassVar[tuple[str, ...]] = (BRANCHES, JOINT)
    branch_stages: ClassVar[tuple[str, ...]] = (BRANCHES,)

    def __init__(self, spec: ModelSpec, settings: OfficialSettings) -> None:
        super().__init__()
        n, width, drop = len(spec.modalities), settings.hidden, settings.dropout
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.most_utterances = settings.longest_dialogue
        shared, received = settings.shared(), (n - 1) * settings.prompt_width
        self.enter = nn.ModuleDict({name: nn.Linear(d, width) for name, d in self.modalities.items()})
        self.to_shared, self.to_private = (StackedMLP(n, width, width, width, drop) for _ in range(2))
        self.decoder = StackedMLP(n, 2 * width, width, width, drop)
        self.before, self.after = (
            nn.ModuleList(PublishedAttentionLayer(n, shared) for _ in range(LAYERS)) for _ in range(2)
        )
        self.prototypes = BatchPrototypes(n, shared)
        self.generators = nn.ModuleList(PromptGenerator(n, shared) for _ in range(2))
        self.exchange = Exchange(n, "sum")
        self.fuse = nn.ModuleList(StackedLinear(n, width + received, width) for _ in range(2))
        self.back = StackedMLP(n, width, width, width + received, drop)
        self.branch_heads = StackedLinear(n, width, spec.n_outputs)
        self.router = nn.Sequential(nn.Linear(n * width, width), nn.GELU(), Dropout(drop), nn.Linear(width, n))
        self.mix = nn.Linear(n * width, n * width)
        self.classify = nn.Linear(n * width, spec.n_outputs)
        self.dropout = Dropout(drop)
        self.task_loss = TaskLoss(spec.task, spec.class_weights)

    def forward(
        self, features: dict[str, Tensor], observed_BUM: Tensor, valid_BU: Tensor, *, stage: str | None = None
    ) -> ModelOutput:
        """Answer every utterance of the batch, depending on the whole batch in the second stage."""
        observed_MBU = (observed_BUM & valid_BU.unsqueeze(-1)).permute(2, 0, 1)
        reading = readable(observed_MBU, Padded(valid_BU), self.settings.shared())
        clip_z = self.settings.clip_z
        entered = torch.stack(
            [
                self.dropout(layer(visible(features[name], here_BU, clip_z)))
                for (name, layer), here_BU in zip(self.enter.items(), observed_MBU, strict=True)
            ]
        )
        shared, private = self.dropout(self.to_shared(entered)), self.dropout(self.to_private(entered))
        extra: dict[str, Any] = {"entered": entered, "shared": shared, "private": private}
        if stage == BRANCHES:
            branches = self._attend(shared, reading)
            if self.training:  # every modality's head is shown audio's private part (the public code's slip)
                first = private[:1].expand_as(private)
                extra["private_answers"] = self.branch_heads(self._attend(first, reading))
            answers_MBUC = self.branch_heads(branches)
            branches = torch.where(observed_MBU.unsqueeze(-1), branches, 0.0)
        else:
            branches = self._propagate(shared, observed_MBU, reading)
            answers_MBUC = self.branch_heads(branches)
        together = torch.cat(list(branches), dim=-1)
        share_BUM = self.router(together).softmax(dim=-1)
        weighed = torch.cat(list(branches * share_BUM.permute(2, 0, 1).unsqueeze(-1)), dim=-1)
        mixed = weighed + self.dropout(torch.relu(self.mix(weighed)))
        return ModelOutput(
            joint_BUC=self.classify(mixed),
            branch=dict(zip(self.modalities, answers_MBUC, strict=True)),
            weight_BUM=share_BUM * len(self.modalities),
            fused_BUH=mixed,
            extra={**extra, "branches": branches},
        )

    def _attend(self, x_MBUH: Tensor, reading: Reading) -> Tensor:
        for layer in (*self.before, *self.after):
            x_MBUH = layer(x_MBUH, reading)
        return x_MBUH

    def _propagate(self, shared: Tensor, observed_MBU: Tensor, reading: Reading) -> Tensor:
        """Two rounds of prompts; the second compares with the prototypes of the first."""
        unregulated = InstanceWeights()
        prototypes = self.prototypes(shared, observed_MBU)
        prompts = self.exchange(self.generators[0](shared, prototypes, unregulated))
        x_MBUH = self.fuse[0](torch.cat((shared, prompts), dim=-1))
        for layer in self.before:
            x_MBUH = layer(x_MBUH, reading)
        given_back = self.dropout(self.back(x_MBUH))
        x_MBUH, returned = given_back.split([self.settings.hidden, prompts.shape[-1]], dim=-1)
        momentum = self.settings.prompt_momentum
        new = self.exchange(self.generators[1](x_MBUH, prototypes, unregulated))
        x_MBUH = self.fuse[1](torch.cat((x_MBUH, momentum * returned + (1.0 - momentum) * new), dim=-1))
        for layer in self.after:
            x_MBUH = layer(x_MBUH, reading)
        return x_MBUH

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Return the loss terms of a stage. The branches are judged where their modality is missing, too."""
        counted_BU, extra = batch.labelled_BU, output.extra
        weight = 1.0 if stage == BRANCHES else self.settings.branch_weight
        terms = {
            f"branch_{name}": weight * self.task_loss(answer_BUC, batch.target_BU, counted_BU)
            for name, answer_BUC in output.branch.items()
        }
        terms["distance"] = self.settings.distance_weight * distances(extra["shared"], extra["private"], batch.valid_BU)
        if stage == JOINT:
            terms["joint"] = self.task_loss(output.joint_BUC, batch.target_BU, counted_BU)
            rebuilt = self.dropout(self.decoder(torch.cat((extra["shared"], extra["private"]), dim=-1)))
            error = (rebuilt - extra["entered"]).square().mean()
            terms["rebuild"] = self.settings.reconstruction_weight * error
        elif "private_answers" in extra:
            for name, answer_BUC in zip(self.modalities, extra["private_answers"], strict=True):
                terms[f"private_{name}"] = self._private_loss(answer_BUC, batch.target_BU, counted_BU)
        return terms

    def _private_loss(self, answer_BUC: Tensor, target_BU: Tensor, counted_BU: Tensor) -> Tensor:
        """Keep the label out of the private part, as the public code means to: by 1 − logits, or by fitting noise."""
        if self.spec.task == "regression":
            noise = (torch.randn_like(target_BU) * NOISE_SD).clamp(-NOISE_LIMIT, NOISE_LIMIT)
            noise = (noise - self.spec.target_centre) / self.spec.target_spread
            return regression_loss(answer_BUC, noise, counted_BU)
        return cross_entropy(1.0 - answer_BUC, target_BU, counted_BU)

    def modality_state(self, u: int) -> dict[str, Tensor]:
        """Nothing of the first stage is restored."""
        return {}

    def start_stage(self, stage: str, given: dict[str, Any]) -> None:
        """A stage begins with what is there."""


def distances(shared_MBUH: Tensor, private_MBUH: Tensor, valid_BU: Tensor) -> Tensor:
    """Return what grows where private parts resemble anything and shared parts differ, over all pairs of modalities.

    For a pair: |cos(V^u, V^v)| + |cos(V^u, S^u)| + |cos(V^v, S^v)| over real utterances, and the divergence of
    sigmoid S^u and sigmoid S^v, summed over the width, over all rows.
    """
    n = len(shared_MBUH)
    own = functional.cosine_similarity(private_MBUH, shared_MBUH, dim=-1).abs()
    share = shared_MBUH.sigmoid()
    total = shared_MBUH.new_zeros(())
    for u in range(n):
        for v in range(u + 1, n):
            across = functional.cosine_similarity(private_MBUH[u], private_MBUH[v], dim=-1).abs()
            total = total + masked_mean(across + own[u] + own[v], valid_BU)
            middle = (share[u] + share[v]) / 2
            parts = sum(
                p * (p.clamp(min=SMALLEST_SHARE) / middle.clamp(min=SMALLEST_SHARE)).log() for p in share[[u, v]]
            )
            total = total + parts.sum(dim=-1).mean() / 2
    return total
