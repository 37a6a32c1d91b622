"""Command buffers: the launches of a whole call, recorded once, with addresses that are patched at each call.

A `Recorder` writes the argument blocks of kernels, and the tables that they read, into one array of 64-bit numbers.
Calls of the same shapes use the same numbers, but for where their tensors lie. So an address is a relocation,
*base + offset*, with the number of the base in its upper bits; `CommandBuffer.run` adds the bases.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from selfloop.compiler import LAUNCH, LAUNCHES_HEADER, Code
from selfloop.kernels import team

Numbers = Int[Array, " N"]

_OFFSET_BITS = 48
"""Bits of a relocation's offset, its sign included. Base 0 is for plain numbers, which must be below 2^47 as the
addresses of user space are."""


@dataclass(frozen=True, eq=False)
class CommandBuffer:
    """Recorded launches.

    Attributes:
        offsets: the numbers, relocations without their bases.
        bases: the index of each number's base.
        names: of the bases, from the third on, in the order in which `run` takes their addresses; the first is 0, the
            second is the address of the numbers themselves.
        launches: the address of the function that runs the launches, and the index of its first argument block.
        threads: the number of threads, each of which has an argument block.
        workspace: the bytes of the base named "workspace".
        zeros: the bytes at its start that must be zero at first.
        named: the bytes of the workspace that were asked for by name.
    """

    offsets: Numbers
    bases: Numbers
    names: tuple[str, ...]
    launches: tuple[int, int]
    threads: int
    workspace: int
    zeros: int
    named: Mapping[str, slice]

    def ordered(self, names: Sequence[str]) -> "CommandBuffer":
        """The same, with its bases in another order; there may be more of them than it uses."""
        places = np.array([0, 1, *(2 + names.index(name) for name in self.names)], dtype=np.int64)
        return replace(self, bases=places[self.bases], names=tuple(names))

    def run(self, addresses: Sequence[int]) -> None:
        """Run all launches, given the address of each base."""
        numbers = np.empty(len(self.offsets), dtype=np.int64)
        start = ctypes.addressof(ctypes.c_char.from_buffer(numbers.data))  # .ctypes.data takes 0.8 µs
        bases = np.array([0, start, *addresses], dtype=np.int64)
        bases.take(self.bases, out=numbers, mode="clip")
        numbers += self.offsets
        function, first = self.launches
        team.run(function, numbers[first:].reshape(self.threads, -1), together=True)


class Recorder:
    """Records a command buffer.

    Args:
        tools: the compiled functions that serve all cells.
        threads: the number of threads that share each launch.
    """

    def __init__(self, tools: Code, threads: int) -> None:
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
            bases=bases,
            names=tuple(self._names)[2:],
            launches=(self.tools.address("launches"), start),
            threads=self.threads,
            workspace=self._workspace,
            zeros=self._zeros,
            named=self._named,
        )
