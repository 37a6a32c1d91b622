"""Dropout whose draws are counted, not remembered: the backward pass draws the same bits again.

Torch's `bernoulli_` takes 4.5 ns an element on a CPU, which was a quarter of a training step of 128 units; the formula
of `selfloop.language.random` takes half a nanosecond, and its bits depend on no thread. It is a pass of its own: drawn
where a recurrent kernel writes its output or reads its input, it takes as long (benchmarks/dropout.py).
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from numpy import ndarray as Array
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from selfloop.compiler import DROPOUT_BLOCK, dropout_code, host_target
from selfloop.errors import ArgumentError
from selfloop.kernels import memory, team
from selfloop.kernels.compiled import BITS
from selfloop.kernels.problem import are_plain, have_memory
from selfloop.kernels.random import bernoulli
from selfloop.kernels.refusals import UNSUPPORTED
from selfloop.kernels.relocations import Numbers
from selfloop.kernels.torch_internals import apply_of
from selfloop.language.random import threshold


def dropout(x: Tensor, rate: float | int) -> Tensor:
    """Some elements zero, the others multiplied by 1 / (1 - rate), as `torch.nn.functional.dropout` in training.

    The draws are seeded by torch's generator. Where there are no kernels, it is torch's function that draws.

    Args:
        x: of any shape.
        rate: the probability of zero, from 0 to 1.

    Raises:
        ArgumentError: the memory of `x` has been freed.

    >>> kept = dropout(torch.ones(1000), 0.5)
    >>> sorted(set(kept.tolist())), bool(400 < kept.sum() / 2 < 600)
    ([0.0, 2.0], True)
    """
    is_compiled = UNSUPPORTED is None and 0 < rate < 1 and x.dim() > 0 and are_plain((x,))
    if is_compiled and x.numel() and not have_memory((x,)):  # torch's own would end the process
        raise ArgumentError("The 'x' of dropout must have memory. Its storage has been freed.")
    if is_compiled and x.dtype is torch.bfloat16:  # for which torch takes 9 ns an element
        return dropout(x.float(), rate).bfloat16()
    if not is_compiled or x.dtype not in BITS:
        return F.dropout(x, rate)
    seed = int(torch.randint(2**31, (), device="cpu"))
    if torch.is_grad_enabled() and x.requires_grad:
        dropped: Tensor = _apply_dropout(x, rate, seed)
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


_apply_dropout = apply_of(_Dropout)


def _gradient(dy: Tensor, rate: float, seed: int) -> Tensor:
    if not are_plain((dy,)):  # batches of gradients, for which torch's operations are made
        size = dy.shape[-1]
        kept = bernoulli(torch.tensor(seed), 1 - rate, 0, False, 1, max(1, dy.numel() // max(1, size)), size)
        return dy * kept[0].view(dy.shape) / (1 - rate)
    if torch.is_grad_enabled() and dy.requires_grad:  # create_graph
        again: Tensor = _apply_dropout(dy, rate, seed)
        return again
    return _run(dy, rate, seed)


def _run(x: Tensor, rate: float, seed: int) -> Tensor:
    """The last axis is that of elements, all others are rows."""
    x = x.contiguous()
    y = memory.empty(x.shape, x.dtype)
    size = x.shape[-1]
    rows = x.numel() // max(1, size)
    known = _blocks(rows, size, rate, BITS[x.dtype], team.threads_for(x.numel()))
    blocks = known.numbers.copy()
    for place, value in zip(_OF_CALL, (x.data_ptr(), y.data_ptr(), seed), strict=True):
        blocks[:, place] = value
    team.run(_address(BITS[x.dtype]), blocks)
    return y


_OF_CALL = [DROPOUT_BLOCK.index(name) for name in ("x", "y", "seed")]


class _Blocks(NamedTuple):
    """The argument blocks of calls of one shape, and the number that they point to."""

    numbers: Int[Array, "threads _"]
    scale: Shaped[Array, "1"]


@lru_cache(maxsize=256)
def _blocks(rows: int, size: int, rate: float, bits: int, threads: int) -> _Blocks:
    scale = np.array([1 / (1 - rate)], f"f{bits // 8}")
    shares = team.shares(rows, threads)
    values: dict[str, int | Numbers] = {
        **{"begin": shares[:-1], "end": shares[1:], "size": size},
        **{"limit": threshold(1 - rate), "scale": scale.ctypes.data},
    }
    return _Blocks(team.argument_blocks(DROPOUT_BLOCK, threads, values), scale)


@lru_cache(maxsize=8)
def _address(bits: int) -> int:
    return dropout_code(bits, host_target()).address("dropout")
