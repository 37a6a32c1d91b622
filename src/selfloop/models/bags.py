"""Sums of rows of a table, with a gradient that visits each row once."""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

_HALF = 32


def sums_of_bags(
    table: Float[Tensor, "V I"], rows: Int[Tensor, " N"], starts: Int[Tensor, " B"], sparse: bool
) -> Float[Tensor, "B I"]:
    """The sum of the rows of each bag, as `embedding_bag` of torch, whose gradient takes ten times as long.

    Args:
        table: the vectors.
        rows: their numbers, bag after bag.
        starts: where each bag starts.
        sparse: whether the gradient of the table is a sparse tensor of the rows in the bags.

    >>> table = torch.arange(8.0).view(4, 2).requires_grad_()
    >>> sums_of_bags(table, torch.tensor([1, 3, 1]), torch.tensor([0, 2]), sparse=True).tolist()
    [[8.0, 10.0], [2.0, 3.0]]
    """
    if not (torch.is_grad_enabled() and table.requires_grad):
        return F.embedding_bag(rows, table, starts, mode="sum")
    return cast(Tensor, _SumsOfBags.apply(table, rows, starts, sparse))  # type: ignore[no-untyped-call]


class _SumsOfBags(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, starts: Tensor, sparse: bool) -> Tensor:
        ctx.save_for_backward(rows, starts)
        ctx.shape, ctx.sparse = table.shape, sparse
        return F.embedding_bag(rows, table, starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient of a row is the sum of those of the bags that it is in: a bag of bags."""
        (gradient,), (rows, starts) = gradients, ctx.saved_tensors
        sizes = torch.cat([starts[1:], starts.new_tensor([len(rows)])]) - starts
        bags = torch.arange(len(starts), device=rows.device).repeat_interleave(sizes)
        order = _sorted(rows << _HALF | bags)
        different, counts = (order >> _HALF).unique_consecutive(return_counts=True)
        values = F.embedding_bag(order & (1 << _HALF) - 1, gradient, counts.cumsum(0) - counts, mode="sum")
        found = torch.sparse_coo_tensor(different[None], values, ctx.shape, is_coalesced=True, check_invariants=False)
        return found if ctx.sparse else found.to_dense(), None, None, None


def _sorted(numbers: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """In order: 13,000 numbers take 0.03 ms by NumPy on a processor with AVX-512 and 0.5 ms by torch."""
    return torch.from_numpy(np.sort(numbers.numpy())) if numbers.device.type == "cpu" else numbers.sort().values
