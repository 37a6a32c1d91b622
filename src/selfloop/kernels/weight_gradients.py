"""The gradients of matrices: C[M, N] += AᵀB over the rows of all steps, chunk by chunk."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from selfloop.compiler import OUTER_PRODUCT_BLOCK, ROW_TABLES, Kernels, WeightGradient
from selfloop.kernels import team
from selfloop.kernels.ragged import Chunk
from selfloop.kernels.recording import SequenceRecorder
from selfloop.kernels.relocations import Numbers

ROWS_PER_SUM = 1 << 15
"""Rows from which the gradient of a matrix is a sum of partial sums, one for so many rows, to bound the rounding error
(LSTM of 8 units, 3 million rows: a relative error of 6e-6 with one sum, of 2e-7 with partial ones)."""

MOST_PARTIAL_SUMS = 32
"""Partial sums at most; all of them take at most as many bytes as a chunk."""


class Accumulation(NamedTuple):
    """Where the gradients of matrices are accumulated: in their own memory, or in partial sums that start at zero.

    Attributes:
        starts: their addresses, or those of their first partial sums.
        sizes: the bytes of each.
        chunks: the number of chunks of steps that are added.
        partial: the number of partial sums of each; 1 where it is accumulated in its own memory.
    """

    starts: Mapping[str, int]
    sizes: Mapping[str, int]
    chunks: int
    partial: int

    def address(self, name: str, chunk: int) -> int:
        """Where a chunk is added."""
        return self.starts[name] + chunk * self.partial // self.chunks * self.sizes[name]


def accumulation(call: SequenceRecorder, chunks: int) -> Accumulation:
    """Where the gradients of so many chunks are accumulated, with workspace for the partial sums."""
    sizes = {name: math.prod(shape) * call.item for name, shape, _ in call.signature.matrices}
    room = call.chunk_bytes // max(1, sum(sizes.values()))
    most = call.recorder.fixed(lambda rows: rows.total // ROWS_PER_SUM)
    partial = min(MOST_PARTIAL_SUMS, chunks, most, room)
    if partial <= 1:
        return Accumulation({name: call.recorder.base(f"gradient {name}") for name in sizes}, sizes, chunks, 1)
    starts = {name: call.recorder.workspace(size * partial, name) for name, size in sizes.items()}
    return Accumulation(starts, sizes, chunks, partial)


class WeightGradients:
    """Records the outer products of each chunk.

    Args:
        call: the call.
        cotangents: the address of A: those of a chunk's rows, one row after another.
        pitch: the bytes from one row of A to the next.
        sums: where the gradients are accumulated.
    """

    def __init__(self, call: SequenceRecorder, cotangents: int, pitch: int, sums: Accumulation) -> None:
        self.call, self.sums = call, sums
        kernels, recorder, item, threads = call.kernels, call.recorder, call.item, call.signature.threads
        shapes = {name: shape for name, shape, _ in call.signature.matrices}
        share = max((kernels.gradient_workspace(g) * item for g in kernels.weight_gradients), default=0)
        workspace = recorder.workspace(threads * share) + np.arange(threads) * share
        self.is_zero = {name: sums.partial > 1 or not is_covered(kernels, name, own) for name, own in shapes.items()}
        self.blocks = []
        for g in kernels.weight_gradients:
            width = shapes[g.matrix.name][1]
            shares = team.shares(kernels.gradient_tiles(g), threads)
            values: dict[str, int | Numbers] = {
                "begin": shares[:-1],
                "end": shares[1:],
                "m": g.m,
                "n": g.n,
                "workspace": workspace,
                "a": cotangents + g.cotangent_offset * item,
                "a_stride": pitch // item,
                "c": (g.matrix.row * width + g.matrix.column) * item,
                "c_stride": width,
            }
            self.blocks.append(team.argument_blocks(OUTER_PRODUCT_BLOCK, threads, values))

    def record(self, residuals: int, chunk: Chunk, order: int) -> None:
        """Add the rows of a chunk, in their order; `residuals` is where those of the first row would lie."""
        recorder = self.call.recorder
        made = {OUTER_PRODUCT_BLOCK.index("k"): lambda rows: np.full(recorder.threads, chunk.size(rows))}
        for g, shared in zip(self.call.kernels.weight_gradients, self.blocks, strict=True):
            name, blocks = g.matrix.name, shared.copy()
            rows, offset = self._multiplied(g, residuals, chunk)
            values = {"b": rows, "b_offset": offset, "is_first": order == 0 and not self.is_zero[name]}
            for key, value in values.items():
                blocks[:, OUTER_PRODUCT_BLOCK.index(key)] = value
            blocks[:, OUTER_PRODUCT_BLOCK.index("c")] += self.sums.address(name, order)
            recorder.launch(recorder.tools.address("outer_product"), blocks, made)

    def _multiplied(self, g: WeightGradient, residuals: int, chunk: Chunk) -> tuple[int, int]:
        """B: the table of its rows, and the first element of a row."""
        call, location = self.call, g.multiplied
        if location.buffer in ROW_TABLES:
            return call.tables[location.buffer, location.name] + chunk.low * 8, location.offset
        if location.buffer == "param":  # all rows are the same
            rows = np.full(chunk.most, call.recorder.base(f"param {location.name}"))
            return call.recorder.write(rows), location.offset
        fields = call.kernels.train.fields[location.buffer]
        rows = residuals + np.arange(chunk.low, chunk.low + chunk.most) * (fields.stride * call.item)
        return call.recorder.write(rows), fields.offsets[location.name, location.offset]


def is_covered(kernels: Kernels, name: str, shape: tuple[int, ...]) -> bool:
    """Whether each element of a matrix gets its gradient from one product, so that it need not be zero at first."""
    gradients = [g for g in kernels.weight_gradients if g.matrix.name == name]
    return sum(g.m * g.n for g in gradients) == shape[0] * shape[1] and not any(
        _overlap((a.matrix.row, a.m), (b.matrix.row, b.m)) and _overlap((a.matrix.column, a.n), (b.matrix.column, b.n))
        for a, b in combinations(gradients, 2)
    )


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two spans, each a start and a size, overlap."""
    return a[0] < b[0] + b[1] and b[0] < a[0] + a[1]
