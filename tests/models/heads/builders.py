"""Small heads and random features for the tests of the prototype head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from imer.core.ranges import declared
from imer.models.base import ModelSpec
from imer.models.heads.base import HeadInput
from imer.models.heads.decoupled import DecoupledPrototypes
from imer.models.heads.dpl import DPLHead
from imer.models.heads.dpl_settings import DPLSettings
from imer.models.heads.prototypes import Prototypes, unit

MODALITIES = ("audio", "text", "visual")
SHARING = declared(DPLSettings)["sharing"]
PLAIN = DPLSettings(
    sharing="full",
    absent="zero",
    initial="xavier",
    label_smoothing=0.0,
    contrast_weight=0.0,
    delta_penalty=0.0,
    refine=False,
    learn_scale="never",
)


def comparer(
    widths: tuple[int, ...] = (12, 12, 12), n_classes: int = 4, seed: int = 0, **settings: Any
) -> DecoupledPrototypes:
    torch.manual_seed(seed)
    names = ("audio", "text", "visual", "gaze", "heart")[: len(widths)]
    return DecoupledPrototypes(names, dict(zip(names, widths, strict=True)), n_classes, replace(PLAIN, **settings))


def head(task: str = "classification", n_outputs: int = 4, width: int = 12, seed: int = 0, **settings: Any) -> DPLHead:
    torch.manual_seed(seed)
    n_outputs = n_outputs if task == "classification" else 1
    spec = ModelSpec(dict.fromkeys(MODALITIES, 5), task, n_outputs, target_range=(-3.0, 3.0))
    return DPLHead(spec, width, replace(PLAIN, **settings))


def features(comparing: DecoupledPrototypes, *shape: int, seed: int = 1) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*shape, width, generator=drawn) for name, width in comparing.prototypes.blocks.items()}


def all_directions(table: Prototypes) -> list[tuple[int, str, Tensor]]:
    """Every (case, block, unit vectors [K, d_u])."""
    return [
        (code, block, direction_KD)
        for block in table.blocks
        for code, direction_KD in zip(table.case_codes(block).tolist(), unit(table.vectors(block)), strict=True)
    ]


def every_case(n_modalities: int = 3, times: int = 3) -> Tensor:
    """bool [(2^M − 1) · times, M]: every non-empty case, several times."""
    codes = torch.arange(1, 1 << n_modalities).repeat(times)
    return (codes.unsqueeze(1) >> torch.arange(n_modalities)) & 1 == 1


def given(width: int = 12, seed: int = 2, observed: Tensor | None = None, n_outputs: int = 4) -> HeadInput:
    """One dialogue that holds every case three times."""
    observed_BUM = (every_case() if observed is None else observed).unsqueeze(0)
    drawn = torch.Generator().manual_seed(seed)
    branches = torch.randn(3, *observed_BUM.shape[:2], width, generator=drawn)
    return asking(branches, observed_BUM, n_outputs)


def asking(branches_MBUH: Tensor, observed_BUM: Tensor, n_outputs: int = 4) -> HeadInput:
    """The given branches under a coordinator that weighs all alike."""
    silent = torch.zeros(*branches_MBUH.shape[:3], n_outputs)
    return HeadInput(branches_MBUH, observed_BUM, observed_BUM.float(), silent)
