"""Gradients of matrices in bfloat16: as `outer` has it, with rounded numbers and sums in float32."""

from llvmlite import ir

from selfloop.compiler.emit.bfloat16 import Block, Term, Tiles, paired
from selfloop.compiler.emit.loops import Function
from selfloop.compiler.emit.outer import BLOCK
from selfloop.compiler.emit.squares import turned
from selfloop.compiler.emit.vectors import I64, POINTER
from selfloop.compiler.layout import SIDE
from selfloop.compiler.targets import Target

SQUARE = 2 * SIDE
"""The rows and columns of the result that are made together."""

CHUNK = 256
"""Rows in one go: what is owed in them by 32 elements is 16 KiB, and what is read in them of 512 is 256."""


def room(target: Target, element_bytes: int, owed: int, columns: int) -> int:
    """How many elements of room a thread needs."""
    del target, element_bytes, owed
    return CHUNK // 2 * (SQUARE + _padded(columns))


def tiles(target: Target, element_bytes: int, owed: int, columns: int) -> int:
    """How many squares a result has, for `item` and `items`."""
    del target, element_bytes
    return _padded(owed) * _padded(columns) // SQUARE**2


def _padded(size: int) -> int:
    return -(-size // SQUARE) * SQUARE


def emit_outer(module: ir.Module, name: str, target: Target, bits: int) -> None:
    """Write the function `name`: result[j, f] (+)= sum over rows of delta[row][j] * read[row][f]."""
    _Outer(module, name, target, bits).write()


class _Outer(Function):
    def __init__(self, module: ir.Module, name: str, target: Target, bits: int) -> None:
        super().__init__(module, name, target, bits)
        self.given = {key: self.argument(k) for k, key in enumerate(BLOCK)}
        pointers = (self.builder.inttoptr(self.given[key], POINTER) for key in ("read", "delta", "result", "room"))
        self.table, self.delta, self.result, self.owed = pointers
        self.read = self.at(self.owed, CHUNK // 2 * SQUARE)
        self.sums = self.space(SQUARE * SQUARE // SIDE)
        self.wide = self.times(self.panels(self.given["columns"]), SQUARE)
        self.processor = Tiles(self)

    def panels(self, size: ir.Value) -> ir.Value:
        """How many squares lie side by side."""
        return self.builder.sdiv(self.plus(size, SQUARE - 1), I64(SQUARE))

    def write(self) -> None:
        """The whole function: chunk by chunk of rows, line by line of squares, square by square."""
        b, given = self.builder, self.given
        across = self.panels(given["columns"])
        first = b.sdiv(given["item"], across)
        last = b.sdiv(self.plus(given["items"], b.sub(across, I64(1))), across)
        self.processor.open()
        with self.loop(0, given["rows"], CHUNK) as low:
            rows = self.least(CHUNK, b.sub(given["rows"], low))
            pairs = self.times(b.sdiv(self.plus(rows, SQUARE - 1), I64(SQUARE)), SIDE)
            begins = b.and_(b.icmp_signed("==", low, I64(0)), b.icmp_signed("!=", given["is_first"], I64(0)))
            self.copy_read(low, rows, pairs)
            with self.loop(first, last) as line:
                self.copy_owed(low, rows, pairs, self.times(line, SQUARE))
                done = self.times(line, across)
                begin = self.most(b.sub(given["item"], done), 0)
                end = self.least(b.sub(given["items"], done), across)
                with self.loop(begin, end) as panel:
                    self.square(pairs, self.times(line, SQUARE), self.times(panel, SQUARE), begins)
        self.processor.close()
        self.finish()

    def pair(self, sources: list[ir.Value], pair: ir.Value, rows: ir.Value, mask: ir.Value) -> ir.Value:
        """Vectors of two neighbouring rows, zeros beyond the last."""
        b = self.builder
        found = []
        for k, source in enumerate(sources):
            is_row = self.vectors.splat(b.icmp_signed("<", self.plus(self.times(pair, 2), k), rows))
            found.append(self.load(source, b.and_(mask, is_row)))
        return paired(self, *found)

    def copy_read(self, low: ir.Value, rows: ir.Value, pairs: ir.Value) -> None:
        """What was read in these rows, as [pair of rows][column]."""
        last = self.builder.sub(rows, I64(1))
        with self.loop(0, pairs) as pair:
            own = (self.least(self.plus(self.times(pair, 2), k), last) for k in range(2))
            lines = [self.at(self.address(self.table, self.plus(low, row)), self.given["offset"]) for row in own]
            with self.loop(0, self.wide, SIDE) as c:
                mask = self.first_lanes(self.builder.sub(self.given["columns"], c))
                value = self.pair([self.at(line, c) for line in lines], pair, rows, mask)
                self.store(value, self.at(self.read, self.plus(self.times(pair, self.wide), c)))

    def copy_owed(self, low: ir.Value, rows: ir.Value, pairs: ir.Value, top: ir.Value) -> None:
        """What a line of squares is owed in these rows, as [element][pair of rows]."""
        b, stride = self.builder, self.given["stride"]
        last = b.sub(rows, I64(1))
        with self.loop(0, pairs, SIDE) as first, self.loop(0, SQUARE, SIDE) as j:
            element = self.plus(top, j)
            mask = self.first_lanes(b.sub(self.given["owed"], element))
            vectors = []
            for k in range(SIDE):
                pair = self.plus(first, k)
                own = (self.plus(low, self.least(self.plus(self.times(pair, 2), n), last)) for n in range(2))
                sources = [self.at(self.delta, self.plus(self.times(row, stride), element)) for row in own]
                vectors.append(self.pair(sources, pair, rows, mask))
            for k, vector in enumerate(turned(self, vectors)):
                place = self.plus(self.times(self.plus(j, k), CHUNK // 2), first)
                self.store(vector, self.at(self.owed, place))

    def square(self, pairs: ir.Value, top: ir.Value, left: ir.Value, begins: ir.Value) -> None:
        """A square of the result: its sums, added to what is there."""
        b, v = self.builder, self.vectors
        rows = Block(self.owed, CHUNK * 2)
        columns = Block(self.at(self.read, left), self.times(self.wide, 4))
        self.processor.products(2, 2, [Term(rows, columns, pairs)], Block(self.sums, SQUARE * 4))
        high = self.least(SQUARE, b.sub(self.given["owed"], top))
        with self.loop(0, high) as j:
            line = self.at(self.result, self.plus(self.times(self.plus(top, j), self.given["pitch"]), left))
            for c in range(0, SQUARE, SIDE):
                mask = self.first_lanes(b.sub(self.given["columns"], self.plus(left, c)))
                before = b.select(begins, v.const(0.0), self.load(self.at(line, c), mask))
                own = self.load(self.at(self.sums, self.plus(self.times(j, SQUARE), c)))
                self.store(b.fadd(before, own), self.at(line, c), mask)
