"""A mixture of modality experts with a soft router, after MoMKE (ACM MM 2024), written from its description.

Two stages. `branches` trains one expert per modality on its own modality. In `joint` every observed modality goes
through all experts, and a router weighs what they make of it; a modality that is not observed is silent. The head
reads the mixtures.

Shape suffixes: K experts (as many as modalities), M modalities, B dialogues, U padded utterances, H hidden width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from imer.models.base import BRANCHES, JOINT, ModelSpec
from imer.models.baselines.common import JointSequenceSettings
from imer.models.baselines.dialogue import DialogueEncoder
from imer.models.baselines.joint import JointNetwork
from imer.models.heads.base import Head


class Momke(JointNetwork):
    """Experts per modality, shared by all modalities through routers."""

    Settings: ClassVar[type] = JointSequenceSettings
    stages: ClassVar[tuple[str, ...]] = (BRANCHES, JOINT)
    branch_stages: ClassVar[tuple[str, ...]] = (BRANCHES,)

    def __init__(self, spec: ModelSpec, settings: JointSequenceSettings, head: Head) -> None:
        super().__init__(spec, settings, head, settings.branch_weight)
        n, width = len(self.modalities), settings.hidden
        self.experts = nn.ModuleDict({name: DialogueEncoder(settings) for name in self.modalities})
        self.routers = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, n)) for name in self.modalities}
        )

    def read(self, own_MBUH: Tensor, valid_BU: Tensor, stage: str | None) -> tuple[Tensor, Tensor]:
        if stage == BRANCHES:
            experts = self.experts.values()
            branches = torch.stack([encode(h_BUH, valid_BU) for encode, h_BUH in zip(experts, own_MBUH, strict=True)])
        else:
            branches = self._mixture(own_MBUH, valid_BU)
        return branches, branches

    def _mixture(self, own_MBUH: Tensor, valid_BU: Tensor) -> Tensor:
        """Send every modality through every expert and mix by the routers: [M, B, U, H]."""
        m = own_MBUH.shape[0]
        stacked = own_MBUH.flatten(0, 1)  # [M·B, U, H]
        valid = valid_BU.repeat(m, 1)
        made_MBUHK = torch.stack([encode(stacked, valid).view_as(own_MBUH) for encode in self.experts.values()], dim=-1)
        logit = [route(h_BUH) for route, h_BUH in zip(self.routers.values(), own_MBUH, strict=True)]
        share_MBUK = torch.stack(logit).softmax(dim=-1)
        return (made_MBUHK * share_MBUK.unsqueeze(-2)).sum(dim=-1)

    def modality_state(self, u: int) -> dict[str, Tensor]:
        """Return views of everything that belongs to modality u alone in the first stage, by name."""
        name_u = list(self.modalities)[u]
        own = (f"entrance.enter.{name_u}.", f"experts.{name_u}.", f"branch_heads.{name_u}.")
        state = {name: p.data for name, p in self.named_parameters() if name.startswith(own)}
        return {**state, "entrance.missing": self.entrance.missing.data[u]}
