"""The case of an utterance: which of the M modalities are observed, as one number.

case(O) = Σ_u 2^u · [u ∈ O], so 1 … 2^M − 1; case 0 (nothing observed) cannot be scored. The table is shared by
everything that keeps one set of weights per case: the decoupled prototypes and the missing-aware prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from imer.core.errors import UsageError, did_you_mean

MOST_MODALITIES = 12  # 2^M cases are kept: beyond this the tables stop being small


@dataclass(frozen=True)
class CaseTable:
    """The 2^M cases of an ordered set of modalities.

    >>> table = CaseTable(("audio", "text", "visual"))
    >>> table.name(5)
    'audio+visual'
    >>> table.code_of("visual+audio")
    5
    """

    modalities: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.modalities) <= MOST_MODALITIES:
            raise UsageError(
                f"One set of weights per observed set needs 1 to {MOST_MODALITIES} modalities, "
                f"but there are {len(self.modalities)}."
            )

    @property
    def n_cases(self) -> int:
        """The number of codes, 2^M: the empty case 0 included."""
        return 1 << len(self.modalities)

    @cached_property
    def members_CM(self) -> Tensor:
        """bool [2^M, M]: whether the case holds the modality."""
        codes = torch.arange(self.n_cases).unsqueeze(1)
        return (codes >> torch.arange(len(self.modalities))) & 1 == 1

    def codes(self, observed: Tensor) -> Tensor:
        """Return the case of each utterance: bool [..., M] → int64 [...]."""
        powers = torch.tensor([1 << u for u in range(len(self.modalities))], device=observed.device)
        return (observed.long() * powers).sum(-1)

    def name(self, code: int) -> str:
        """Return a case's name: its modalities joined by '+', or 'none'."""
        return "+".join(m for u, m in enumerate(self.modalities) if code >> u & 1) or "none"

    def code_of(self, name: str) -> int:
        """Return the code of a case named like 'audio+text', in any order.

        Raises UsageError for a modality that is not in the table.
        """
        code = 0
        for part in (p.strip() for p in name.split("+")):
            if part not in self.modalities:
                raise UsageError(
                    f"The case {name!r} names the modality {part!r}; {did_you_mean(part, self.modalities)}"
                )
            code |= 1 << self.modalities.index(part)
        return code

    def per_case(self, complete: float, single: float, named: Mapping[str, float]) -> Tensor:
        """Return one value per case, float32 [2^M], that depends on how much is missing.

        The value is `complete` with all modalities observed and `single` with one, linear in their number between
        (the published rule with more than two modalities); `named` overrides single cases.
        """
        n_modalities = len(self.modalities)
        missing = n_modalities - self.members_CM.sum(1).clamp(min=1)
        values = complete + (single - complete) * missing.float() / max(1, n_modalities - 1)
        for name, value in named.items():
            values[self.code_of(name)] = value
        return values
