"""`SequenceRecorder`: records what all parts of a call over sequences need, its tables of rows above all."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from selfloop.compiler import TILE_ROWS, KernelLayout, Kernels, tools
from selfloop.kernels.command_buffer import Numbers, Recorder
from selfloop.kernels.launch import Launch, Parameter, set_parameters
from selfloop.kernels.ragged import Rows

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

    @property
    def saves_residuals(self) -> bool:
        """Whether the forward pass saves all that the backward pass needs."""
        return self.needs_gradient and not self.recompute


class SequenceRecorder:
    """Records a call over sequences: tables of the rows of input, output and states, and launches that read them."""

    def __init__(self, signature: Signature, rows: Rows) -> None:
        self.signature, self.rows, self.kernels = signature, rows, signature.kernels
        self.item = self.kernels.bits // 8
        code = tools(self.kernels.bits, self.kernels.target, self.kernels.bfloat16)
        self.recorder = Recorder(code, signature.threads)
        self.chunk_bytes = CHUNK_BYTES
        self.rows_at_once = ROUNDED_ROWS * signature.threads if self.kernels.bfloat16 else rows.total
        self.tables: dict[tuple[str, str], int] = {}
        self.zeros = self.recorder.write(np.zeros(max(self.kernels.states.values()), dtype=np.int64))
        self.starts, self.counts = self.recorder.write(rows.starts), self.recorder.write(rows.counts)
        self.table("x", self.kernels.input, rows.at_steps(self.recorder.base("x"), *signature.x))
        if signature.is_random:
            self.table("rng_step", "", np.broadcast_to(rows.time, (rows.steps, rows.batch)) + 1)
            self.tables["rng_row", ""] = self.recorder.write(rows.users + 1)
        for k, (name, size) in enumerate(self.kernels.states.items()):
            self._state(name, size * self.item, is_output=k == 0)

    def table(self, buffer: str, name: str, table: np.ndarray) -> None:
        """Record a table with the address of each row at each step."""
        self.tables[buffer, name] = self.recorder.write(self.rows.packed(table))

    def of_state(self, name: str, pitch: int) -> Numbers:
        """The address of each row of a state that is given, or zero."""
        if name in self.signature.zeros:
            return np.full(self.rows.batch, self.zeros)
        return self.rows.at_once(self.recorder.base(name), pitch)

    def _state(self, name: str, pitch: int, is_output: bool) -> None:
        rows, recorder = self.rows, self.recorder
        if is_output:
            new = rows.at_steps(recorder.base("y"), rows.batch * pitch, pitch)
        else:
            if self.signature.needs_gradient:
                new = rows.one_after_another(recorder.base(f"history {name}"), pitch)
            else:
                new = rows.in_turn(recorder.workspace(2 * rows.batch * pitch), pitch)
            rows.put_last(new, rows.at_once(recorder.base(f"final {name}"), pitch))
        new = np.concatenate([self.of_state(f"first {name}", pitch)[None], new])
        if rows.is_even:  # a step's old state is the new state of the step before it: one table serves both
            self.tables["h_prev", name] = recorder.write(new.reshape(-1))
            self.tables["h_next", name] = self.tables["h_prev", name] + rows.batch * 8
        else:
            old = new[:-1] if rows.resets is None else np.where(rows.resets, self.zeros, new[:-1])
            self.table("h_next", name, new[1:])
            self.table("h_prev", name, old)

    def step_launch(self, layout: KernelLayout, function: int) -> Launch:
        """A kernel that runs time steps. The threads split the sequences, or the units of each step."""
        is_few = self.rows.batch <= 2 * self.signature.threads
        by_units = layout.weight_bytes > (SPLIT_UNITS_BYTES_FEW if is_few else SPLIT_UNITS_BYTES)
        launch = self.row_launch(layout, function, by_units)
        if self.rows.active is None:
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
        names = {name for launch in launches for buffer, name in launch.layout.arguments if buffer == "param"}
        parameters = {
            name: Parameter(self.recorder.base(f"param {name}"), strides.get(name, ()))
            for name in names | strides.keys()
        }
        set_parameters(self.recorder, launches, parameters)

    def chunks(self, row_bytes: int, steps: int = 0) -> list[tuple[int, int]]:
        """The steps in chunks of CHUNK_BYTES, or of so many `steps`, up to the last step that has rows."""
        rows = self.rows
        last = int(np.count_nonzero(rows.counts))
        if steps:
            return [(t, min(t + steps, last)) for t in range(0, last, steps)]
        at_once = max(1, self.chunk_bytes // max(1, row_bytes))
        bounds = [0]
        while bounds[-1] < last:
            end = int(np.searchsorted(rows.starts, rows.starts[bounds[-1]] + at_once, side="right")) - 1
            bounds.append(min(last, max(end, bounds[-1] + 1)))
        return list(pairwise(bounds))

    def largest(self, chunks: Sequence[tuple[int, int]]) -> int:
        """The number of rows of the largest chunk."""
        return max(int(self.rows.starts[end] - self.rows.starts[begin]) for begin, end in chunks)
