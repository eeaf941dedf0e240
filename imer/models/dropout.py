"""Dropout whose masks cost little on a CPU.

PyTorch draws a random number per element there, which takes 15 % of the time that a small model trains. Eight elements
can share one random 64-bit word: a byte each, kept where it is not below a threshold. The probability is thereby rounded
to a multiple of 1/256; what is kept is scaled by the probability that it really has, so that the mean stays exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BYTE_VALUES = 256


class Dropout(nn.Module):
    """Zero each element with a probability in training; the identity in evaluation."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return functional.dropout(x, self.probability, self.training)
        return self.together(x)[0]

    def together(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Zero the same elements of each of these tensors of one shape."""
        if not self.training or self.probability == 0.0:
            return tensors
        first = tensors[0]
        if first.device.type != "cpu":
            factor = functional.dropout(torch.ones_like(first), self.probability)
        else:
            dropped = min(round(self.probability * BYTE_VALUES), BYTE_VALUES - 1)
            factor = keep(first.shape, dropped).to(first.dtype).mul_(BYTE_VALUES / (BYTE_VALUES - dropped))
        return tuple(x * factor for x in tensors)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


def keep(shape: torch.Size, dropped: int) -> Tensor:
    """Return uint8 of this shape, 0 with probability `dropped` / 256 and else 1, from the CPU's default generator.

    Not bool: PyTorch compares bytes in place forty times as fast as it turns them into truth values.
    """
    n = shape.numel()
    word = torch.iinfo(torch.int64)
    words = torch.empty((n + 7) // 8, dtype=torch.int64).random_(word.min, word.max)
    return words.view(torch.uint8)[:n].ge_(dropped).view(shape)
