"""Gradients of matrices: sums of outer products over all rows of a batch, as one product of two tall matrices."""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I64, POINTER
from selfloop.compiler.targets import Target

BLOCK = (
    *("item", "items", "rows", "owed", "columns", "read", "offset", "room"),
    *("delta", "stride", "result", "pitch", "is_first"),
)
"""The block: this thread's share is from `item` up to `items`; the rows in all; how many elements are owed and
how many are read in a row, which are the rows and columns of the result; a table of addresses of what is read, and the
first element of it; room of this thread's own for a copy of what is owed; what is owed, row after row of `stride`
elements; the result, row after row of `pitch` elements; and whether it begins with these rows, or is there already."""

CHUNK = 128
"""Rows in one go: 128 of 64 lanes are 32 KiB, which the first cache holds once they are copied together. In its place,
rows at a distance of 8 KiB fall on each other there, as do those of what is owed (an LSTM of 512 units trains in 71 ms
with both in their places, in 57 with one copied, in 54 with both)."""


def room(target: Target, element_bytes: int, owed: int, columns: int) -> int:
    """How many elements of room a thread needs."""
    del columns
    lanes = target.lanes(element_bytes)
    return -(-owed // lanes) * lanes * CHUNK


def tiles(target: Target, element_bytes: int, owed: int, columns: int) -> int:
    """How many rows of tiles a result has, for `item` and `items`."""
    del element_bytes, columns
    return -(-owed // target.rows(target.columns))


def emit_outer(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`: result[j, f] (+)= sum over rows of delta[row][j] * read[row][f]."""
    _Outer(module, name, target, bits).write()


class _Outer(Function):
    def __init__(self, module: ir.Module, name: str, target: Target, bits: int) -> None:
        super().__init__(module, name, target, bits)
        self.width, self.height = target.columns, target.rows(target.columns)
        self.given = {key: self.argument(k) for k, key in enumerate(BLOCK)}
        pointers = (self.builder.inttoptr(self.given[key], POINTER) for key in ("read", "delta", "result", "room"))
        self.table, self.delta, self.result, self.room = pointers
        self.near = self.space(CHUNK * self.width)

    def write(self) -> None:
        """The whole function: chunk by chunk of rows, panel by panel of columns, block by block of what is owed."""
        b, given, lanes = self.builder, self.given, self.vectors.lanes
        tall = b.sdiv(self.plus(given["owed"], self.height - 1), I64(self.height))
        vectors = b.sdiv(self.plus(given["columns"], lanes - 1), I64(lanes))
        panels = b.sdiv(self.plus(vectors, self.width - 1), I64(self.width))
        with self.loop(0, given["rows"], CHUNK) as low:
            rows = self.least(CHUNK, b.sub(given["rows"], low))
            begins = b.and_(b.icmp_signed("==", low, I64(0)), b.icmp_signed("!=", given["is_first"], I64(0)))
            self.copy_owed(low, rows, *(b.sdiv(self.times(given["owed"], given[k]), tall) for k in ("item", "items")))
            with self.loop(0, panels) as panel:
                column, wide = self.share(panel, panels, vectors)
                self.copy_read(low, rows, column, wide)
                with self.loop(given["item"], given["items"]) as block:
                    top, high = self.share(block, tall, given["owed"])
                    self.tile(rows, top, high, column, wide, begins)
        self.finish()

    def share(self, k: ir.Value, parts: ir.Value, total: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Where the k-th of nearly equal parts starts, and its size."""
        start = self.builder.sdiv(self.times(total, k), parts)
        end = self.builder.sdiv(self.times(total, self.plus(k, 1)), parts)
        return start, self.builder.sub(end, start)

    def within(self, first: ir.Value) -> ir.Value:
        """Which lanes of the vector that starts at this column are columns."""
        return self.first_lanes(self.builder.sub(self.given["columns"], first))

    def copy_owed(self, low: ir.Value, rows: ir.Value, begin: ir.Value, end: ir.Value) -> None:
        """What this thread's share is owed in these rows, as [vector][row][lane]; a row has room for whole vectors."""
        lanes = self.vectors.lanes
        with self.loop(0, rows) as r:
            source = self.at(self.delta, self.times(self.plus(low, r), self.given["stride"]))
            with self.loop(self.builder.and_(begin, I64(-lanes)), end, lanes) as j:
                goal = self.at(self.room, self.plus(self.times(j, CHUNK), self.times(r, lanes)))
                self.store(self.load(self.at(source, j)), goal)

    def copy_read(self, low: ir.Value, rows: ir.Value, column: ir.Value, wide: ir.Value) -> None:
        """What was read in these rows and columns, side by side."""
        b, lanes = self.builder, self.vectors.lanes
        whole = self.least(wide, b.sub(b.sdiv(self.given["columns"], I64(lanes)), column))
        start = self.times(column, lanes)
        with self.loop(0, rows) as r:
            read = self.at(self.address(self.table, self.plus(low, r)), self.plus(self.given["offset"], start))
            goal = self.at(self.near, self.times(r, self.times(wide, lanes)))
            with self.loop(0, whole) as c:
                place = self.times(c, lanes)
                self.store(self.load(self.at(read, place)), self.at(goal, place))
            with self.loop(whole, wide) as c:
                place = self.times(c, lanes)
                self.store(self.load(self.at(read, place), self.within(self.plus(start, place))), self.at(goal, place))

    def tile(
        self, rows: ir.Value, top: ir.Value, high: ir.Value, column: ir.Value, wide: ir.Value, begins: ir.Value
    ) -> None:
        """A tile of the result, by a piece of code for each height and width."""
        b = self.builder
        after = self.function.append_basic_block("done")
        shape = self.plus(self.times(b.sub(high, I64(1)), self.width), b.sub(wide, I64(1)))
        cases = [self.function.append_basic_block(f"tile{k}") for k in range(self.height * self.width)]
        switch = b.switch(shape, cases[-1])
        for k, case in enumerate(cases):
            switch.add_case(I64(k), case)
            b.position_at_end(case)
            self.sums(rows, top, 1 + k // self.width, column, 1 + k % self.width, begins)
            b.branch(after)
        b.position_at_end(after)

    def sums(self, rows: ir.Value, top: ir.Value, high: int, column: ir.Value, wide: int, begins: ir.Value) -> None:
        """A tile of known height and width."""
        v, b = self.vectors, self.builder
        first = self.times(column, v.lanes)
        masks = [None] * (wide - 1) + [self.within(self.plus(first, (wide - 1) * v.lanes))]
        lines = [self.at(self.result, self.times(self.plus(top, j), self.given["pitch"])) for j in range(high)]
        places = [
            (self.at(line, self.plus(first, c * v.lanes)), mask) for line in lines for c, mask in enumerate(masks)
        ]
        owed = []
        for j in range(high):
            at = self.plus(top, j)
            lane = b.and_(at, I64(v.lanes - 1))
            owed.append(self.at(self.room, self.plus(self.times(b.sub(at, lane), CHUNK), lane)))

        def turn(row: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            read = self.at(self.near, self.times(row, wide * v.lanes))
            vectors = [self.load(self.at(read, c * v.lanes)) for c in range(wide)]
            elements = [self.load_scalar(self.at(own, self.times(row, v.lanes))) for own in owed]
            return [v.fma(elements[k // wide], vectors[k % wide], total) for k, total in enumerate(carried)]

        # The sum of these rows starts from zero: its rounding error grows with their number, not with that of all.
        for total, (place, mask) in zip(self.fold(0, rows, [v.const(0.0)] * len(places), turn), places, strict=True):
            before = b.select(begins, v.const(0.0), self.load(place, mask))
            self.store(b.fadd(before, total), place, mask)
