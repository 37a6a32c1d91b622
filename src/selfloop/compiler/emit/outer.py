"""The gradient of weights: over all steps and rows, the sum of outer products of what was read and what is owed."""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.vectors import I64, POINTER
from selfloop.compiler.targets import Target

BLOCK = ("item", "items", "rows", "features", "vectors", "read", "offset", "room", "delta", "stride", "result", "pitch")
"""The block: this thread's share of tiles is from `item` up to `items`; the rows in all; how many features are read and
how many vectors are owed; a table of addresses of what is read, and the first element of it; room of this thread's own
for a copy of it; what is owed, row after row of `stride` elements; the result, [features][vectors], row after row of
`pitch` elements."""

CHUNK = 128
"""Rows in one go: 128 of 64 lanes are 32 KiB, which the first cache holds once they are copied together.
In its place, rows at a distance of 8 KiB fall on each other there, as do those of what is read (an LSTM of 512 units
trains in 71 ms with both in their places, in 57 with what is owed copied, in 54 with both)."""


def room(target: Target, element_bytes: int, features: int) -> int:
    """How many elements of room a thread needs."""
    lanes = target.lanes(element_bytes)
    return -(-features // lanes) * lanes * CHUNK


def tiles(target: Target, features: int, vectors: int) -> int:
    """How many tiles a result has, for `item` and `items`."""
    return -(-features // target.rows(target.columns)) * -(-vectors // target.columns)


def emit_outer(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`: result[f, j] += sum over rows of read[row][f] * delta[row][j]."""
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
        """The whole function: chunk by chunk of rows, panel by panel of lanes, block by block of features."""
        b, given = self.builder, self.given
        tall = b.sdiv(self.plus(given["features"], self.height - 1), I64(self.height))
        first, last = b.sdiv(given["item"], tall), b.sdiv(self.plus(given["items"], b.sub(tall, I64(1))), tall)
        panels = b.sdiv(self.plus(given["vectors"], self.width - 1), I64(self.width))
        with self.loop(0, given["rows"], CHUNK) as low:
            rows = self.least(CHUNK, b.sub(given["rows"], low))
            self.copy_read(low, rows)
            with self.loop(first, last) as panel:
                column, wide = self.share(panel, panels, given["vectors"])
                self.copy(low, rows, column, wide)
                done = self.times(panel, tall)
                begin = self.most(b.sub(given["item"], done), 0)
                end = self.least(b.sub(given["items"], done), tall)
                with self.loop(begin, end) as block:
                    feature, deep = self.share(block, tall, given["features"])
                    self.tile(rows, feature, deep, column, wide)
        self.finish()

    def share(self, k: ir.Value, parts: ir.Value, total: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Where the k-th of nearly equal parts starts, and its size."""
        start = self.builder.sdiv(self.times(total, k), parts)
        end = self.builder.sdiv(self.times(total, self.plus(k, 1)), parts)
        return start, self.builder.sub(end, start)

    def copy_read(self, low: ir.Value, rows: ir.Value) -> None:
        """What was read in these rows, as [vector of features][row][lane]."""
        v, b, features = self.vectors, self.builder, self.given["features"]
        kind = ir.VectorType(I64, v.lanes)
        lanes = ir.Constant(kind, list(range(v.lanes)))
        with self.loop(0, rows) as r:
            source = self.at(self.address(self.table, self.plus(low, r)), self.given["offset"])
            with self.loop(0, features, v.lanes) as f:
                mask = b.icmp_signed("<", lanes, v.splat(b.sub(features, f)))
                goal = self.at(self.room, self.plus(self.times(f, CHUNK), self.times(r, v.lanes)))
                self.store(self.load(self.at(source, f), mask), goal)

    def copy(self, low: ir.Value, rows: ir.Value, column: ir.Value, wide: ir.Value) -> None:
        """What is owed in these rows and lanes, side by side."""
        lanes = self.vectors.lanes
        with self.loop(0, rows) as r:
            source = self.at(
                self.delta, self.plus(self.times(self.plus(low, r), self.given["stride"]), self.times(column, lanes))
            )
            goal = self.at(self.near, self.times(r, self.times(wide, lanes)))
            with self.loop(0, wide) as c:
                place = self.times(c, lanes)
                self.store(self.load(self.at(source, place)), self.at(goal, place))

    def tile(self, rows: ir.Value, feature: ir.Value, deep: ir.Value, column: ir.Value, wide: ir.Value) -> None:
        """A tile of the result, by a piece of code for each height and width."""
        b = self.builder
        after = self.function.append_basic_block("done")
        shape = self.plus(self.times(b.sub(deep, I64(1)), self.width), b.sub(wide, I64(1)))
        cases = [self.function.append_basic_block(f"tile{k}") for k in range(self.height * self.width)]
        switch = b.switch(shape, cases[-1])
        for k, case in enumerate(cases):
            switch.add_case(I64(k), case)
            b.position_at_end(case)
            self.sums(rows, feature, 1 + k // self.width, column, 1 + k % self.width)
            b.branch(after)
        b.position_at_end(after)

    def sums(self, rows: ir.Value, feature: ir.Value, deep: int, column: ir.Value, wide: int) -> None:
        """A tile of known height and width."""
        v = self.vectors
        places = [
            self.at(
                self.result,
                self.plus(
                    self.times(self.plus(feature, f), self.given["pitch"]), self.times(self.plus(column, c), v.lanes)
                ),
            )
            for f in range(deep)
            for c in range(wide)
        ]
        read = []
        for f in range(deep):
            at = self.plus(feature, f)
            lane = self.builder.and_(at, I64(v.lanes - 1))
            read.append(self.at(self.room, self.plus(self.times(self.builder.sub(at, lane), CHUNK), lane)))

        def turn(row: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            owed = self.at(self.near, self.times(row, wide * v.lanes))
            vectors = [self.load(self.at(owed, c * v.lanes)) for c in range(wide)]
            elements = [self.load_scalar(self.at(own, self.times(row, v.lanes))) for own in read]
            return [v.fma(elements[k // wide], vectors[k % wide], total) for k, total in enumerate(carried)]

        totals = self.fold(0, rows, [self.load(place) for place in places], turn)
        for total, place in zip(totals, places, strict=True):
            self.store(total, place)
