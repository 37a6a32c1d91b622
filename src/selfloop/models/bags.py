"""Sums of rows of a table, with a gradient that visits each row once."""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


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
        order = _order(rows, most=ctx.shape[0])
        different, counts = rows.index_select(0, order).unique_consecutive(return_counts=True)
        values = F.embedding_bag(bags.index_select(0, order), gradient, counts.cumsum(0) - counts, mode="sum")
        found = torch.sparse_coo_tensor(different[None], values, ctx.shape, is_coalesced=True, check_invariants=False)
        return found if ctx.sparse else found.to_dense(), None, None, None


def _order(rows: Int[Tensor, " N"], most: int) -> Int[Tensor, " N"]:
    """The places of row numbers below `most` in order, of equal ones as they stand.

    NumPy sorts numbers of 16 bits by their digits, which is faster than to compare numbers of 64 bits.
    """
    if rows.device.type != "cpu":
        return rows.argsort(stable=True)
    numbers, order = rows.numpy(), np.arange(len(rows))
    for shift in range(0, (most - 1).bit_length(), 16):
        digits = (numbers[order] >> shift).astype(np.uint16)
        order = order[np.argsort(digits, kind="stable")]
    return torch.from_numpy(order)
