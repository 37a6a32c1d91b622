"""`outer_product`: the gradient of a matrix, C[M, N] += AᵀB, a sum of outer products over the rows of a batch.

A[K, M] has the cotangents of the product, B[K, N] what the matrix multiplied, and K is the number of rows: one for each
sequence at each time step. K is cut into chunks; of each chunk the columns that a tile reads are copied side by side,
in bfloat16 as pairs of two rows.
"""

from collections.abc import Callable
from functools import partial

from llvmlite import ir

from selfloop.compiler.cpu.emit.bfloat16 import pair_products, paired
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.vectors import POINTER
from selfloop.compiler.cpu.targets import PairProducts, Target

OUTER_PRODUCT_BLOCK = (
    *("begin", "end", "k", "m", "n", "b", "b_offset", "workspace"),
    *("a", "a_stride", "c", "c_stride", "is_first"),
)
"""The argument block.

    begin, end      the tiles of this thread: from `begin` up to `end`, of those that `tiles` counts
    k, m, n         the sizes
    b, b_offset     a table with the address of each row of B, and the first element of it that is read
    workspace       this thread's own, of the size that `workspace` gives
    a, a_stride     A, and the elements from one row to the next
    c, c_stride     C, and the elements from one row to the next
    is_first        whether C starts with this sum, rather than being added to
"""

CHUNK = 128
"""Rows of A and B in a chunk, or pairs of them: 128 of 64 lanes are 32 KiB, which the first-level cache holds once they
are copied side by side. In their own places, rows that are 8 KiB apart map to the same sets of the cache (an LSTM of
512 units trains in 71 ms without copies, in 57 with one of B, in 54 with both)."""


PITCH = CHUNK + 1
"""Steps from one copied vector of A to the next: with 128 of 64 bytes all vectors of a step would share a set of the
cache."""

ADJACENT = 8
"""Steps of which the copies of one vector of A are written one after another; with `PITCH`, outer products take 0.90,
0.87, 0.93 and 0.95 times as long for LSTMs of 64, 128, 256 and 512 units."""


def workspace(target: Target, element_bytes: int, m: int, n: int) -> int:
    """The elements of workspace that a thread needs."""
    del n
    lanes = target.lanes(element_bytes)
    return -(-m // lanes) * lanes * PITCH


def tiles(target: Target, element_bytes: int, m: int, n: int) -> int:
    """The number of rows of register tiles that C has, which the threads share."""
    del element_bytes, n
    return -(-m // target.rows(target.columns))


def emit_outer_product(
    module: ir.Module, name: str, target: Target, bits: int, bfloat16: PairProducts | None = None
) -> None:
    """Write the function `name`; with `bfloat16`, of numbers that are rounded to it."""
    _OuterProduct(module, name, target, bits, bfloat16).write()


class _OuterProduct(Function):
    def __init__(self, module: ir.Module, name: str, target: Target, bits: int, bfloat16: PairProducts | None) -> None:
        super().__init__(module, name, target, bits)
        self.at_once = 2 if bfloat16 else 1  # rows
        self.multiply_add = partial(pair_products, self) if bfloat16 else self.vectors.fma
        self.width, self.height = target.columns, target.rows(target.columns)
        self.given = {key: self.argument(k) for k, key in enumerate(OUTER_PRODUCT_BLOCK)}
        pointers = (self.builder.inttoptr(self.given[key], POINTER) for key in ("b", "a", "c", "workspace"))
        self.b_rows, self.a, self.c, self.a_packed = pointers
        self.b_packed = self.space(CHUNK * self.width)

    def write(self) -> None:
        """The whole function: for each chunk of rows, each panel of columns and each row of tiles, a tile."""
        b, given, lanes = self.builder, self.given, self.vectors.lanes
        tall = b.sdiv(self.plus(given["m"], self.height - 1), self.index(self.height))
        vectors = b.sdiv(self.plus(given["n"], lanes - 1), self.index(lanes))
        panels = b.sdiv(self.plus(vectors, self.width - 1), self.index(self.width))
        with self.loop(0, given["k"], CHUNK * self.at_once) as low:
            rows = self.least(CHUNK * self.at_once, b.sub(given["k"], low))
            steps = b.sdiv(self.plus(rows, self.at_once - 1), self.index(self.at_once))
            begins = b.and_(
                b.icmp_signed("==", low, self.index(0)), b.icmp_signed("!=", given["is_first"], self.index(0))
            )
            self.pack_a(
                low, rows, steps, *(b.sdiv(self.times(given["m"], given[key]), tall) for key in ("begin", "end"))
            )
            with self.loop(0, panels) as panel:
                column, wide = self.share(panel, panels, vectors)
                self.pack_b(low, rows, steps, column, wide)
                with self.loop(given["begin"], given["end"]) as block:
                    top, high = self.share(block, tall, given["m"])
                    self.tile(steps, top, high, column, wide, begins)
        self.finish()

    def share(self, k: ir.Value, parts: ir.Value, total: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The start and the size of the k-th of nearly equal parts."""
        start = self.builder.sdiv(self.times(total, k), parts)
        end = self.builder.sdiv(self.times(total, self.plus(k, 1)), parts)
        return start, self.builder.sub(end, start)

    def within(self, first: ir.Value) -> ir.Value:
        """Which lanes of the vector that starts at this column are columns of C."""
        return self.first_lanes(self.builder.sub(self.given["n"], first))

    def reader(
        self, r: ir.Value, rows: ir.Value, line: Callable[[ir.Value], ir.Value]
    ) -> Callable[[ir.Value, ir.Value | None], ir.Value]:
        """What loads vectors at the r-th step of a sum over the rows of a chunk; of pairs of rows in bfloat16.

        Args:
            r: the step.
            rows: the rows of the chunk.
            line: from the index of a row in the chunk, its address.
        """
        if self.at_once == 1:
            start = line(r)
            return lambda place, mask: self.load(self.at(start, place), mask)
        first = self.times(r, 2)
        second = self.plus(first, 1)
        is_row = self.builder.icmp_signed("<", second, rows)
        lines = [line(first), line(self.builder.select(is_row, second, first))]

        def load(place: ir.Value, mask: ir.Value | None) -> ir.Value:
            upper, lower = (self.load(self.at(start, place), mask) for start in lines)
            return paired(self, upper, self.vectors.select(is_row, lower, self.vectors.const(0.0)))

        return load

    def pack_a(self, low: ir.Value, rows: ir.Value, steps: ir.Value, begin: ir.Value, end: ir.Value) -> None:
        """Copy this thread's columns of A, as [vector][step][lane] with room for one more step. A row of A is padded
        to whole vectors.
        """
        lanes = self.vectors.lanes

        def line(row: ir.Value) -> ir.Value:
            return self.at(self.a, self.times(self.plus(low, row), self.given["a_stride"]))

        with (
            self.loop(0, steps, ADJACENT) as first,
            self.loop(self.builder.and_(begin, self.index(-lanes)), end, lanes) as j,
            self.loop(first, self.least(self.plus(first, ADJACENT), steps)) as r,
        ):
            packed = self.at(self.a_packed, self.plus(self.times(j, PITCH), self.times(r, lanes)))
            self.store(self.reader(r, rows, line)(j, None), packed)

    def pack_b(self, low: ir.Value, rows: ir.Value, steps: ir.Value, column: ir.Value, wide: ir.Value) -> None:
        """Copy the columns of B that a panel reads, step after step."""
        b, lanes = self.builder, self.vectors.lanes
        whole = self.least(wide, b.sub(b.sdiv(self.given["n"], self.index(lanes)), column))
        start = self.times(column, lanes)

        def line(row: ir.Value) -> ir.Value:
            return self.at(self.address(self.b_rows, self.plus(low, row)), self.plus(self.given["b_offset"], start))

        with self.loop(0, steps) as r:
            load = self.reader(r, rows, line)
            packed = self.at(self.b_packed, self.times(r, self.times(wide, lanes)))
            with self.loop(0, whole) as c:
                place = self.times(c, lanes)
                self.store(load(place, None), self.at(packed, place))
            with self.loop(whole, wide) as c:
                place = self.times(c, lanes)
                mask = self.within(self.plus(start, place))
                self.store(load(place, mask), self.at(packed, place))

    def tile(
        self, steps: ir.Value, top: ir.Value, high: ir.Value, column: ir.Value, wide: ir.Value, begins: ir.Value
    ) -> None:
        """A tile of C, unrolled for each height and width that it may have."""
        b = self.builder
        after = self.function.append_basic_block("done")
        shape = self.plus(self.times(b.sub(high, self.index(1)), self.width), b.sub(wide, self.index(1)))
        cases = [self.function.append_basic_block(f"tile{k}") for k in range(self.height * self.width)]
        switch = b.switch(shape, cases[-1])
        for k, case in enumerate(cases):
            switch.add_case(self.index(k), case)
            b.position_at_end(case)
            self.unrolled(steps, top, 1 + k // self.width, column, 1 + k % self.width, begins)
            b.branch(after)
        b.position_at_end(after)

    def unrolled(
        self, steps: ir.Value, top: ir.Value, high: int, column: ir.Value, wide: int, begins: ir.Value
    ) -> None:
        """A tile of known height and width, whose sums are in registers."""
        v, b = self.vectors, self.builder
        first = self.times(column, v.lanes)
        masks = [None] * (wide - 1) + [self.within(self.plus(first, (wide - 1) * v.lanes))]
        lines = [self.at(self.c, self.times(self.plus(top, j), self.given["c_stride"])) for j in range(high)]
        for line in lines:  # a large matrix is in no near cache
            self.prefetch(self.at(line, first), wide)
        places = [
            (self.at(line, self.plus(first, c * v.lanes)), mask) for line in lines for c, mask in enumerate(masks)
        ]
        columns_of_a = []
        for j in range(high):
            at = self.plus(top, j)
            lane = b.and_(at, self.index(v.lanes - 1))
            columns_of_a.append(self.at(self.a_packed, self.plus(self.times(b.sub(at, lane), PITCH), lane)))

        def turn(step: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            line = self.at(self.b_packed, self.times(step, wide * v.lanes))
            vectors = [self.load(self.at(line, c * v.lanes)) for c in range(wide)]
            totals: list[ir.Value] = []
            for own in columns_of_a:  # one element after another: with all of them loaded first, sums are spilt
                element = self.load_scalar(self.at(own, self.times(step, v.lanes)))
                totals += [self.multiply_add(element, vectors[c], carried[len(totals) + c]) for c in range(wide)]
            return totals

        # Each chunk is summed from zero: the rounding error then grows with the rows of a chunk, not with all of them.
        for total, (place, mask) in zip(self.fold(0, steps, [v.const(0.0)] * len(places), turn), places, strict=True):
            before = b.select(begins, v.const(0.0), self.load(place, mask))
            self.store(b.fadd(before, total), place, mask)
