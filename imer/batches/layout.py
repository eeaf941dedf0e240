"""Padded or packed: where the utterances of a batch stand while a model works on them.

Most of a model treats every utterance by itself and need not touch padding at all. A packed batch is therefore one long
row of its N real utterances, [M, 1, N, W] instead of [M, B, U, W]; only what looks along a dialogue moves to the padded
table for a moment and comes back. A model asks its layout to move and does not know which of the two it has.

All moves are gathers, backward too: where padding stands for an utterance its gradient is 0, so nothing is ever summed.

Shape suffixes: M modalities, B dialogues, U padded utterances, N real ones, R rows of the layout ([1, N] or [B, U]),
W any width, P parts, K heads.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Layout(Protocol):
    """What a model asks for. `valid_BU` tells which slots of the padded table are real utterances.

    What stands at padding after a move is finite but means nothing, and must have no part in what is moved back.
    """

    valid_BU: Tensor

    def to_dialogues(self, x_MRW: Tensor) -> Tensor:
        """[M, rows, W] → [M, B, U, W]."""
        ...

    def mask_to_dialogues(self, mask_MR: Tensor) -> Tensor:
        """bool [M, rows] → [M, B, U], false at padding."""
        ...

    def to_rows(self, x_MBUW: Tensor) -> Tensor:
        """[M, B, U, W] → [M, rows, W]."""
        ...

    def split_heads(self, x_MRW: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        """[M, rows, parts · heads · w] → as many tensors [M, B, heads, U, w] as there are parts."""
        ...

    def join_heads(self, x_MBKUW: Tensor) -> Tensor:
        """[M, B, heads, U, w] → [M, rows, heads · w]."""
        ...


class Padded:
    """The rows are the padded table itself: nothing moves."""

    def __init__(self, valid_BU: Tensor) -> None:
        self.valid_BU = valid_BU

    def to_dialogues(self, x_MRW: Tensor) -> Tensor:
        return x_MRW

    def mask_to_dialogues(self, mask_MR: Tensor) -> Tensor:
        return mask_MR & self.valid_BU

    def to_rows(self, x_MBUW: Tensor) -> Tensor:
        return x_MBUW

    def split_heads(self, x_MRW: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        m, b, u, w = x_MRW.shape
        return x_MRW.view(m, b, u, parts, heads, w // (parts * heads)).permute(3, 0, 1, 4, 2, 5).unbind(0)

    def join_heads(self, x_MBKUW: Tensor) -> Tensor:
        return x_MBKUW.transpose(2, 3).flatten(3)


class Packed:
    """The rows are the N real utterances, dialogue by dialogue.

    The tables of indices are made where the batch is, from three short ones, and kept: every layer of a model uses
    the same.
    """

    def __init__(self, valid_BU: np.ndarray, device: torch.device | str = "cpu") -> None:
        self.shape, self.n = valid_BU.shape, int(valid_BU.sum())
        flat_S = valid_BU.reshape(-1)
        row_S = np.where(flat_S, np.cumsum(flat_S) - 1, 0)  # of padding, the first utterance
        self.row_BU = torch.from_numpy(row_S.reshape(self.shape)).to(device)
        self.slot_N = torch.from_numpy(np.flatnonzero(flat_S)).to(device)
        self.padding_S = torch.from_numpy(np.flatnonzero(~flat_S)).to(device)
        self._kept: dict[tuple[Any, ...], tuple[Tensor, Tensor, Tensor]] = {}

    @cached_property
    def valid_BU(self) -> Tensor:
        valid_S = torch.ones(self.shape, dtype=torch.bool, device=self.row_BU.device).flatten()
        return valid_S.index_fill_(0, self.padding_S, False).view(self.shape)

    def to_dialogues(self, x_MRW: Tensor) -> Tensor:
        moved = _gather(x_MRW.flatten(0, 2), *self._way(len(x_MRW), 1, 1)[:2])
        return moved.view(len(x_MRW), *self.shape, x_MRW.shape[-1])

    def mask_to_dialogues(self, mask_MR: Tensor) -> Tensor:
        return mask_MR[:, 0].index_select(1, self.row_BU.flatten()).view(-1, *self.shape) & self.valid_BU

    def to_rows(self, x_MBUW: Tensor) -> Tensor:
        there, back, padding = self._way(len(x_MBUW), 1, 1)
        return _gather(x_MBUW.flatten(0, 2), back, there, padding).view(len(x_MBUW), 1, self.n, x_MBUW.shape[-1])

    def split_heads(self, x_MRW: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
        m, width = len(x_MRW), x_MRW.shape[-1] // (parts * heads)
        moved = _gather(x_MRW.view(-1, width), *self._way(m, parts, heads)[:2])
        b, u = self.shape
        return moved.view(parts, m, b, heads, u, width).unbind(0)

    def join_heads(self, x_MBKUW: Tensor) -> Tensor:
        m, _, heads, _, width = x_MBKUW.shape
        there, back, padding = self._way(m, 1, heads)
        return _gather(x_MBKUW.reshape(-1, width), back, there, padding).view(m, 1, self.n, heads * width)

    def _way(self, m: int, parts: int, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the index that takes [M, N, P, K] to [P, M, B, K, U], the one that takes it back, and the padding."""
        if (m, parts, heads) not in self._kept:
            (b, u), device = self.shape, self.row_BU.device
            modality, part, head = (torch.arange(size, device=device) for size in (m, parts, heads))
            there = _index(
                (modality[:, None, None, None], m), (self.row_BU[:, None], self.n), (part.view(-1, 1, 1, 1, 1), parts),
                (head[:, None], heads),
            )  # fmt: skip

            def slots(slot: Tensor) -> Tensor:  # where [M, slots, P, K] stand in [P, M, B, K, U]
                slot = slot[:, None, None]
                dialogue = torch.div(slot, u, rounding_mode="floor")
                first = modality[:, None, None, None]
                return _index((part[:, None], parts), (first, m), (dialogue, b), (head, heads), (slot % u, u))

            self._kept[m, parts, heads] = there, slots(self.slot_N), slots(self.padding_S)
        return self._kept[m, parts, heads]


def _index(*coordinates: tuple[Tensor, int]) -> Tensor:
    """Return flat indices from coordinates along axes of these sizes."""
    index = torch.zeros((), dtype=torch.int64, device=coordinates[0][0].device)
    for coordinate, size in coordinates:
        index = index * size + coordinate
    return index.flatten()


class _Gather(torch.autograd.Function):
    """Rows by index; the gradient goes back by the other index, and is 0 at `blank`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, there: Tensor, back: Tensor, blank: Tensor | None) -> Tensor:
        ctx.back, ctx.blank = back, blank
        return rows.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        returned = gradient.index_select(0, ctx.back)
        if ctx.blank is not None:
            returned.index_fill_(0, ctx.blank, 0.0)
        return returned, None, None, None


def _gather(rows: Tensor, there: Tensor, back: Tensor, blank: Tensor | None = None) -> Tensor:
    if torch.is_grad_enabled() and rows.requires_grad:
        return _Gather.apply(rows, there, back, blank)
    return rows.index_select(0, there)
