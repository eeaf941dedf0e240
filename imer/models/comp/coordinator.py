"""The coordinator: how much each modality's branch counts, per utterance (ComP eq. 12–14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imer.batches.layout import Layout
from imer.models.comp.settings import CompSettings
from imer.models.products import Linear

SOFT_START = -2.0  # logit of a modality that is not observed, with `coordinator_mask = soft`


def may_speak(observed_MBU: Tensor, valid_BU: Tensor, layout: Layout, mask: str, *, causal: bool = False) -> Tensor:
    """Return bool [M, B, U]: which branches are heard.

    hard: observed ones. soft: also those of modalities that the dialogue has in some other utterance, since attention
    has filled them in from there; where attention is causal, from earlier ones. none: all, as published.
    """
    if mask == "hard":
        return observed_MBU
    if mask == "soft":
        in_dialogue = layout.mask_to_dialogues(observed_MBU)
        so_far = in_dialogue.cumsum(dim=2)
        heard = (so_far if causal else so_far[:, :, -1:].expand_as(so_far)) > 0
        return layout.to_rows(heard.unsqueeze(-1)).squeeze(-1) & valid_BU
    return valid_BU.expand_as(observed_MBU)


class Coordinator(nn.Module):
    """Branches [M, B, U, H] → weights [B, U, M]: 0 where silent, summing to the number that speak."""

    def __init__(self, n_modalities: int, settings: CompSettings) -> None:
        super().__init__()
        self.kind, self.mask, self.causal = settings.coordinator, settings.coordinator_mask, settings.causal
        width = settings.hidden
        if self.kind == "router":
            self.router = nn.Sequential(Linear(n_modalities * width, width), nn.GELU(), nn.Linear(width, n_modalities))
            for layer in (self.router[0], self.router[2]):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        soft = self.kind == "router" and self.mask == "soft"
        self.unobserved = nn.Parameter(torch.full((n_modalities,), SOFT_START)) if soft else None

    def forward(self, branches_MBUH: Tensor, observed_MBU: Tensor, valid_BU: Tensor, layout: Layout) -> Tensor:
        speaks_MBU = may_speak(observed_MBU, valid_BU, layout, self.mask, causal=self.causal)
        speaks_BUM = speaks_MBU.permute(1, 2, 0)
        if self.kind == "concat":
            return valid_BU.unsqueeze(-1).to(branches_MBUH.dtype).expand_as(speaks_BUM)
        number = speaks_BUM.to(branches_MBUH.dtype)
        if self.kind == "uniform":
            return number
        heard = branches_MBUH * speaks_MBU.unsqueeze(-1).to(branches_MBUH.dtype)
        logit_BUM = self.router(torch.cat(list(heard), dim=-1)).float()
        if self.unobserved is not None:
            logit_BUM = logit_BUM + torch.where(observed_MBU.permute(1, 2, 0), 0.0, self.unobserved)
        share = logit_BUM.masked_fill(~speaks_BUM, torch.finfo(logit_BUM.dtype).min).softmax(dim=-1)
        return torch.where(speaks_BUM, share, 0.0) * number.sum(dim=-1, keepdim=True)
