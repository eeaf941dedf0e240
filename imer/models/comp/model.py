"""ComP put together.

Two stages: `branches` trains every modality's encoder, attention and head alone; `joint` trains everything, with
prompts between the modalities, the coordinator and the output head.

Shape suffixes: M modalities, B dialogues, U padded utterances, H hidden width, C outputs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imer.batches.batch import Batch
from imer.batches.layout import Layout, Padded
from imer.models.base import BRANCHES, JOINT, ModelOutput, ModelSpec
from imer.models.comp.attention import Reading, readable
from imer.models.comp.coordinator import Coordinator
from imer.models.comp.encoder import Decoder, Encoder
from imer.models.comp.positions import Positions
from imer.models.comp.prompts import Exchange, PromptGenerator
from imer.models.comp.propagation import PropagationBlock
from imer.models.comp.prototypes import BatchPrototypes, Prototypes
from imer.models.comp.regulator import InstanceWeights, branch_errors, instance_weights, regulated_share
from imer.models.comp.settings import CompSettings
from imer.models.comp.stacked import StackedLinear
from imer.models.heads.base import Head, HeadInput
from imer.models.inputs import visible
from imer.models.losses import TaskLoss, masked_mean

_UNDECAYED = frozenset({
    "missing", "bank", "pool_query", "pool_gain", "log_sharpness", "unobserved", "prompt_key", "prompt_value",
})  # fmt: skip


class Comp(nn.Module):
    """ComP over M ≥ 2 modalities; T = 1 (single utterances) is an ordinary case."""

    Settings: ClassVar[type] = CompSettings
    branch_stages: ClassVar[tuple[str, ...]] = (BRANCHES,)
    usual_members: ClassVar[int] = 3
    least_modalities: ClassVar[int] = 2

    def __init__(self, spec: ModelSpec, settings: CompSettings, head: Head) -> None:
        super().__init__()
        n = len(spec.modalities)
        self.spec, self.settings, self.modalities = spec, settings, dict(spec.modalities)
        self.uses_speakers = settings.speaker_embedding
        self.prompts = settings.prompts and settings.blocks > 0
        self.batch_dependent = self.prompts and settings.prototypes == "batch"
        self.most_utterances = settings.longest_dialogue if self.batch_dependent else None
        # Prototypes of a dialogue or a batch look at the padded table itself.
        self.reads_packed = not self.prompts or settings.prototypes == "bank"
        self.stages = (BRANCHES, JOINT) if settings.stage1 else (JOINT,)
        self.encoder = Encoder(self.modalities, settings)
        self.decoder = Decoder(self.modalities, settings) if self._reconstructs() else None
        self.positions = Positions(n, settings)
        last = settings.blocks - 1
        self.blocks = nn.ModuleList(PropagationBlock(n, settings, last=i == last) for i in range(settings.blocks))
        self.branch_heads = StackedLinear(n, settings.hidden, spec.n_outputs)
        if self.prompts:
            self.prototypes = (
                BatchPrototypes(n, settings) if settings.prototypes == "batch" else Prototypes(n, settings)
            )
            self.generators = nn.ModuleList(PromptGenerator(n, settings) for _ in range(settings.blocks))
            self.exchange = Exchange(n, settings.prompt_aggregation)
        self.coordinator = Coordinator(n, settings)
        self.head = head
        self.bank_weights = InstanceWeights()
        self.watched: dict[str, Tensor] = {}
        self.task_loss = TaskLoss(spec.task, spec.class_weights, settings.label_smoothing, settings.regression_loss)

    def _reconstructs(self) -> bool:
        s = self.settings
        return (s.stage1 and s.reconstruction_weight > 0) or s.reconstruction_weight_joint > 0

    def forward(
        self,
        features: dict[str, Tensor],
        observed_BUM: Tensor,
        valid_BU: Tensor,
        *,
        stage: str | None = None,
        speaker_BU: Tensor | None = None,
        layout: Layout | None = None,
    ) -> ModelOutput:
        """Answer every utterance of the batch; what stands in slots that are not observed is never read.

        With the layout of a packed batch B is 1 and U the number of its real utterances.
        """
        layout = layout or Padded(valid_BU)
        self.bank_weights.value = None
        observed_MBU = (observed_BUM & valid_BU.unsqueeze(-1)).permute(2, 0, 1)
        reading = readable(observed_MBU, layout, self.settings)
        # Where magnitudes tell nothing, stage 1 keeps an epoch that gives them little weight; stage 2 learns them by heart.
        settled = self.settings.stage1 and stage != BRANCHES
        branches, encoded = self.encoder(features, observed_MBU, settled=settled)
        branches = self.positions(branches, layout, speaker_BU)
        if stage == BRANCHES:
            for block in self.blocks:
                branches = block.attend(branches, reading)
        else:
            branches = self._propagate(branches, observed_MBU, reading)
        answers_MBUC = self.branch_heads(branches)
        output = ModelOutput(
            joint_BUC=answers_MBUC.mean(dim=0),
            branch=dict(zip(self.modalities, answers_MBUC, strict=True)),
            extra={"branches": branches, "answers": answers_MBUC},
        )
        if self.decoder is not None and self.training and self._reconstruction_weight(stage) > 0:
            output.reconstruction = self.decoder(encoded)
        if stage != BRANCHES:
            weight_BUM = self.coordinator(branches, observed_MBU, valid_BU, layout)
            head_output = self.head(HeadInput(branches, observed_MBU.permute(1, 2, 0), weight_BUM, answers_MBUC))
            output.joint_BUC, output.fused_BUH = head_output.answer_BUC, head_output.fused_BUH
            output.weight_BUM = weight_BUM
            output.extra["head"] = head_output
            if head_output.branch_MBUC is not None:
                output.extra["answers"] = head_output.branch_MBUC
                output.branch = dict(zip(self.modalities, head_output.branch_MBUC, strict=True))
        return output

    def _propagate(self, branches: Tensor, observed_MBU: Tensor, reading: Reading) -> Tensor:
        """Blocks of prompt generation and propagation (ComP eq. 3–9)."""
        received: Tensor | None = None
        prototypes = self.prototypes(branches, observed_MBU) if self.prompts else None
        momentum = self.settings.prompt_momentum
        for number, block in enumerate(self.blocks):
            if prototypes is not None:
                new = self.exchange(self.generators[number](branches, prototypes, self.bank_weights))
                mixed = new if received is None else momentum * received + (1.0 - momentum) * new
                sends = torch.ones_like(observed_MBU) if self.settings.prompts_from_missing else observed_MBU
                received = self.exchange.silence_missing(mixed, sends)
            branches, received = block(branches, received, reading)
        return branches

    def _reconstruction_weight(self, stage: str | None) -> float:
        s = self.settings
        return s.reconstruction_weight if stage == BRANCHES else s.reconstruction_weight_joint

    def losses(self, output: ModelOutput, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Return the loss terms of a stage; for the joint one also set the regulator's weights (before backward)."""
        counted_BU = batch.labelled_BU
        observed_MBU = (batch.observed_BUM & batch.valid_BU.unsqueeze(-1)).permute(2, 0, 1)
        terms: dict[str, Tensor] = {}
        if stage == JOINT:
            terms.update(self.head.losses(output.extra["head"], batch.target_BU, counted_BU))
            self._regulate(output, batch, observed_MBU)
        weight = 1.0 if stage == BRANCHES else self.settings.branch_weight
        if weight > 0:
            by_head = stage == JOINT and output.extra["head"].branch_MBUC is not None
            everywhere = stage == JOINT and self.settings.branch_loss_on_missing and not by_head
            for u, (name, answer_BUC) in enumerate(output.branch.items()):
                counted = counted_BU if everywhere else counted_BU & observed_MBU[u]
                terms[f"branch_{name}"] = weight * self.task_loss(answer_BUC, batch.target_BU, counted)
        rebuild = self._reconstruction_weight(stage)
        for u, (name, rebuilt_BUD) in enumerate(output.reconstruction.items()):
            here = observed_MBU[u]
            wanted = visible(batch.features[name], here, self.settings.clip_z)
            terms[f"rebuild_{name}"] = rebuild * masked_mean((rebuilt_BUD - wanted).square().mean(dim=-1), here)
        return terms

    def _regulate(self, output: ModelOutput, batch: Batch, observed_MBU: Tensor) -> None:
        if self.settings.regulator == "off" or not self.prompts:
            return
        counted_BU = batch.labelled_BU
        errors = branch_errors(output.extra["answers"].detach(), batch.target_BU, counted_BU, self.spec.task)
        weights = instance_weights(errors, observed_MBU, counted_BU, self.settings)
        self.bank_weights.value = weights
        self.watched = {"regulated": regulated_share(weights, observed_MBU & counted_BU)}

    def undecayed(self) -> set[str]:
        """Names of parameters without weight decay, besides biases and norms: tokens, banks, temperatures."""
        ours = {name for name, _ in self.named_parameters() if name.rpartition(".")[2] in _UNDECAYED}
        return ours | {f"head.{name}" for name in self.head.undecayed}

    def modality_state(self, u: int) -> dict[str, Tensor]:
        """Return views of everything that belongs to modality u alone in the first stage, by name."""
        name_u = list(self.modalities)[u]
        stacked = (
            "encoder.update.",
            "encoder.missing",
            "blocks.",
            "branch_heads.",
            "positions.bias",
            "positions.speaker",
        )
        own = tuple(
            f"{layers}.{name_u}."
            for layers in ("encoder.enter", "encoder.magnitudes", "decoder.inner", "decoder.leave")
        )
        state: dict[str, Tensor] = {}
        for name, parameter in self.named_parameters():
            if name.startswith(own):
                state[name] = parameter.data
            elif name == "positions.kernel":
                state[name] = parameter.data[:, u]
            elif name.startswith(stacked):
                state[name] = parameter.data[u]
        return state

    def start_stage(self, stage: str, given: dict[str, Any]) -> None:
        """Be told that a stage begins, with the branches of all labelled training utterances (see `training`)."""
        if stage != JOINT:
            return
        self.head.start(given["branches_MNH"], given["observed_NM"], given["target_N"])
        if self.prompts and self.settings.bank_start == "kmeans" and isinstance(self.prototypes, Prototypes):
            self.prototypes.start_at_means(given["branches_MNH"], given["observed_NM"])
