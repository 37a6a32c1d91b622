"""Which sequence runs where: a batch of any layout, direction and raggedness as rows one after another.

A kernel sees rows of memory through tables of addresses, an entry for each sequence at each step. Lengths, directions,
resets, layouts and strides are all in the tables, so that kernels know none of them.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray as Array
from torch import Tensor

Table = Int[Array, " R"]
"""The address of a row of memory, for each row that runs, step after step, as a `Recorder` has addresses."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The sequences in the order in which they run: the longest first, so that those that have ended are the last.

    Attributes:
        users: the user's place in the batch of each row.
        lengths: of each row, in this order.
        counts: how many rows run at each step.
        starts: how many rows have run before each step, and in all.
        reverse: whether the user's last step is the first.
        is_ragged: whether lengths were given.
        resets: before which steps the state is zeroed, in the order in which they are walked; None where nowhere.
    """

    users: Int[Array, " B"]
    lengths: Int[Array, " B"]
    counts: Int[Array, " T"]
    starts: Int[Array, " _"]
    reverse: bool
    is_ragged: bool
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
        return not self.is_ragged and self.resets is None

    @cached_property
    def step(self) -> Int[Array, " R"]:
        """The step of each row that runs, step after step."""
        return np.repeat(np.arange(self.steps), self.counts)

    @cached_property
    def row(self) -> Int[Array, " R"]:
        """Its place among the rows of its step."""
        return np.arange(self.total) - self.starts[self.step]  # type: ignore[no-any-return]

    @cached_property
    def user(self) -> Int[Array, " R"]:
        """The user's place in the batch."""
        return self.users[self.row]  # type: ignore[no-any-return]

    @cached_property
    def user_time(self) -> Int[Array, " R"]:
        """The user's step."""
        return self.lengths[self.row] - 1 - self.step if self.reverse else self.step

    @cached_property
    def _before(self) -> Int[Array, " _"]:
        """Which row is the same sequence a step earlier, for those after the first step."""
        first = int(self.counts[0])
        return self.starts[self.step[first:] - 1] + self.row[first:]  # type: ignore[no-any-return]

    @cached_property
    def last(self) -> tuple[Int[Array, " _"], Int[Array, " _"]]:
        """Which rows are the last steps of their sequences, and the places of these sequences."""
        some = np.flatnonzero(self.lengths)
        return self.starts[self.lengths[some] - 1] + some, some

    # Where rows lie that start at an address, an entry for each row that runs; pitches are in bytes.

    def at_steps(self, start: int, step: int, row: int) -> Table:
        """The rows of a (T, B, ·) tensor with these pitches."""
        return start + self.user * row + self.user_time * step  # type: ignore[no-any-return]

    def at_once(self, start: int, pitch: int) -> Int[Array, " B"]:
        """The rows of a (B, ·) tensor, an entry for each sequence."""
        return start + self.users * pitch

    def one_after_another(self, start: int, pitch: int) -> Table:
        """The rows of all steps, where they lie one after another."""
        return start + np.arange(self.total) * pitch

    def in_turn(self, start: int, pitch: int, ahead: int = 0) -> Table:
        """The rows in a (2 B, ·) tensor of which steps use the halves in turn, or those of the step `ahead`."""
        return start + ((self.step + ahead) % 2 * self.batch + self.row) * pitch  # type: ignore[no-any-return]

    def put_first(self, table: Table, where: Int[Array, " B"]) -> None:
        """What belongs to the first step lies elsewhere."""
        first = int(self.counts[0])
        table[:first] = where[:first]

    def put_last(self, table: Table, where: Int[Array, " B"]) -> None:
        """What belongs to the last step of each sequence lies elsewhere."""
        rows, some = self.last
        table[rows] = where[some]

    def delayed(self, table: Table, first: Int[Array, " B"]) -> Table:
        """The entry of a step for the step after it; at the first step another one."""
        return np.concatenate([first[: int(self.counts[0])], table[self._before]])

    def are_reset(self, ahead: int = 0) -> Bool[Array, " R"] | None:
        """Which rows start from zero, at their step or the one `ahead`; None where none does."""
        if self.resets is None:
            return None
        flags = np.concatenate([self.resets[ahead:], np.zeros_like(self.resets[:ahead])])
        return flags[self.step, self.row]  # type: ignore[no-any-return]


class Chunk(NamedTuple):
    """Steps that are done together.

    Attributes:
        begin, end: the first step, and the one after the last.
        low, high: the first row of these steps, and the one after the last; -1 for the last row of all.
        most: rows at most.
    """

    begin: int
    end: int
    low: int
    high: int
    most: int

    def size(self, rows: Rows) -> int:
        """The number of rows."""
        return (rows.total if self.high < 0 else self.high) - self.low


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
    users, own, counts = np.arange(batch), np.full(batch, steps), np.full(steps, batch)
    if lengths is not None:
        given = lengths.numpy().astype(np.int64)
        users = np.argsort(-given, kind="stable")
        own = given[users]
        counts = batch - np.searchsorted(own[::-1], np.arange(steps), side="right")  # those longer than a step's number
    starts = np.zeros(steps + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    flags = None
    if resets is not None:
        given, time = resets.numpy(), np.arange(steps)[:, None]
        if reverse:  # the same segments, walked from their ends
            given = np.concatenate([given[1:], np.zeros_like(given[:1])])
            time = np.maximum(own - 1 - time, 0)
        flags = given[time, users]
    return Rows(users, own, counts, starts, reverse, lengths is not None, flags)
