"""The gradients of matrices: sums of outer products over all steps, grown chunk by chunk."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from selfloop.compiler.emit import outer, outer_bfloat16
from selfloop.compiler.layout import BY_TABLE
from selfloop.compiler.pipeline import Kernels, Outer
from selfloop.kernels.draft import Draft
from selfloop.kernels.sheet import Numbers

LONG = 1 << 15
"""Rows from which the gradient of a matrix is a sum of partial sums, one for so many rows, to bound the rounding error
(LSTM of 8 units, 3 million rows: a relative error of 6e-6 with one sum, of 2e-7 with partial ones)."""

PARTIAL = 32
"""Partial sums at most; all of them take at most as many bytes as a chunk."""


class Results(NamedTuple):
    """Where the gradients of matrices grow: in their own places, or in partial sums, which are zero at first.

    Attributes:
        starts: their addresses, or those of the first partial sums.
        sizes: the bytes of each.
        chunks: the chunks of steps that are added.
        partial: the partial sums of each; 1 where it grows in its own place.
    """

    starts: Mapping[str, int]
    sizes: Mapping[str, int]
    chunks: int
    partial: int

    def address(self, name: str, chunk: int) -> int:
        """Where a chunk is added."""
        return self.starts[name] + chunk * self.partial // self.chunks * self.sizes[name]


def results(draft: Draft, chunks: int) -> Results:
    """Where the gradients of so many chunks grow, with room for the partial sums."""
    sizes = {name: math.prod(shape) * draft.item for name, shape, _ in draft.shape.matrices}
    partial = min(PARTIAL, chunks, draft.rows.total // LONG, draft.chunk // max(1, sum(sizes.values())))
    if partial <= 1:
        return Results({name: draft.sheet.base(f"gradient {name}") for name in sizes}, sizes, chunks, 1)
    starts = {name: draft.sheet.room(size * partial, name) for name, size in sizes.items()}
    return Results(starts, sizes, chunks, partial)


class Products:
    """The gradients of matrices: sums of outer products, grown chunk by chunk."""

    def __init__(self, draft: Draft, delta: int, pitch: int, sums: Results) -> None:
        self.draft, self.delta, self.sums = draft, delta, sums
        kernels, sheet, item, threads = draft.kernels, draft.sheet, draft.item, draft.shape.threads
        shapes = {name: shape for name, shape, _ in draft.shape.matrices}
        own = outer_bfloat16 if kernels.bfloat16 else outer
        rooms = [own.room(kernels.target, item, job.rows, job.columns) * item for job in kernels.outers]
        share = max(rooms, default=0)
        room = sheet.room(threads * share) + np.arange(threads) * share
        self.is_zero = {name: sums.partial > 1 or not is_whole(kernels, name, own) for name, own in shapes.items()}
        self.blocks = []
        for job in kernels.outers:
            width = shapes[job.weight.name][1]
            first = job.weight.row * width + job.weight.column
            items = own.tiles(kernels.target, item, job.rows, job.columns)
            shares = items * np.arange(threads + 1) // threads
            values: dict[str, int | Numbers] = {
                "item": shares[:-1],
                "items": shares[1:],
                "owed": job.rows,
                "columns": job.columns,
                "room": room,
                "delta": delta + job.start * item,
                "stride": pitch // item,
                "result": first * item,
                "pitch": width,
            }
            blocks = np.zeros((threads, len(outer.BLOCK)), dtype=np.int64)
            for name, value in values.items():
                blocks[:, outer.BLOCK.index(name)] = value
            self.blocks.append(blocks)

    def add(self, record: int, low: int, high: int, chunk: int) -> None:
        """Add the rows from `low` up to `high`, a chunk; `record` is where that of all steps would start."""
        draft = self.draft
        for job, shared in zip(draft.kernels.outers, self.blocks, strict=True):
            name, blocks = job.weight.name, shared.copy()
            read, offset = self._read(job, record, low, high)
            values = {"rows": high - low, "read": read, "offset": offset}
            values["is_first"] = chunk == 0 and not self.is_zero[name]
            for key, value in values.items():
                blocks[:, outer.BLOCK.index(key)] = value
            blocks[:, outer.BLOCK.index("result")] += self.sums.address(name, chunk)
            draft.sheet.launch(draft.sheet.tools.address("outer"), blocks)

    def _read(self, job: Outer, record: int, low: int, high: int) -> tuple[int, int]:
        """The table of what a job reads in these rows, and where in a row it starts."""
        draft, place = self.draft, job.argument
        if place.kind in BY_TABLE:
            return draft.tables[place.kind, place.name] + low * 8, place.offset
        if place.kind == "param":  # the same for all
            return draft.sheet.write(np.full(high - low, draft.sheet.base(f"param {place.name}"))), place.offset
        fields = draft.kernels.train.fields[place.kind]
        rows = record + np.arange(low, high) * (fields.stride * draft.item)
        return draft.sheet.write(rows), fields.offsets[place.name, place.offset]


def is_whole(kernels: Kernels, name: str, shape: tuple[int, ...]) -> bool:
    """Whether each element of a matrix gets its gradient from one product."""
    own = [job for job in kernels.outers if job.weight.name == name]
    return sum(job.rows * job.columns for job in own) == shape[0] * shape[1] and not any(
        _meet((a.weight.row, a.rows), (b.weight.row, b.rows))
        and _meet((a.weight.column, a.columns), (b.weight.column, b.columns))
        for a, b in combinations(own, 2)
    )


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two spans, each a start and a size, have something in common."""
    return a[0] < b[0] + b[1] and b[0] < a[0] + a[1]
