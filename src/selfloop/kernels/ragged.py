"""Which sequence runs where: a batch of any layout, direction and raggedness as rows one after another.

A kernel sees rows of memory through tables of addresses, an entry for each sequence at each step. Lengths, directions,
resets, layouts and strides are all in the tables, so that kernels know none of them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray as Array
from torch import Tensor

Table = Int[Array, "T B"]
"""The address of a row of memory, for each sequence at each step, as a `Recorder` has addresses."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The sequences in the order in which they run: the longest first, so that those that have ended are the last.

    Attributes:
        users: the user's place in the batch of each row.
        lengths: of each row, in this order.
        active: which rows run at each step; None where all do.
        counts: how many rows run at each step.
        starts: how many rows have run before each step, and in all.
        time: the user's step of each row at each step; one column where it is the same for all.
        resets: before which steps the state is zeroed, in the order in which they are walked; None where nowhere.
    """

    users: Int[Array, " B"]
    lengths: Int[Array, " B"]
    active: Bool[Array, "T B"] | None
    counts: Int[Array, " T"]
    starts: Int[Array, " _"]
    time: Int[Array, "T _"]
    resets: Bool[Array, "T B"] | None

    @property
    def steps(self) -> int:
        """T."""
        return len(self.counts)

    @property
    def batch(self) -> int:
        """B."""
        return len(self.users)

    @property
    def total(self) -> int:
        """The rows of all steps."""
        return int(self.starts[-1])

    @property
    def is_even(self) -> bool:
        """Whether all sequences run all steps, and keep their states."""
        return self.active is None and self.resets is None

    # Where rows lie that start at an address; pitches are in bytes.

    def at_steps(self, start: int, step: int, row: int) -> Table:
        """The rows of a (T, B, ·) tensor with these pitches."""
        table: Table = start + self.users * row + self.time * step
        return table

    def at_once(self, start: int, pitch: int) -> Int[Array, " B"]:
        """The rows of a (B, ·) tensor."""
        return start + self.users * pitch

    def one_after_another(self, start: int, pitch: int) -> Table:
        """The rows of all steps, where they lie one after another."""
        return start + (self.starts[:-1, None] + np.arange(self.batch)) * pitch

    def in_turn(self, start: int, pitch: int) -> Table:
        """The rows in a (2 B, ·) tensor of which steps use the halves in turn."""
        return start + (np.arange(self.steps)[:, None] % 2 * self.batch + np.arange(self.batch)) * pitch

    def put_last(self, table: Table, where: Int[Array, " B"]) -> None:
        """What belongs to the last step of each sequence lies elsewhere."""
        if self.active is None:
            table[-1] = where
        else:
            some = np.flatnonzero(self.lengths)
            table[self.lengths[some] - 1, some] = where[some]

    def packed(self, table: Table) -> Int[Array, " R"]:
        """The entries of the rows that run, step after step."""
        return np.ascontiguousarray(table).reshape(-1) if self.active is None else table[self.active]


def arrange(
    steps: int,
    batch: int,
    lengths: Int[Tensor, " B"] | None,
    resets: Bool[Tensor, "T B"] | None,
    reverse: bool,
) -> Rows:
    """The rows of a batch; `lengths`, `resets` and `reverse` are those of a Problem."""
    if lengths is None and resets is None:
        return _even(steps, batch, reverse)
    return _arrange(steps, batch, lengths, resets, reverse)


@lru_cache(maxsize=32)
def _even(steps: int, batch: int, reverse: bool) -> Rows:
    return _arrange(steps, batch, None, None, reverse)


def _arrange(steps: int, batch: int, lengths: Tensor | None, resets: Tensor | None, reverse: bool) -> Rows:
    users = np.arange(batch)
    own = np.full(batch, steps)
    counts = np.full(steps, batch)
    active = None
    time = np.arange(steps)[:, None]
    if lengths is not None:
        given = lengths.numpy().astype(np.int64)
        users = np.argsort(-given, kind="stable")
        own = given[users]
        active = time < own
        counts = active.sum(1)
    if reverse:
        time = np.maximum((steps if lengths is None else own) - 1 - time, 0)
    starts = np.zeros(steps + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    flags = None
    if resets is not None:
        given = resets.numpy()
        if reverse:  # the same segments, walked from their ends
            given = np.concatenate([given[1:], np.zeros_like(given[:1])])
        flags = given[time, users]
    return Rows(users, own, active, counts, starts, time, flags)
