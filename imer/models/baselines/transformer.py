"""The masked transformer: all modalities of an utterance as one token, attention over the whole dialogue, and the
branches' own answers added.

Each modality's branch is what it says itself plus what the dialogue says about the utterance, so that every output
head can read it.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from imer.models.base import ModelSpec
from imer.models.baselines.common import JointSequenceSettings
from imer.models.baselines.dialogue import DialogueEncoder
from imer.models.baselines.joint import JointNetwork
from imer.models.heads.base import Head


class Transformer(JointNetwork):
    """Encode each modality, add them up, attend over the dialogue, answer."""

    Settings: ClassVar[type] = JointSequenceSettings

    def __init__(self, spec: ModelSpec, settings: JointSequenceSettings, head: Head) -> None:
        super().__init__(spec, settings, head, settings.branch_weight)
        self.encoder = DialogueEncoder(settings)

    def read(self, own_MBUH: Tensor, valid_BU: Tensor, stage: str | None) -> tuple[Tensor, Tensor]:
        return own_MBUH + self.encoder(own_MBUH.sum(dim=0), valid_BU), own_MBUH
