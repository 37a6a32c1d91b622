"""Command buffers: the launches of a whole call, recorded once, with addresses that are patched at each call.

A `Recorder` writes the argument blocks of kernels, and the tables that they read, into one array of 64-bit numbers.
Calls of the same shapes use the same numbers, but for where their tensors lie. So an address is a relocation,
*base + offset*, with the number of the base in its upper bits; `CommandBuffer.run` adds the bases.

Calls that differ in the lengths of their sequences differ in where rows lie and how many there are. Both are functions
of the `Rows`, the first as `RowTable`s, so that a batch of other lengths writes them alone and shares all else.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray as Array
from torch import Tensor

from selfloop.compiler import LAUNCH, LAUNCHES_HEADER, PATCH_HEADER, Tools
from selfloop.kernels import memory, team
from selfloop.kernels.ragged import Rows, arrange
from selfloop.kernels.relocations import OFFSET_BITS, Numbers, Split, split
from selfloop.kernels.row_tables import RowTable, RowTables

Fixed = TypeVar("Fixed")
Made = Callable[[Rows], Numbers]
"""Makes plain numbers of the rows of a call, as many for all rows."""


class Room(NamedTuple):
    """What one call at a time uses.

    Attributes:
        block, address: the argument block of `patch`, and where it lies.
        numbers: what `patch` writes.
        threads: those of them that are the argument blocks of `launches`, a row for each thread.
        patch, launch: the functions of compiled code, for calls that take microseconds.
        first: the address of the first of `threads`.
        workspace: the memory of the base named "workspace", where it is small; else each call takes its own.
    """

    block: ctypes.Array[ctypes.c_int64]
    address: int
    numbers: Numbers
    threads: Int[Array, "threads _"]
    patch: Callable[[int], None]
    launch: Callable[[int], None]
    first: int
    workspace: Tensor | None


class CommandBuffer(NamedTuple):
    """Recorded launches.

    Attributes:
        numbers: those that are the same for rows of all lengths.
        of_rows: those that depend on the rows: tables, and then others.
        addresses: of their offsets and bases.
        tables: how the tables are made.
        made: how some of the others are made: their places, and a function. All else is the same for all rows.
        fixed: what must be the same for rows of other lengths: functions of the rows, and their values.
        names: of the bases, in the order in which `run` takes their addresses.
        tools: the compiled functions that serve all cells.
        start: the index of the first argument block of `launches`.
        threads: the number of threads, each of which has an argument block.
        workspace: the bytes of the base named "workspace".
        zeros: the bytes at its start that must be zero at first.
        named: the bytes of the workspace that were asked for by name.
        idle: what calls may use.
    """

    numbers: Split
    of_rows: Split
    addresses: list[int]
    tables: RowTables
    made: Sequence[tuple[slice, Made]]
    fixed: Sequence[tuple[Callable[[Rows], object], object]]
    names: tuple[str, ...]
    tools: Tools
    start: int
    threads: int
    workspace: int
    zeros: int
    named: Mapping[str, slice]
    idle: list[Room]

    def of(self, rows: Rows) -> "CommandBuffer | None":
        """The same for rows of other lengths; None where more than tables differs."""
        if any(function(rows) != value for function, value in self.fixed):
            return None
        of_rows = Split(*(part.copy() for part in self.of_rows))
        self.tables.fill(of_rows, rows)
        for places, function in self.made:
            of_rows.offsets[places] = function(rows)
        return self._replace(of_rows=of_rows, addresses=_addresses(of_rows))

    @property
    def bytes(self) -> int:
        """Of memory, with what a call at a time uses."""
        parts = (self.numbers, self.of_rows)
        size = sum(2 * part.offsets.nbytes + part.bases.nbytes for part in parts)
        return size + self._keeps_workspace * self.workspace

    @property
    def _keeps_workspace(self) -> bool:
        """Whether calls use the same workspace: it is small, and nothing in it is looked at afterwards."""
        return self.workspace < memory.SMALL and not self.named

    def run(self, addresses: list[int], dtype: torch.dtype, is_short: bool = False) -> Tensor:
        """Run all launches.

        Args:
            addresses: of each base that has a name.
            dtype: of the tensors.
            is_short: whether this takes microseconds of one thread, so that Python's lock is better kept.

        Returns:
            The workspace, which belongs to the caller if something in it was asked for by name.
        """
        try:
            room = self.idle.pop()  # no other thread gets the same one
        except IndexError:
            room = self._room(dtype)
        workspace = room.workspace
        if workspace is None:
            workspace = self._workspace(dtype)
            room.block[_NAMED - 1] = workspace.data_ptr()
        if self.zeros:
            ctypes.memset(room.block[_NAMED - 1], 0, self.zeros)
        if len(self.of_rows.offsets):  # they may have been of other rows
            room.block[_OF_ROWS] = self.addresses  # type: ignore[assignment]  # lists are invariant
        room.block[_NAMED:] = addresses  # type: ignore[assignment]
        room.patch(room.address)
        if is_short:
            room.launch(room.first)
        else:
            team.run(self.tools.address("launches"), room.threads, together=True)
        self.idle.append(room)
        return workspace

    def _room(self, dtype: torch.dtype) -> Room:
        same, more = self.numbers, self.of_rows
        numbers = np.empty(len(same.offsets) + len(more.offsets), dtype=np.int64)
        start = numbers.ctypes.data
        start_of_rows = start + 8 * len(same.offsets)
        workspace = self._workspace(dtype) if self._keeps_workspace else None
        known = [start, same.offsets.ctypes.data, same.bases.ctypes.data, len(same.offsets)]
        known += [start_of_rows, *self.addresses, len(more.offsets)]
        start_of_others = start_of_rows + 8 * self.tables.size
        known += [0, start, start_of_rows, start_of_others, 0 if workspace is None else workspace.data_ptr()]
        block = (ctypes.c_int64 * (_NAMED + len(self.names)))(*known)
        threads = numbers[self.start : len(same.offsets)].reshape(self.threads, -1)
        patch, launch = (team.short(self.tools.address(name)) for name in ("patch", "launches"))
        return Room(block, ctypes.addressof(block), numbers, threads, patch, launch, threads.ctypes.data, workspace)

    def _workspace(self, dtype: torch.dtype) -> Tensor:
        return memory.workspace((self.workspace // dtype.itemsize,), dtype)


_OWN = ("", "numbers", "tables", "rows", "workspace")
"""Bases that no caller gives: none, the numbers themselves, tables of rows, others made of rows, and the workspace."""

_NAMED = len(PATCH_HEADER) + len(_OWN)
"""Where the addresses of the bases start in the block of `patch`: those of `_OWN` stand before them."""

_OF_ROWS = slice(PATCH_HEADER.index("more_offsets"), PATCH_HEADER.index("more_count"))


class Recorder:
    """Records a command buffer.

    Args:
        tools: the compiled functions that serve all cells.
        threads: the number of threads that share each launch.
        rows: of the call; those of another one may take their place, see `CommandBuffer.of`.
        names: of bases, in the order in which `run` takes their addresses. Others that are used come after them.
    """

    def __init__(self, tools: Tools, threads: int, rows: Rows | None = None, names: Sequence[str] = ()) -> None:
        self.tools, self.threads, self.rows = tools, threads, rows or arrange(0, 0, None, None, reverse=False)
        self._parts: list[Numbers] = []
        self._tables = RowTables(tools)
        self._made: list[tuple[slice, Made]] = []
        self._others: list[Numbers] = []
        self._fixed: list[tuple[Callable[[Rows], object], object]] = []
        self._size = self._size_of_rows = 0
        self._names: dict[str, int] = {name: k for k, name in enumerate((*_OWN, *names))}
        self._launches: list[tuple[int, Numbers]] = []
        self._workspace = self._zeros = 0
        self._named: dict[str, slice] = {}

    def base(self, name: str) -> int:
        """The relocation of a base, to which an offset in bytes may be added."""
        return self._names.setdefault(name, len(self._names)) << OFFSET_BITS

    def write(self, numbers: Numbers) -> int:
        """Write numbers, which may be relocations; the relocation of their address."""
        place = self.base("numbers") + self._size * 8
        self._parts.append(numbers)
        self._size += len(numbers)
        return place

    def table(self, table: RowTable) -> int:
        """Write a table of rows; the relocation of its address."""
        return self.base("tables") + self._tables.add(table, self.rows.steps, self.rows.batch) * 8

    def write_of_rows(self, made: Made) -> int:
        """Write plain numbers that depend on the rows' lengths, as many for all; the relocation of their address."""
        numbers, start = made(self.rows), self._size_of_rows
        self._made.append((slice(start, start + len(numbers)), made))
        return self._write_of_rows(numbers)

    def _write_of_rows(self, numbers: Numbers) -> int:
        place = self.base("rows") + self._size_of_rows * 8
        self._others.append(numbers)
        self._size_of_rows += len(numbers)
        return place

    def fixed(self, function: Callable[[Rows], Fixed]) -> Fixed:
        """What of the rows is more than a number that is written: for rows where it differs, all is recorded anew."""
        value = function(self.rows)
        self._fixed.append((function, value))
        return value

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

    def launch(self, function: int, blocks: Int[Array, "threads _"], made: Mapping[int, Made] | None = None) -> None:
        """Launch a kernel with an argument block for each thread, when the launches before it have ended.

        Args:
            function: the address of the kernel.
            blocks: the argument blocks.
            made: makes columns of them, which depend on how long the rows are.
        """
        for column, function_of_rows in (made or {}).items():
            blocks[:, column] = function_of_rows(self.rows)
            first = self._size_of_rows + column
            self._made.append((slice(first, self._size_of_rows + blocks.size, blocks.shape[1]), function_of_rows))
        start = (self._write_of_rows if made else self.write)(blocks.reshape(-1))
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
        first = self._tables.size
        size = first + self._size_of_rows
        of_rows = Split(np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int32))
        others = split(np.concatenate([np.zeros(0, dtype=np.int64), *self._others]))
        for part, own in zip(of_rows, others, strict=True):
            part[first:] = own
        made = [(slice(first + own.start, first + own.stop, own.step), function) for own, function in self._made]
        self._tables.fill(of_rows, self.rows)
        return CommandBuffer(
            numbers=split(np.concatenate(self._parts)),
            of_rows=of_rows,
            addresses=_addresses(of_rows),
            tables=self._tables,
            made=made,
            fixed=self._fixed,
            names=tuple(self._names)[len(_OWN) :],
            tools=self.tools,
            start=start,
            threads=self.threads,
            workspace=self._workspace,
            zeros=self._zeros,
            named=self._named,
            idle=[],
        )


def _addresses(split: Split) -> list[int]:
    return [v.__array_interface__["data"][0] for v in split]  # v.ctypes takes three times as long
