"""Matrix products in bfloat16 while everything else stays in float32.

Inside `reduced_products`, what enters the products of linear layers and of attention is rounded to bfloat16 (8 bits of
precision), forward and backward, and their sums return as float32: weights, optimiser, norms, softmax, losses and what is
added up along a model keep their precision. On CPUs with AVX512-BF16 or AMX, and on GPUs, such a product takes half the
time or less. Only what is written with the functions and the layer of this module takes part: ComP and the linear head.

Shape suffixes: S stacked layers, N rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

ROW_STEP = 64  # oneDNN builds a kernel for every number of rows it meets, so few different ones are shown to it
_reduced: ContextVar[bool] = ContextVar("reduced_products", default=False)


@contextmanager
def reduced_products(on: bool = True) -> Iterator[None]:
    """Within: the products of this module are made in bfloat16, if `on`."""
    token = _reduced.set(on)
    try:
        yield
    finally:
        _reduced.reset(token)


def linear(x_SNI: Tensor, weight_SIO: Tensor, bias_S1O: Tensor | None) -> Tensor:
    """Return x @ weight + bias for S layers at once, [S, N, O]."""
    if _reduced.get():
        return _ReducedProduct.apply(x_SNI, weight_SIO, bias_S1O, ROW_STEP)
    if bias_S1O is None:
        return x_SNI @ weight_SIO
    return torch.baddbmm(bias_S1O, x_SNI, weight_SIO)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return [..., N, I] @ [..., I, O], with the same leading axes."""
    if not _reduced.get():
        return a @ b
    # Dialogues have few lengths, so that the rows may stay as many as they are.
    product: Tensor = _ReducedProduct.apply(a.flatten(0, -3), b.flatten(0, -3), None, 1)
    return product.view(*a.shape[:-1], b.shape[-1])


class Linear(nn.Linear):
    """`torch.nn.Linear` whose product is reduced with the others."""

    def forward(self, x: Tensor) -> Tensor:
        if not _reduced.get():
            return super().forward(x)
        bias_11O = None if self.bias is None else self.bias.view(1, 1, -1)
        y_1NO = linear(x.flatten(0, -2).unsqueeze(0), self.weight.t().unsqueeze(0), bias_11O)
        return y_1NO.view(*x.shape[:-1], self.out_features)


class _ReducedProduct(torch.autograd.Function):
    """x [S, N, I] @ weight [S, I, O] + bias [S, 1, O], or without bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, row_step: int) -> Tensor:
        ctx.row_step = row_step
        x_rounded, weight_rounded = _rounded(x, row_step), weight.bfloat16()
        ctx.save_for_backward(x_rounded, weight_rounded)
        y = torch.bmm(x_rounded, weight_rounded)[:, : x.shape[1]].float()
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        x_rounded, weight_rounded = ctx.saved_tensors
        rounded = _rounded(gradient, ctx.row_step)
        to_x = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = torch.bmm(rounded, weight_rounded.transpose(1, 2))[:, : gradient.shape[1]].float()
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(dim=1, keepdim=True)
        return to_x, torch.bmm(x_rounded.transpose(1, 2), rounded).float(), to_bias, None


def _rounded(x_SNW: Tensor, row_step: int) -> Tensor:
    """Return bfloat16 [S, N, W], with rows of zeros up to a multiple of `row_step`."""
    s, n, width = x_SNW.shape
    if n % row_step == 0:
        return x_SNW.bfloat16()
    rounded = x_SNW.new_empty((s, -(-n // row_step) * row_step, width), dtype=torch.bfloat16)
    rounded[:, :n] = x_SNW
    rounded[:, n:] = 0.0
    return rounded


def products_are_fast(device: torch.device) -> bool:
    """Say whether the device multiplies bfloat16 faster than float32."""
    if device.type != "cpu":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
