"""Dropout whose draws are counted, not remembered: the backward pass draws the same bits again.

Torch's `bernoulli_` takes 4.5 ns an element on a CPU, which was a quarter of a training step of 128 units; the formula
of `selfloop.language.random` takes a tenth of a nanosecond, and its bits depend on no thread.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from selfloop.compiler import DROPOUT_BLOCK, dropout_code, host_target
from selfloop.kernels import memory, team
from selfloop.kernels.command_buffer import Numbers
from selfloop.kernels.plans import BITS
from selfloop.kernels.problem import are_plain
from selfloop.kernels.random import bernoulli
from selfloop.kernels.refusals import UNSUPPORTED
from selfloop.language.random import threshold


def dropout(x: Tensor, rate: float | int) -> Tensor:
    """Some elements zero, the others multiplied by 1 / (1 - rate), as `torch.nn.functional.dropout` in training.

    The draws are seeded by torch's generator. Where there are no kernels, it is torch's function that draws.

    Args:
        x: of any shape.
        rate: the probability of zero, from 0 to 1.

    >>> kept = dropout(torch.ones(1000), 0.5)
    >>> sorted(set(kept.tolist())), bool(400 < kept.sum() / 2 < 600)
    ([0.0, 2.0], True)
    """
    is_compiled = UNSUPPORTED is None and 0 < rate < 1 and x.dim() > 0 and are_plain((x,))
    if is_compiled and x.dtype is torch.bfloat16:  # for which torch takes 9 ns an element
        return dropout(x.float(), rate).bfloat16()
    if not is_compiled or x.dtype not in BITS:
        return F.dropout(x, rate)
    seed = int(torch.randint(2**31, (), device="cpu"))
    if torch.is_grad_enabled() and x.requires_grad:
        dropped: Tensor = _Dropout.apply(x, rate, seed)  # type: ignore[no-untyped-call]
        return dropped
    return _run(x, rate, seed)


class _Dropout(Function):
    """Dropout with its gradient, which is dropout with the same seed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float, seed: int) -> Tensor:
        ctx.drawn = rate, seed
        return _run(x.detach(), rate, seed)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _gradient(dy, *ctx.drawn), None, None


def _gradient(dy: Tensor, rate: float, seed: int) -> Tensor:
    if not are_plain((dy,)):  # batches of gradients, for which torch's operations are made
        size = dy.shape[-1]
        kept = bernoulli(torch.tensor(seed), 1 - rate, 0, False, 1, max(1, dy.numel() // max(1, size)), size)
        return dy * kept[0].view(dy.shape) / (1 - rate)
    if torch.is_grad_enabled() and dy.requires_grad:  # create_graph
        again: Tensor = _Dropout.apply(dy, rate, seed)  # type: ignore[no-untyped-call]
        return again
    return _run(dy, rate, seed)


def _run(x: Tensor, rate: float, seed: int) -> Tensor:
    """The last axis is that of elements, all others are rows."""
    x = x.contiguous()
    y = memory.empty(x.shape, x.dtype)
    size = x.shape[-1]
    rows = x.numel() // max(1, size)
    threads = team.threads_for(x.numel())
    scale = np.array([1 / (1 - rate)], np.float32 if BITS[x.dtype] == 32 else np.float64)
    shares = team.shares(rows, threads)
    values: dict[str, int | Numbers] = {
        **{"begin": shares[:-1], "end": shares[1:], "size": size, "x": x.data_ptr(), "y": y.data_ptr()},
        **{"seed": seed, "limit": threshold(1 - rate), "scale": scale.ctypes.data},
    }
    team.run(_address(BITS[x.dtype]), team.argument_blocks(DROPOUT_BLOCK, threads, values))
    return y


@lru_cache(maxsize=8)
def _address(bits: int) -> int:
    return dropout_code(bits, host_target()).address("dropout")
