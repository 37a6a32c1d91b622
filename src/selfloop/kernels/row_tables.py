"""Tables of rows: where kernels find the rows of each step, for a batch of any layout, direction and raggedness."""

import ctypes
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from selfloop.compiler import ROW_TABLE, ROW_TABLES_BLOCK, Tools
from selfloop.kernels import team
from selfloop.kernels.ragged import Rows
from selfloop.kernels.relocations import Split, split_one

_Block = ctypes.c_int64 * len(ROW_TABLES_BLOCK)


class Once(NamedTuple):
    """Where a row of each sequence lies that is used at one step.

    Attributes:
        start: the address of the first.
        pitch: the bytes from one to the next, in the order of the user's batch; 0 where all are the same.
    """

    start: int
    pitch: int


class RowTable(NamedTuple):
    """Where a row of memory lies for each row that runs: at `start`, and pitches in bytes further on, each times what
    is counted of the row.

    Attributes:
        start: an address, as a relocation.
        user: the pitch of its place in the user's batch.
        time: of the user's step.
        order: of the rows that have run before.
        turn: of its place in a (2 B, ·) tensor of which steps use the halves in turn.
        following: of its place in the half that the next step uses.
        last: where the rows of the last step of each sequence lie instead.
        first: where those of the first step lie instead.
        zeros: where those lie instead that are reset, at the step that the entry is for.
        is_delayed: whether the entry of a step is for the step after it; `first` is given then.
        is_ahead: whether the entry of a step is what comes from the step after it.
        has_end: whether there is an entry for the step after the last, where all sequences run all steps.
    """

    start: int
    user: int = 0
    time: int = 0
    order: int = 0
    turn: int = 0
    following: int = 0
    last: Once | None = None
    first: Once | None = None
    zeros: int | None = None
    is_delayed: bool = False
    is_ahead: bool = False
    has_end: bool = False


class RowTables:
    """Tables that are written together, by compiled code.

    Attributes:
        size: the entries of all.
    """

    def __init__(self, tools: Tools) -> None:
        self.size = 0
        self._described: list[list[int]] = []
        self._tools = tools

    def add(self, table: RowTable, steps: int, batch: int) -> int:
        """Add a table for at most so many rows; its place among the entries."""
        place = self.size
        self._described.append(_described(table, place))
        self.size += (steps + table.has_end) * batch
        return place

    @cached_property
    def _array(self) -> Int[Array, "K _"]:
        """`ROW_TABLE`s, when all have been added."""
        return np.array(self._described, dtype=np.int64)

    @cached_property
    def _known(self) -> tuple[int, int]:
        return self._array.ctypes.data, len(self._array)

    @cached_property
    def _function(self) -> Callable[[int], None]:
        return team.short(self._tools.address("row_tables"))

    def fill(self, to: Split, rows: Rows) -> None:
        """Write them for some rows, to the first numbers, each from its own start on."""
        if not self.size or not rows.total:
            return
        offsets, bases = (part.__array_interface__["data"][0] for part in to)
        block = _Block(*self._known, offsets, bases, rows.described.ctypes.data)
        self._function(ctypes.addressof(block))


def _described(table: RowTable, place: int) -> list[int]:
    """A `ROW_TABLE`."""
    addresses = {"start": table.start, "zeros": table.zeros}
    found = {name: getattr(table, name) for name in ("user", "time", "order", "turn", "following")}
    for name, once in (("last", table.last), ("first", table.first)):
        addresses[name], found[f"{name}_pitch"] = once or (None, 0)
    for name, address in addresses.items():
        offset, base = (0, -1) if address is None else split_one(address)
        found |= {name: offset, f"{name}_base": base}
    found |= {"place": place, "more": table.has_end, "delay": table.is_delayed, "ahead": table.is_ahead}
    return [int(found[name]) for name in ROW_TABLE]
