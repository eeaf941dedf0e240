"""Cases that training met rarely or never, and what stands in for their prototypes.

A case with fewer than `minimum` training utterances uses, in every block, the prototype of its smallest trained
superset (what the block looks like with a little more company); without one, the mean of the block's trained cases;
without those, the direction that all cases share. Nothing ever falls back on a prototype that was never trained, as
long as anything was.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imer.models.cases import CaseTable


def substitutes(count_C: Tensor, codes_R: Tensor, minimum: int, *, has_base: bool) -> Tensor:
    """Return which prototypes each row of a block uses, as weights: float32 [R, R + 1].

    count_C   training utterances per case code
    codes_R   the cases behind the block's rows
    has_base  whether the last column, the direction shared by all cases, exists

    A row's weights sum to 1, and a trained row uses itself.
    """
    n_rows = len(codes_R)
    trained = [int(count_C[code]) >= minimum for code in codes_R.tolist()]
    weights = torch.zeros(n_rows, n_rows + 1)
    for row, code in enumerate(codes_R.tolist()):
        supersets = [
            (other.bit_count(), -int(count_C[other]), other, r)
            for r, other in enumerate(codes_R.tolist())
            if trained[r] and other & code == code
        ]
        if trained[row]:
            weights[row, row] = 1.0
        elif supersets:
            weights[row, min(supersets)[-1]] = 1.0
        elif any(trained):
            weights[row, :n_rows] = torch.tensor(trained).float() / sum(trained)
        else:
            weights[row, n_rows if has_base else row] = 1.0
    return weights.to(count_C.device)


def rare_cases(cases: CaseTable, count_C: Tensor, minimum: int) -> list[str]:
    """Return the names of the non-empty cases with fewer than `minimum` training utterances."""
    return [cases.name(code) for code in range(1, cases.n_cases) if int(count_C[code]) < minimum]
