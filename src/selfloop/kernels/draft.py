"""A plan while it is written: what it depends on, its sheet, and the tables of rows that all its parts read."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from selfloop.compiler.layout import SIDE, Layout
from selfloop.compiler.pipeline import Kernels, tools
from selfloop.kernels.launch import Launch, Weight, give_weights
from selfloop.kernels.rows import Rows
from selfloop.kernels.sheet import Sheet

CHUNK = 1 << 23
"""Bytes that products over all steps go through at once: enough that sums are seldom stored and loaded again, and no
more workspace than that (on two threads an LSTM of 1024 units trains in 412 ms with a quarter of it, in 387, and in
364 with four times as much; one of 64 in 3.2 ms with any). The same for any number of threads, since the order of the
sums depends on it."""

CACHE = 3 << 19
"""Bytes of weights above which the threads share the units, so that each reads its own part of the weights at each step
(LSTM of 512 units, 4 MiB: 54 ms instead of 60, and 26 instead of 90 at one sequence)."""

FEW = 3 << 15
"""Bytes of weights above which they also do where there are at most two sequences for each thread (an LSTM of 256 units
infers 4 sequences in 2.2 ms instead of 3.8; of 64 units, in as long)."""

AT_ONCE = 256
"""Rows of a thread that are rounded to bfloat16 before they are multiplied."""


class Shape(NamedTuple):
    """What a plan depends on, beside the rows.

    Attributes:
        kernels: the cell's.
        x: the pitches of the input's steps and rows, in bytes.
        above: those of the gradient of the output; of no use forward.
        below: those of the gradient of the input.
        matrices: the shape and the strides of each matrix, by name.
        is_random: whether the cell draws.
        keep: whether there will be a gradient.
        checkpoint: see Problem.
        threads: how many share the work.
    """

    kernels: Kernels
    x: tuple[int, int]
    above: tuple[int, int]
    below: tuple[int, int]
    matrices: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    is_random: bool
    keep: bool
    checkpoint: int
    threads: int

    @property
    def is_recorded(self) -> bool:
        """Whether all that the step backward needs is kept."""
        return self.keep and not self.checkpoint


class Draft:
    """A plan while it is written: a sheet, and the tables of what is the user's or is kept."""

    def __init__(self, shape: Shape, rows: Rows) -> None:
        self.shape, self.rows, self.kernels = shape, rows, shape.kernels
        self.item = self.kernels.bits // 8
        self.chunk = CHUNK
        self.sheet = Sheet(tools(self.kernels.bits, self.kernels.target, self.kernels.bfloat16), shape.threads)
        self.at_once = AT_ONCE * shape.threads if self.kernels.bfloat16 else rows.total
        self.tables: dict[tuple[str, str], int] = {}
        self.zeros = self.sheet.write(np.zeros(max(self.kernels.states.values()), dtype=np.int64))
        self.starts, self.counts = self.sheet.write(rows.starts), self.sheet.write(rows.counts)
        start = self.sheet.base("x")
        self.table("input", self.kernels.input, rows.at_steps(start, *shape.x))
        if shape.is_random:
            self.table("when", "", np.broadcast_to(rows.time, (rows.steps, rows.batch)) + 1)
            self.tables["who", ""] = self.sheet.write(rows.users + 1)
        for k, (name, size) in enumerate(self.kernels.states.items()):
            self._state(name, size * self.item, is_output=k == 0)

    def table(self, kind: str, name: str, table: np.ndarray) -> None:
        """Where rows lie at each step."""
        self.tables[kind, name] = self.sheet.write(self.rows.packed(table))

    def _state(self, name: str, pitch: int, is_output: bool) -> None:
        rows, sheet = self.rows, self.sheet
        if is_output:
            new = rows.at_steps(sheet.base("y"), rows.batch * pitch, pitch)
        else:
            if self.shape.keep:
                new = rows.one_after_another(sheet.base(f"history {name}"), pitch)
            else:
                new = rows.in_turn(sheet.room(2 * rows.batch * pitch), pitch)
            rows.put_last(new, rows.at_once(sheet.base(f"final {name}"), pitch))
        new = np.concatenate([rows.at_once(sheet.base(f"first {name}"), pitch)[None], new])
        if rows.is_even:
            self.tables["old", name] = sheet.write(new.reshape(-1))
            self.tables["new", name] = self.tables["old", name] + rows.batch * 8
        else:
            old = new[:-1] if rows.resets is None else np.where(rows.resets, self.zeros, new[:-1])
            self.table("new", name, new[1:])
            self.table("old", name, old)

    def launch(self, layout: Layout, function: int) -> Launch:
        """A function that walks the steps: the threads share the rows, or the units of each step."""
        by_units = layout.weight_bytes > (FEW if self.rows.batch <= 2 * self.shape.threads else CACHE)
        launch = self.launch_rows(layout, function, by_units)
        if self.rows.active is None:
            launch.share(self.rows.batch)
        stride = layout.fields["scratch"].stride
        launch.give("scratch", "", self.sheet.room(self.rows.batch * stride * self.item))
        if self.shape.is_random:
            launch.give("header", "seed", self.sheet.base("seed"))
        return launch

    def launch_rows(self, layout: Layout, function: int, by_units: bool = False) -> Launch:
        """A function, with the tables."""
        launch = Launch(layout, function, self.shape.threads, by_units)
        for (kind, name), table in self.tables.items():
            launch.give(kind, name, table)
        if layout.bfloat16:
            rows = max(self.rows.batch, AT_ONCE) + 2 * SIDE
            size = rows * layout.rounded[1]
            launch.give(
                "rounded", "", self.sheet.room(size * len(launch.blocks)) + np.arange(len(launch.blocks)) * size
            )
        return launch

    def give_weights(self, launches: Sequence[Launch]) -> None:
        """Pack the weights."""
        strides = {name: strides for name, _, strides in self.shape.matrices}
        names = {name for launch in launches for kind, name in launch.layout.arguments if kind == "param"}
        weights = {
            name: Weight(self.sheet.base(f"param {name}"), strides.get(name, ())) for name in names | strides.keys()
        }
        give_weights(self.sheet, launches, weights)

    def chunks(self, row_bytes: int, steps: int = 0) -> list[tuple[int, int]]:
        """The steps in chunks of CHUNK bytes, or of so many `steps`, up to the last step that has rows."""
        rows = self.rows
        last = int(np.count_nonzero(rows.counts))
        if steps:
            return [(t, min(t + steps, last)) for t in range(0, last, steps)]
        at_once = max(1, self.chunk // max(1, row_bytes))
        bounds = [0]
        while bounds[-1] < last:
            end = int(np.searchsorted(rows.starts, rows.starts[bounds[-1]] + at_once, side="right")) - 1
            bounds.append(min(last, max(end, bounds[-1] + 1)))
        return list(pairwise(bounds))

    def most(self, chunks: Sequence[tuple[int, int]]) -> int:
        """The rows of the largest chunk."""
        return max(int(self.rows.starts[end] - self.rows.starts[begin]) for begin, end in chunks)
