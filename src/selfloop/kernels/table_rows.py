"""What an update does to the rows of a large table that it has read, each in one pass over them.

Torch's operations gather the rows, work on the copies in several passes and write them back, which took a tenth of a
labeller's update.
"""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from selfloop.compiler import AVERAGE_ROWS_BLOCK, MOVE_ROWS_BLOCK, host_target, table_rows_code
from selfloop.kernels import team
from selfloop.kernels.compiled import BITS
from selfloop.kernels.refusals import may_read
from selfloop.kernels.relocations import Numbers


def average_rows(average: Tensor, table: Tensor, rows: Tensor, weights: Tensor) -> None:
    """Move rows of an average towards those of a table, in place: a += weight · (w − a).

    Args:
        average: [all rows, size].
        table: of its size and type.
        rows: their numbers, each once: [rows], int64.
        weights: of each of them: [rows].

    >>> average, rows = torch.zeros(3, 2), torch.tensor([0, 2])
    >>> average_rows(average, torch.ones(3, 2), rows, torch.tensor([0.5, 0.25]))
    >>> average[:, 0].tolist()
    [0.5, 0.0, 0.25]
    """
    if not _is_compiled(average, table, rows, weights):
        average.index_copy_(0, rows, average[rows].lerp_(table[rows], weights[:, None]))
        return
    _run("average_rows", AVERAGE_ROWS_BLOCK, table, rows, {"average": average, "weights": weights})
    increment_version(average)


def move_rows(
    table: Tensor,
    squares: Tensor,
    gradient: Tensor,
    *,
    keep: Tensor,
    shrink: Tensor,
    share: float,
    eps: float,
    rate: float,
) -> None:
    """Move the rows of a table that have a gradient by it and its second moments, in place.

    Of the elements w of a row, s of its second moments and g of its gradient: s = keep · s + share · g², and then
    w = shrink · w − rate · g / (√s + eps).

    Args:
        table: [all rows, size].
        squares: of its size and type.
        gradient: of the table, sparse and coalesced: each of its rows is in it once.
        keep: what each of these rows keeps of its second moments, [rows].
        shrink: what it keeps of its weights, [rows].
        share: what a squared gradient adds to a second moment.
        eps: what is added to the root of a second moment.
        rate: what the gradient over that root is multiplied by.
    """
    rows, g = gradient.indices()[0], gradient.values()
    if not _is_compiled(table, squares, rows, g, keep, shrink):
        s = squares[rows].mul_(keep[:, None]).addcmul_(g, g, value=share)
        squares.index_copy_(0, rows, s)
        table.index_copy_(0, rows, table[rows].mul_(shrink[:, None]).addcdiv_(g, s.sqrt().add_(eps), value=-rate))
        return
    numbers = torch.tensor([share, eps, rate], dtype=table.dtype, device="cpu")
    own = {"squares": squares, "gradient": g, "keep": keep, "shrink": shrink, "numbers": numbers}
    _run("move_rows", MOVE_ROWS_BLOCK, table, rows, own)
    increment_version((table, squares))


def _is_compiled(*tensors: Tensor) -> bool:
    """Whether there are kernels for these, floats of one type and the int64 numbers of rows, contiguous on the CPU."""
    return may_read(tensors) and all(v.is_contiguous() for v in tensors) and {v.dtype for v in tensors} in _TYPES


_TYPES = tuple({dtype, torch.int64} for dtype in BITS)


def _run(name: str, block: tuple[str, ...], table: Tensor, rows: Tensor, others: Mapping[str, Tensor]) -> None:
    """Call a function of `emit.table_rows` with the addresses of tensors."""
    size = table.shape[1]
    threads = team.threads_for(len(rows) * size)
    shares = team.shares(len(rows), threads)
    values: dict[str, int | Numbers] = {
        **{"begin": shares[:-1], "end": shares[1:], "size": size},
        **{key: tensor.data_ptr() for key, tensor in {"rows": rows, "table": table, **others}.items()},
    }
    team.run(_address(name, BITS[table.dtype]), team.argument_blocks(block, threads, values))


@lru_cache(maxsize=8)
def _address(name: str, bits: int) -> int:
    return table_rows_code(bits, host_target()).address(name)
