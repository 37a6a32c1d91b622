"""Memory for what kernels write, recycled from call to call.

The C library returns large blocks to the system when torch frees them, and takes them anew at the next call, page by
page: for an LSTM of 64 units that took a quarter of a training step. Here large blocks are storages of torch that are
kept. A block is free when nothing but this module refers to its storage, which is looked up when the next one of its
size is wanted. So tensors are torch's own in every respect: they can be resized, shared and saved, and after a fork
each process has its own.
"""

import ctypes
import math
import mmap
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, UntypedStorage

from selfloop.kernels.torch_internals import storage_references

SMALL = 1 << 18
"""Bytes below which torch's own memory is as good."""

KEPT = 1 << 29
"""Bytes of blocks that are kept at most, free or not."""

TRIED = 32
"""Blocks of one size that are looked at before a new one is made: a look takes 0.7 µs."""

HUGE_PAGE = 1 << 21
"""Bytes. Blocks that hold one get such pages where the system has them."""


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor on the CPU, whatever torch's default device is.

    Args:
        shape: its sizes.
        dtype: float32 or float64.
    """
    return of_output(shape, dtype).take()


def workspace(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The same for what no user sees: its storage may be larger, so that calls of other lengths recycle it."""
    return of_workspace(shape, dtype).take()


def _empty(shape: Sequence[int], dtype: torch.dtype, size: int) -> Tensor:
    if size < SMALL:
        return _NONE[dtype].new_empty(*shape) if shape else _NONE[dtype].new_empty(())  # 0.3 µs less than (shape)
    return _NONE[dtype].new_empty(0).set_(_storage(size), 0, shape)  # type: ignore[call-overload, no-any-return]


class Memory(NamedTuple):
    """What is to be taken at each call of a plan; `size` is in bytes, see `workspace`."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    size: int

    def take(self) -> Tensor:
        """An uninitialised tensor."""
        return _empty(self.shape, self.dtype, self.size)


def of_output(shape: Sequence[int], dtype: torch.dtype) -> Memory:
    """What `empty` takes."""
    return Memory(tuple(shape), dtype, math.prod(shape) * dtype.itemsize)


def of_workspace(shape: Sequence[int], dtype: torch.dtype) -> Memory:
    """What `workspace` takes."""
    size = math.prod(shape) * dtype.itemsize
    eighth = max(8, 1 << max(0, size - 1).bit_length() >> 3)  # of a power of two
    return Memory(tuple(shape), dtype, -(-size // eighth) * eighth)


def kept_bytes() -> int:
    """The bytes of the blocks that are kept, free or not."""
    return sum(size * len(blocks) for size, blocks in list(_BLOCKS.items()))


class _Block(NamedTuple):
    """A storage, with its address and size when it was made: others mean that a user has resized or shared it."""

    storage: UntypedStorage
    address: int
    size: int


_NONE = {dtype: torch.empty(0, dtype=dtype, device="cpu") for dtype in (torch.float32, torch.float64)}
"""Made before anybody sets a default device; `new_empty` is twice as fast as `torch.empty`."""

_BLOCKS: dict[int, deque[_Block]] = {}
"""The blocks by size; the sizes that were not used for longest come first."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_BLOCKS.clear)  # the child's first write to a page of the parent's copies it


def _storage(size: int) -> UntypedStorage:
    """A storage of this size that nobody uses.

    While a thread looks at the blocks of a size, it has taken them out, so that no other finds the same one.
    """
    blocks = _BLOCKS.pop(size, None) or deque()
    for _ in range(min(len(blocks), TRIED)):
        blocks.rotate(1)
        if _users(blocks[0]) != _ALONE:
            continue
        if _is_as_made(blocks[0]):
            break
        blocks.popleft()
    else:
        while blocks and kept_bytes() + (len(blocks) + 1) * size > KEPT:
            blocks.pop()
        blocks.appendleft(_new(size))
    storage = blocks[0].storage
    _BLOCKS[size] = blocks
    return storage


def _users(block: _Block) -> tuple[int, int]:
    """How many objects of Python refer to a storage, and how many of C++."""
    return sys.getrefcount(block.storage), storage_references(block.storage)


def _is_as_made(block: _Block) -> bool:
    return (block.storage.data_ptr(), block.storage.nbytes()) == (block.address, block.size)


def _new(size: int) -> _Block:
    for oldest in [*_BLOCKS]:
        if kept_bytes() + size <= KEPT:
            break
        _BLOCKS.pop(oldest, None)  # another thread may have it
    storage = UntypedStorage(size, device="cpu")
    address = storage.data_ptr()
    start, end = -(-address // HUGE_PAGE) * HUGE_PAGE, (address + size) // HUGE_PAGE * HUGE_PAGE
    if start < end:
        _advise_huge_pages(start, end - start)
    return _Block(storage, address, size)


def _advise_huge_pages(address: int, size: int) -> None:
    if sys.platform == "linux":
        _madvise()(address, size, mmap.MADV_HUGEPAGE)


@lru_cache(maxsize=1)
def _madvise() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


_ALONE = _users(_new(1))
"""The users of a storage that only its block refers to."""
