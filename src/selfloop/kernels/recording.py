"""`SequenceRecorder`: records what all parts of a call over sequences need, its tables of rows above all."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from selfloop.compiler import ADD_BLOCK, TILE_ROWS, KernelLayout, Kernels, tools
from selfloop.kernels import team
from selfloop.kernels.command_buffer import Recorder
from selfloop.kernels.launch import Launch, Parameter, set_parameters
from selfloop.kernels.ragged import Chunk, Rows
from selfloop.kernels.relocations import Numbers
from selfloop.kernels.row_tables import Once, RowTable

CHUNK_BYTES = 1 << 23
"""Bytes of cotangents after which the gradients of matrices are updated: enough that their sums are seldom stored and
loaded again, and no more workspace than that (on two threads an LSTM of 1024 units trains in 412 ms with a quarter of
it, in 387, and in 364 with four times as much; one of 64 in 3.2 ms with any). It does not depend on the number of
threads, since the order of the sums, and so their bits, depends on it."""

SPLIT_UNITS_BYTES = 3 << 19
"""Bytes of weights above which the threads split the units, so that each reads its own part of the weights at each step
(LSTM of 512 units, 4 MiB: 54 ms instead of 60, and 26 instead of 90 at one sequence)."""

SPLIT_UNITS_BYTES_FEW = 3 << 15
"""The same where there are at most two sequences for each thread (an LSTM of 256 units infers 4 sequences in 2.2 ms
instead of 3.8; of 64 units, in as long)."""

ROUNDED_ROWS = 256
"""Rows of a thread that are rounded to bfloat16 before they are multiplied."""


class Signature(NamedTuple):
    """What a command buffer depends on, beside the rows: calls with the same signature and rows use the same one.

    Attributes:
        kernels: the cell's.
        x: the bytes from step to step and from row to row of the input.
        dy: those of the output's cotangent; unused forward.
        dx: those of the input's cotangent; unused forward.
        matrices: the name, shape and strides of each matrix.
        is_random: whether the cell draws.
        needs_gradient: whether there will be a backward pass.
        recompute: see Problem.
        threads: their number.
        zeros: the tensors that are not given, since they are zero: ``first h``, ``dh_next c``, …
        summed: the name and size of each vector of which two are given, whose sum is meant.
    """

    kernels: Kernels
    x: tuple[int, int]
    dy: tuple[int, int]
    dx: tuple[int, int]
    matrices: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    is_random: bool
    needs_gradient: bool
    recompute: int
    threads: int
    zeros: frozenset[str] = frozenset()
    summed: tuple[tuple[str, int], ...] = ()

    @property
    def saves_residuals(self) -> bool:
        """Whether the forward pass saves all that the backward pass needs."""
        return self.needs_gradient and not self.recompute


class SequenceRecorder:
    """Records a call over sequences: tables of the rows of input, output and states, and launches that read them."""

    def __init__(self, signature: Signature, rows: Rows, names: Sequence[str]) -> None:
        self.signature, self.rows, self.kernels = signature, rows, signature.kernels
        self.item = self.kernels.bits // 8
        code = tools(self.kernels.bits, self.kernels.target, self.kernels.bfloat16)
        self.recorder = Recorder(code, signature.threads, rows, names)
        self.chunk_bytes = CHUNK_BYTES
        self.most_rows = rows.steps * rows.batch
        self.rows_at_once = ROUNDED_ROWS * signature.threads if self.kernels.bfloat16 else self.most_rows
        self.tables: dict[tuple[str, str], int] = {}
        self.zeros = self.recorder.write(np.zeros(max(self.kernels.states.values()), dtype=np.int64))
        self.starts = self.recorder.write_of_rows(lambda rows: rows.starts)
        self.counts = self.recorder.write_of_rows(lambda rows: rows.counts)
        self.table("x", self.kernels.input, self.at_steps("x", *signature.x))
        if signature.is_random:
            self.table("rng_step", "", RowTable(start=1, time=1))
            self.tables["rng_row", ""] = self.recorder.write_of_rows(lambda rows: rows.users + 1)
        for k, (name, size) in enumerate(self.kernels.states.items()):
            self._state(name, size * self.item, is_output=k == 0)

    def table(self, buffer: str, name: str, table: RowTable) -> None:
        """Record a table that kernels know by a buffer and a name."""
        self.tables[buffer, name] = self.recorder.table(table)

    def at_steps(self, name: str, step: int, row: int) -> RowTable:
        """The rows of a (T, B, ·) tensor of the call with these pitches."""
        return RowTable(self.recorder.base(name), user=row, time=step)

    def of_state(self, name: str, pitch: int) -> Once:
        """Each sequence's row of a state that is given, or zeros."""
        return Once(self.zeros, 0) if name in self.signature.zeros else Once(self.recorder.base(name), pitch)

    def _state(self, name: str, pitch: int, is_output: bool) -> None:
        rows, recorder = self.rows, self.recorder
        first = self.of_state(f"first {name}", pitch)
        if is_output:
            new = self.at_steps("y", rows.batch * pitch, pitch)
        elif self.signature.needs_gradient:
            new = RowTable(recorder.base(f"history {name}"), order=pitch)
        else:
            new = RowTable(recorder.workspace(2 * rows.batch * pitch), turn=pitch)
        if not is_output:
            new = new._replace(last=Once(recorder.base(f"final {name}"), pitch))
        old = new._replace(first=first, is_delayed=True, zeros=self.zeros)
        if rows.is_even:  # a step's old state is the new state of the step before it: one table serves both
            both = recorder.table(new._replace(first=first, is_delayed=True, has_end=True))
            self.tables["h_prev", name], self.tables["h_next", name] = both, both + rows.batch * 8
        else:
            self.table("h_next", name, new)
            self.table("h_prev", name, old)

    def step_launch(self, layout: KernelLayout, function: int) -> Launch:
        """A kernel that runs time steps. The threads split the sequences, or the units of each step."""
        is_few = self.rows.batch <= 2 * self.signature.threads
        by_units = layout.weight_bytes > (SPLIT_UNITS_BYTES_FEW if is_few else SPLIT_UNITS_BYTES)
        launch = self.row_launch(layout, function, by_units)
        if not self.rows.is_ragged:
            launch.split_evenly(self.rows.batch)
        stride = layout.fields["workspace"].stride
        launch.set("workspace", "", self.recorder.workspace(self.rows.batch * stride * self.item))
        if self.signature.is_random:
            launch.set("header", "seed", self.recorder.base("seed"))
        return launch

    def row_launch(self, layout: KernelLayout, function: int, by_units: bool = False) -> Launch:
        """A kernel, with the tables that it reads."""
        launch = Launch(layout, function, self.signature.threads, by_units)
        for (buffer, name), table in self.tables.items():
            launch.set(buffer, name, table)
        if layout.bfloat16:
            rows = max(self.rows.batch, ROUNDED_ROWS) + 2 * TILE_ROWS
            size, threads = rows * layout.rounded[1], len(launch.blocks)
            launch.set("rounded", "", self.recorder.workspace(size * threads) + np.arange(threads) * size)
        return launch

    def set_parameters(self, launches: Sequence[Launch]) -> None:
        """Give kernels the parameters of the call."""
        strides = {name: strides for name, _, strides in self.signature.matrices}
        arguments = [key for launch in launches for key in launch.layout.arguments]
        names = {name for buffer, name in arguments if buffer in ("param", "matrix")}
        parameters = {name: Parameter(self._parameter(name), strides.get(name, ())) for name in names | strides.keys()}
        set_parameters(self.recorder, launches, parameters)

    def _parameter(self, name: str) -> int:
        """Where a parameter lies; the sum of two vectors is made for the call."""
        recorder, size = self.recorder, dict(self.signature.summed).get(name)
        if size is None:
            return recorder.base(f"param {name}")
        share = team.shares(size, recorder.threads)
        goal = recorder.workspace(size * self.item)
        values: dict[str, int | Numbers] = {
            "left": recorder.base(f"param {name}") + share[:-1] * self.item,
            "right": recorder.base(f"second {name}") + share[:-1] * self.item,
            "size": np.diff(share),
            "goal": goal + share[:-1] * self.item,
        }
        recorder.launch(recorder.tools.address("add"), team.argument_blocks(ADD_BLOCK, recorder.threads, values))
        return goal

    def chunks(self, row_bytes: int, steps: int = 0) -> list[Chunk]:
        """The steps in chunks of CHUNK_BYTES, or of so many `steps`, up to the last step that has rows."""
        at_once = steps * self.rows.batch or max(1, self.chunk_bytes // max(1, row_bytes))

        def bounds(rows: Rows) -> list[tuple[int, int]]:
            last, found = rows.longest, [0]
            if not steps and rows.total <= at_once:
                found.append(last)
            while found[-1] < last:
                end = found[-1] + steps
                if not steps:
                    whole = np.searchsorted(rows.starts, rows.starts[found[-1]] + at_once, side="right")
                    end = max(int(whole) - 1, found[-1] + 1)
                found.append(min(last, end))
            return [(t, int(rows.starts[t])) for t in found[:-1]] + [(last, -1)]

        known = self.recorder.fixed(bounds)
        return [
            Chunk(begin, end, low, high, min((end - begin) * self.rows.batch, max(at_once, self.rows.batch)))
            for (begin, low), (end, high) in pairwise(known)
        ]
