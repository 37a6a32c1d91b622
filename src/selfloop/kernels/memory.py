"""Room for what kernels keep, without the cost of new pages.

The C library gives large blocks back to the system when torch frees them and takes them anew at the next call, page by
page: for an LSTM of 64 units that took a quarter of a training step. Blocks taken here are kept for the next call, in
large pages where the system has them.
"""

import math
import mmap
import weakref
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SMALL = 1 << 18
"""Bytes below which torch's own memory is as good."""

KEPT = 1 << 29
"""Bytes of free blocks that are kept at most."""

_FREE: dict[int, list[mmap.mmap]] = {}
"""Free blocks by their size."""


def empty(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    """A (rows, width) tensor of what happens to be there."""
    size = rows * width * dtype.itemsize
    if size < SMALL:
        return torch.empty(rows, width, dtype=dtype)
    size_class = 1 << (size - 1).bit_length() - 3  # eighths of a power of two
    size_class = -(-size // size_class) * size_class
    try:
        block = _FREE[size_class].pop()
    except (KeyError, IndexError):
        block = _new(size_class)
    array = np.frombuffer(block, dtype=np.uint8, count=size)
    weakref.finalize(array, _give_back, size_class, block)
    return torch.from_numpy(array).view(dtype).view(rows, width)


def like(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of a shape, of the dtype of another, of what happens to be there."""
    return empty(math.prod(shape), 1, tensor.dtype).view(shape)


def free_bytes() -> int:
    """The bytes of the blocks that are kept."""
    return sum(size * len(blocks) for size, blocks in _FREE.items())


def _new(size: int) -> mmap.mmap:
    block = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _give_back(size: int, block: mmap.mmap) -> None:
    if free_bytes() + size <= KEPT:
        _FREE.setdefault(size, []).append(block)
