"""Command buffers: the launches of a whole call, recorded once, with addresses that are patched at each call.

A `Recorder` writes the argument blocks of kernels, and the tables that they read, into one array of 64-bit numbers.
Calls of the same shapes use the same numbers, but for where their tensors lie. So an address is a relocation,
*base + offset*, with the number of the base in its upper bits; `CommandBuffer.run` adds the bases.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler import LAUNCH, LAUNCHES_HEADER, PATCH_HEADER, Tools
from selfloop.kernels import memory, team

Numbers = Int[Array, " N"]

_OFFSET_BITS = 48
"""Bits of a relocation's offset, its sign included. Base 0 is for plain numbers, which must be below 2^47 as the
addresses of user space are."""


class Room(NamedTuple):
    """What one call at a time uses.

    Attributes:
        block, address: the argument block of `patch`, and where it lies.
        numbers: what `patch` writes.
        threads: those of them that are the argument blocks of `launches`, a row for each thread.
        workspace: the memory of the base named "workspace", where it is small; else each call takes its own.
    """

    block: ctypes.Array[ctypes.c_int64]
    address: int
    numbers: Numbers
    threads: Int[Array, "threads _"]
    workspace: Tensor | None


@dataclass(frozen=True, eq=False)
class CommandBuffer:
    """Recorded launches.

    Attributes:
        offsets: the numbers, relocations without their bases.
        bases: the index of each number's base.
        names: of the bases, from the third on, in the order in which `run` takes their addresses; the first is 0, the
            second is the address of the numbers themselves. The third is "workspace", once they are `ordered`.
        tools: the compiled functions that serve all cells.
        start: the index of the first argument block of `launches`.
        threads: the number of threads, each of which has an argument block.
        workspace: the bytes of the base named "workspace".
        zeros: the bytes at its start that must be zero at first.
        named: the bytes of the workspace that were asked for by name.
    """

    offsets: Numbers
    bases: Int[Array, " N"]
    names: tuple[str, ...]
    tools: Tools
    start: int
    threads: int
    workspace: int
    zeros: int
    named: Mapping[str, slice]
    _idle: list[Room] = field(default_factory=list, init=False)

    def ordered(self, names: Sequence[str]) -> "CommandBuffer":
        """The same, with its bases in another order: "workspace", then these, which may be more than it uses."""
        names = ("workspace", *names)
        places = np.array([0, 1, *(2 + names.index(name) for name in self.names)], dtype=np.int32)
        return replace(self, bases=places[self.bases], names=names)

    @property
    def bytes(self) -> int:
        """Of memory, with what a call at a time uses."""
        return self.offsets.nbytes * 2 + self.bases.nbytes + self._keeps_workspace * self.workspace

    @property
    def _keeps_workspace(self) -> bool:
        """Whether calls use the same workspace: it is small, and nothing in it is looked at afterwards."""
        return self.workspace < memory.SMALL and not self.named

    def run(self, addresses: list[int], dtype: torch.dtype, is_short: bool = False) -> Tensor:
        """Run all launches.

        Args:
            addresses: of each base; that of "workspace", which is the first, is left out.
            dtype: of the tensors.
            is_short: whether this takes microseconds, so that Python's lock is better kept, see `team.run`.

        Returns:
            The workspace, which belongs to the caller if something in it was asked for by name.
        """
        try:
            room = self._idle.pop()  # no other thread gets the same one
        except IndexError:
            room = self._room(dtype)
        workspace = room.workspace
        if workspace is None:
            workspace = self._workspace(dtype)
            room.block[_PATCHED - 1] = workspace.data_ptr()
        if self.zeros:
            ctypes.memset(room.block[_PATCHED - 1], 0, self.zeros)
        room.block[_PATCHED:] = addresses  # type: ignore[assignment]  # lists are invariant
        team.call_shortly(self.tools.address("patch"), room.address)
        team.run(self.tools.address("launches"), room.threads, together=True, is_short=is_short)
        self._idle.append(room)
        return workspace

    def _room(self, dtype: torch.dtype) -> Room:
        numbers = np.empty(len(self.offsets), dtype=np.int64)
        start = numbers.ctypes.data
        workspace = self._workspace(dtype) if self._keeps_workspace else None
        known = [start, self.offsets.ctypes.data, self.bases.ctypes.data, len(numbers), 0, start]
        known.append(0 if workspace is None else workspace.data_ptr())
        block = (ctypes.c_int64 * (_PATCHED + len(self.names) - 1))(*known)
        return Room(block, ctypes.addressof(block), numbers, numbers[self.start :].reshape(self.threads, -1), workspace)

    def _workspace(self, dtype: torch.dtype) -> Tensor:
        return memory.workspace((self.workspace // dtype.itemsize,), dtype)


_PATCHED = len(PATCH_HEADER) + 3
"""Where the addresses of the bases start in the block of `patch`: those of the first three are known."""


class Recorder:
    """Records a command buffer.

    Args:
        tools: the compiled functions that serve all cells.
        threads: the number of threads that share each launch.
    """

    def __init__(self, tools: Tools, threads: int) -> None:
        self.tools, self.threads = tools, threads
        self._parts: list[Numbers] = []
        self._size = 0
        self._names: dict[str, int] = {"": 0, "numbers": 1}
        self._launches: list[tuple[int, Numbers]] = []
        self._workspace = self._zeros = 0
        self._named: dict[str, slice] = {}

    def base(self, name: str) -> int:
        """The relocation of a base, to which an offset in bytes may be added."""
        return self._names.setdefault(name, len(self._names)) << _OFFSET_BITS

    def write(self, numbers: Numbers) -> int:
        """Write numbers, which may be relocations; the relocation of their address."""
        place = self.base("numbers") + self._size * 8
        self._parts.append(numbers)
        self._size += len(numbers)
        return place

    def workspace(self, bytes: int, name: str = "") -> int:
        """Memory for the time of the call, which begins at a cache line; the relocation of its address."""
        place = self.base("workspace") + self._workspace
        if name:
            self._named[name] = slice(self._workspace, self._workspace + bytes)
        self._workspace += -(-bytes // 64) * 64
        return place

    def zero_workspace(self) -> None:
        """All workspace that was taken so far must be zero when the call starts."""
        self._zeros = self._workspace

    def launch(self, function: int, blocks: Int[Array, "threads _"]) -> None:
        """Launch a kernel with an argument block for each thread, when the launches before it have ended."""
        start = self.write(blocks.reshape(-1))
        self._launches.append((function, start + np.arange(len(blocks)) * (blocks.shape[1] * 8)))

    def finish(self) -> CommandBuffer:
        """The command buffer."""
        head, each = len(LAUNCHES_HEADER), len(LAUNCH)
        blocks = np.zeros((self.threads, head + each * len(self._launches)), dtype=np.int64)
        barrier = self.write(np.zeros(1, dtype=np.int64))
        blocks[:, :head] = self.threads, barrier, team.sched_yield(), len(self._launches)
        for k, (function, own) in enumerate(self._launches):
            blocks[:, head + each * k] = function
            blocks[:, head + each * k + 1] = own
        start = self._size
        self.write(blocks.reshape(-1))
        numbers = np.concatenate(self._parts)
        bases = (numbers + (1 << _OFFSET_BITS - 1)) >> _OFFSET_BITS
        return CommandBuffer(
            offsets=numbers - (bases << _OFFSET_BITS),
            bases=bases.astype(np.int32),
            names=tuple(self._names)[2:],
            tools=self.tools,
            start=start,
            threads=self.threads,
            workspace=self._workspace,
            zeros=self._zeros,
            named=self._named,
        )
