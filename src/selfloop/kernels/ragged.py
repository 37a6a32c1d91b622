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

from selfloop.compiler import ROWS


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
    def longest(self) -> int:
        """The steps at which any row runs."""
        return int(self.lengths[0]) if self.batch else 0

    @property
    def total(self) -> int:
        """The rows of all steps."""
        return int(self.starts[-1])

    @property
    def is_even(self) -> bool:
        """Whether all sequences run all steps, and keep their states."""
        return not self.is_ragged and self.resets is None

    @cached_property
    def described(self) -> Int[Array, " _"]:
        """What compiled code is told of them: `ROWS`."""
        given: dict[str, int] = {"steps": self.steps, "batch": self.batch, "is_reverse": self.reverse}
        for name in ("users", "lengths", "counts", "starts", "resets"):
            array = getattr(self, name)
            given[name] = 0 if array is None else array.__array_interface__["data"][0]
        return np.array([given[name] for name in ROWS], dtype=np.int64)


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
