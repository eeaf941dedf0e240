"""Missing-aware prompts: learned rows that attention reads according to which modalities the reader has.

In a dialogue every utterance has its own set of observed modalities, so a prompt before the whole sequence would be
ill-defined. Attention-level prompts are not: each query reads, beside the dialogue's rows, the prompts of its own set
(missing-aware prompts, attention-level) or those of its observed modalities (modality prompts, which grow linearly
and answer sets never trained). All prompts stand behind the keys, and the mask says which of them a query may read.

These prompts carry the identity of the case; ComP's own carry what the other modalities say. They are a separate
factor and off by default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imer.models.cases import CaseTable


def n_owners(n_modalities: int, kind: str) -> int:
    """Return how many sets of prompts there are: 2^M − 1 cases, or M modalities."""
    return (1 << n_modalities) - 1 if kind == "case" else n_modalities


def admit_prompts(allowed_MBQK: Tensor, observed_MBU: Tensor, kind: str, length: int) -> Tensor:
    """Add the prompts' columns to what each row may read: [M, B, 1 or U, U] → [M, B, U, U + owners · length].

    An utterance with nothing observed reads none.
    """
    observed_BUM = observed_MBU.permute(1, 2, 0)
    owner_BUO = observed_BUM
    if kind == "case":
        table = CaseTable(tuple(str(u) for u in range(len(observed_MBU))))
        codes = torch.arange(1, table.n_cases, device=observed_MBU.device)
        owner_BUO = table.codes(observed_BUM).unsqueeze(-1) == codes
    prompts_BUP = owner_BUO.repeat_interleave(length, dim=-1)
    n, n_utterances = len(observed_MBU), observed_MBU.shape[2]
    rows = allowed_MBQK.expand(-1, -1, n_utterances, -1)
    return torch.cat((rows, prompts_BUP.unsqueeze(0).expand(n, -1, -1, -1)), dim=-1)


class MissingAwarePrompts(nn.Module):
    """The prompts of one attention layer: keys and values [M, owners · length, H].

    Values start at 0: at first a prompt only takes a share of the attention.
    """

    def __init__(self, n_modalities: int, width: int, heads: int, kind: str, length: int) -> None:
        super().__init__()
        rows = n_owners(n_modalities, kind) * length
        self.heads = heads
        self.prompt_key = nn.Parameter(torch.randn(n_modalities, rows, width) * width**-0.5)
        self.prompt_value = nn.Parameter(torch.zeros(n_modalities, rows, width))

    def _by_head(self, rows_MPH: Tensor) -> Tensor:
        m, p, h = rows_MPH.shape
        return rows_MPH.view(m, p, self.heads, h // self.heads).transpose(1, 2).unsqueeze(1)

    def scores(self, query: Tensor) -> Tensor:
        """Return the unscaled scores of queries [M, B, heads, U, H / heads]: [M, B, heads, U, P]."""
        return query @ self._by_head(self.prompt_key).transpose(-1, -2)

    def read(self, share: Tensor) -> Tensor:
        """Return the values mixed by shares [M, B, heads, U, P]: [M, B, heads, U, H / heads]."""
        return share @ self._by_head(self.prompt_value)
