"""Room for what kernels keep, without the cost of new pages.

The C library gives large blocks back to the system when torch frees them and takes them anew at the next call, page by
page: for an LSTM of 64 units that took a quarter of a training step. Blocks taken here are kept for the next call, in
large pages where the system has them.
"""

import math
import mmap
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = 1 << 18
"""Bytes below which torch's own memory is as good."""

KEPT = 1 << 29
"""Bytes of free blocks that are kept at most."""

_FREE: dict[int, list[mmap.mmap]] = {}
"""Free blocks by their size."""

_LENT: dict[int, tuple[weakref.ref[Any], int, mmap.mmap]] = {}
"""The blocks in use and their size, by the arrays that hold them."""

_KINDS: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of float32 or float64, of what happens to be there."""
    kind = _KINDS[dtype]
    size = math.prod(shape) * kind.itemsize
    if size < SMALL:
        return torch.empty(shape, dtype=dtype, device="cpu")
    size_class = 1 << (size - 1).bit_length() - 3  # eighths of a power of two
    size_class = -(-size // size_class) * size_class
    try:
        block = _FREE[size_class].pop()
    except (KeyError, IndexError):
        block = _new(size_class)
    array: np.ndarray[Any, Any] = np.ndarray(shape, kind, block)
    key = id(array)  # weakref.finalize does the same in 4 µs instead of 1
    _LENT[key] = weakref.ref(array, lambda _: _give_back(key)), size_class, block
    return torch.from_numpy(array)


def free_bytes() -> int:
    """The bytes of the blocks that are kept."""
    return sum(size * len(blocks) for size, blocks in _FREE.items())


def _new(size: int) -> mmap.mmap:
    block = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _give_back(key: int) -> None:
    _, size, block = _LENT.pop(key)
    if free_bytes() + size <= KEPT:
        _FREE.setdefault(size, []).append(block)
