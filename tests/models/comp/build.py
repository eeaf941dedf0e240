"""Small ComP models and batches for the tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imer.batches.batch import Batch
from imer.models.base import ModelSpec
from imer.models.comp.model import Comp
from imer.models.comp.settings import CompSettings
from imer.models.heads.linear import LinearHead, LinearSettings

WIDTHS = {"audio": 5, "text": 7, "visual": 4, "gaze": 3}


def build(
    n_modalities: int = 3, *, task: str = "classification", head: dict[str, Any] | None = None, **settings: Any
) -> Comp:
    """Return a model without dropout whose prompts have something to say (they are silent in a fresh one)."""
    torch.manual_seed(3)
    modalities = dict(list(WIDTHS.items())[:n_modalities])
    spec = ModelSpec(modalities, task, 3 if task == "classification" else 1)
    values = {
        "hidden": 16,
        "heads": 2,
        "prompt_width": 4,
        "n_prototypes": 5,
        "dropout": 0.0,
        "input_dropout": 0.0,
        **settings,
    }
    comp = CompSettings(**values)
    model = Comp(spec, comp, LinearHead(spec, 16, LinearSettings(**{"dropout": 0.0, **(head or {})})))
    return model


def stir(model: Comp, seed: int = 0) -> Comp:
    """Move every parameter a little, so that nothing is at its special starting value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


def batch(
    model: Comp, *, dialogues: int = 4, length: int = 6, seed: int = 0, observed: float = 0.6, padded: bool = True
) -> Batch:
    """Return a random batch; dialogue b has length − b real utterances if `padded`."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    valid = torch.ones(dialogues, length, dtype=torch.bool)
    if padded:
        valid = torch.arange(length)[None] < (length - torch.arange(dialogues)[:, None]).clamp(min=1)
    features = {
        name: torch.randn(dialogues, length, width, generator=generator) for name, width in model.modalities.items()
    }
    classification = model.spec.task == "classification"
    target = (uniform(dialogues, length) * 3).long() if classification else uniform(dialogues, length) * 4 - 2
    return Batch(
        features=features,
        observed_BUM=(uniform(dialogues, length, len(features)) < observed) & valid.unsqueeze(-1),
        valid_BU=valid,
        target_BU=target,
        row_BU=torch.arange(dialogues * length).view(dialogues, length),
        speaker_BU=(uniform(dialogues, length) * 3).long(),
    )


def answers(model: Comp, given: Batch, **changes: Any) -> Tensor:
    """Return everything that a model says, joined: joint and branch answers and weights, [B, U, ·]."""
    values = {"features": given.features, "observed_BUM": given.observed_BUM, "valid_BU": given.valid_BU, **changes}
    with torch.no_grad():
        output = model(values["features"], values["observed_BUM"], values["valid_BU"], **_speakers(model, given))
    return torch.cat([output.joint_BUC, *output.branch.values(), output.weight_BUM], dim=-1)


def _speakers(model: Comp, given: Batch) -> dict[str, Tensor]:
    return {"speaker_BU": given.speaker_BU} if model.uses_speakers else {}
