"""What threads do, one function after another, as one sheet of numbers: blocks of arguments and tables of addresses.

A sheet is written once and used by many calls, which differ in where things lie. So an address is written as *base +
offset*, with the base's number in the upper bits, and becomes true when the bases are known.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from selfloop.compiler.build import Code
from selfloop.compiler.emit.launches import WORDS
from selfloop.kernels import team

Numbers = Int[Array, " N"]

_OFFSET = 48
"""Bits of an offset, its sign included; base 0 is for true numbers below 2^47, as addresses of user space are."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A sheet that is finished.

    Attributes:
        offsets: the numbers without their bases.
        bases: the base of each.
        names: of the bases, after those of true numbers and of the sheet itself.
        launches: the address of the function that runs them, and where its blocks start.
        threads: how many share the work.
        room: bytes of the base named "room".
        zeros: how many of them must be zero at first.
        places: the bytes of the room that what is asked for by name has.
    """

    offsets: Numbers
    bases: Numbers
    names: tuple[str, ...]
    launches: tuple[int, int]
    threads: int
    room: int
    zeros: int
    places: Mapping[str, slice]

    def run(self, addresses: Mapping[str, int]) -> None:
        """Run everything; `addresses` says where each base is."""
        sheet = np.empty(len(self.offsets), dtype=np.int64)
        bases = np.array([0, sheet.ctypes.data, *(addresses[name] for name in self.names)], dtype=np.int64)
        np.take(bases, self.bases, out=sheet, mode="clip")
        sheet += self.offsets
        function, start = self.launches
        team.run(function, sheet[start:].reshape(self.threads, -1), together=True)


class Sheet:
    """A sheet while it is written.

    Args:
        tools: the compiled tools that serve all cells.
        threads: how many share the work of each launch.
    """

    def __init__(self, tools: Code, threads: int) -> None:
        self.tools, self.threads = tools, threads
        self._parts: list[Numbers] = []
        self._size = 0
        self._names: dict[str, int] = {"": 0, "sheet": 1}
        self._launches: list[tuple[int, Numbers]] = []
        self._room = self._zeros = 0
        self._places: dict[str, slice] = {}

    def base(self, name: str) -> int:
        """The address of a base."""
        return self._names.setdefault(name, len(self._names)) << _OFFSET

    def write(self, numbers: Numbers) -> int:
        """Put numbers down; their address."""
        place = self.base("sheet") + self._size * 8
        self._parts.append(numbers)
        self._size += len(numbers)
        return place

    def room(self, bytes: int, name: str = "") -> int:
        """Room for what lives as long as the call, on a line of the cache of its own; its address."""
        place = self.base("room") + self._room
        if name:
            self._places[name] = slice(self._room, self._room + bytes)
        self._room += -(-bytes // 64) * 64
        return place

    def zero_so_far(self) -> None:
        """All the room that was taken up to now must be zero at first."""
        self._zeros = self._room

    def launch(self, function: int, blocks: Int[Array, "threads _"]) -> None:
        """Run a function with a block for each thread, when all that was launched before has ended."""
        start = self.write(blocks.reshape(-1))
        self._launches.append((function, start + np.arange(len(blocks)) * (blocks.shape[1] * 8)))

    def finish(self) -> Plan:
        """The plan."""
        words = np.zeros((self.threads, len(WORDS) + 2 * len(self._launches)), dtype=np.int64)
        given = (self.threads, self.write(np.zeros(1, dtype=np.int64)), team.give_way(), len(self._launches))
        words[:, : len(WORDS)] = given
        for k, (function, blocks) in enumerate(self._launches):
            words[:, len(WORDS) + 2 * k] = function
            words[:, len(WORDS) + 2 * k + 1] = blocks
        start = self._size
        self.write(words.reshape(-1))
        numbers = np.concatenate(self._parts)
        bases = (numbers + (1 << _OFFSET - 1)) >> _OFFSET
        launches = self.tools.address("launches"), start
        names = tuple(self._names)[2:]
        offsets = numbers - (bases << _OFFSET)
        return Plan(offsets, bases, names, launches, self.threads, self._room, self._zeros, self._places)
