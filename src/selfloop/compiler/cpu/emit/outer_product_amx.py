"""`outer_product` in bfloat16: rounded numbers, multiplied by AMX tiles, with sums in float32."""

from llvmlite import ir

from selfloop.compiler.cpu.emit.amx import Block, Term, TileRegisters
from selfloop.compiler.cpu.emit.bfloat16 import paired
from selfloop.compiler.cpu.emit.function import Function
from selfloop.compiler.cpu.emit.outer_product import OUTER_PRODUCT_BLOCK
from selfloop.compiler.cpu.emit.transpose import transposed
from selfloop.compiler.cpu.emit.vectors import POINTER
from selfloop.compiler.cpu.targets import TILE_ROWS, PairProducts, Target

SQUARE = 2 * TILE_ROWS
"""C is made in squares of 32 rows and columns, which are four AMX tiles."""

CHUNK = 256
"""Rows of A and B in a chunk: 32 columns of A are then 16 KiB, and 512 columns of B 256 KiB."""


def workspace(target: Target, element_bytes: int, m: int, n: int) -> int:
    """The elements of workspace that a thread needs."""
    del target, element_bytes, m
    return CHUNK // 2 * (SQUARE + _padded(n))


def tiles(target: Target, element_bytes: int, m: int, n: int) -> int:
    """The number of squares that C has, which the threads share."""
    del target, element_bytes
    return _padded(m) * _padded(n) // SQUARE**2


def _padded(size: int) -> int:
    return -(-size // SQUARE) * SQUARE


def emit_outer_product(module: ir.Module, name: str, target: Target, bits: int, bfloat16: PairProducts) -> None:
    """Write the function `name`, with the argument block of `outer_product`."""
    del bfloat16
    _OuterProduct(module, name, target, bits).write()


class _OuterProduct(Function):
    def __init__(self, module: ir.Module, name: str, target: Target, bits: int) -> None:
        super().__init__(module, name, target, bits)
        self.given = {key: self.argument(k) for k, key in enumerate(OUTER_PRODUCT_BLOCK)}
        pointers = (self.builder.inttoptr(self.given[key], POINTER) for key in ("b", "a", "c", "workspace"))
        self.b_rows, self.a, self.c, self.a_packed = pointers
        self.b_packed = self.at(self.a_packed, CHUNK // 2 * SQUARE)
        self.sums = self.space(SQUARE * SQUARE // TILE_ROWS)
        self.wide = self.times(self.squares(self.given["n"]), SQUARE)
        self.amx = TileRegisters(self)

    def squares(self, size: ir.Value) -> ir.Value:
        """How many squares lie side by side."""
        return self.builder.sdiv(self.plus(size, SQUARE - 1), self.index(SQUARE))

    def write(self) -> None:
        """The whole function: for each chunk of rows and each line of squares, square by square."""
        b, given = self.builder, self.given
        across = self.squares(given["n"])
        first = b.sdiv(given["begin"], across)
        last = b.sdiv(self.plus(given["end"], b.sub(across, self.index(1))), across)
        self.amx.open()
        with self.loop(0, given["k"], CHUNK) as low:
            rows = self.least(CHUNK, b.sub(given["k"], low))
            pairs = self.times(b.sdiv(self.plus(rows, SQUARE - 1), self.index(SQUARE)), TILE_ROWS)
            begins = b.and_(
                b.icmp_signed("==", low, self.index(0)), b.icmp_signed("!=", given["is_first"], self.index(0))
            )
            self.pack_b(low, rows, pairs)
            with self.loop(first, last) as line:
                self.pack_a(low, rows, pairs, self.times(line, SQUARE))
                done = self.times(line, across)
                begin = self.most(b.sub(given["begin"], done), 0)
                end = self.least(b.sub(given["end"], done), across)
                with self.loop(begin, end) as square:
                    self.square(pairs, self.times(line, SQUARE), self.times(square, SQUARE), begins)
        self.amx.close()
        self.finish()

    def pair(self, sources: list[ir.Value], pair: ir.Value, rows: ir.Value, mask: ir.Value) -> ir.Value:
        """Vectors of two adjacent rows as pairs, with zeros beyond the last row."""
        b = self.builder
        found = []
        for k, source in enumerate(sources):
            is_row = self.vectors.splat(b.icmp_signed("<", self.plus(self.times(pair, 2), k), rows))
            found.append(self.load(source, b.and_(mask, is_row)))
        return paired(self, *found)

    def pack_b(self, low: ir.Value, rows: ir.Value, pairs: ir.Value) -> None:
        """Copy a chunk of B, as [pair of rows][column]."""
        last = self.builder.sub(rows, self.index(1))
        with self.loop(0, pairs) as pair:
            own = (self.least(self.plus(self.times(pair, 2), k), last) for k in range(2))
            lines = [self.at(self.address(self.b_rows, self.plus(low, row)), self.given["b_offset"]) for row in own]
            with self.loop(0, self.wide, TILE_ROWS) as c:
                mask = self.first_lanes(self.builder.sub(self.given["n"], c))
                value = self.pair([self.at(line, c) for line in lines], pair, rows, mask)
                self.store(value, self.at(self.b_packed, self.plus(self.times(pair, self.wide), c)))

    def pack_a(self, low: ir.Value, rows: ir.Value, pairs: ir.Value, top: ir.Value) -> None:
        """Copy the columns of A that a line of squares reads, transposed, as [column][pair of rows]."""
        b, stride = self.builder, self.given["a_stride"]
        last = b.sub(rows, self.index(1))
        with self.loop(0, pairs, TILE_ROWS) as first, self.loop(0, SQUARE, TILE_ROWS) as j:
            column = self.plus(top, j)
            mask = self.first_lanes(b.sub(self.given["m"], column))
            vectors = []
            for k in range(TILE_ROWS):
                pair = self.plus(first, k)
                own = (self.plus(low, self.least(self.plus(self.times(pair, 2), n), last)) for n in range(2))
                sources = [self.at(self.a, self.plus(self.times(row, stride), column)) for row in own]
                vectors.append(self.pair(sources, pair, rows, mask))
            for k, vector in enumerate(transposed(self, vectors)):
                place = self.plus(self.times(self.plus(j, k), CHUNK // 2), first)
                self.store(vector, self.at(self.a_packed, place))

    def square(self, pairs: ir.Value, top: ir.Value, left: ir.Value, begins: ir.Value) -> None:
        """A square of C: its sums, added to what is there."""
        b, v = self.builder, self.vectors
        rows = Block(self.a_packed, CHUNK * 2)
        columns = Block(self.at(self.b_packed, left), self.times(self.wide, 4))
        self.amx.products(2, 2, [Term(rows, columns, pairs)], Block(self.sums, SQUARE * 4))
        high = self.least(SQUARE, b.sub(self.given["m"], top))
        with self.loop(0, high) as j:
            line = self.at(self.c, self.plus(self.times(self.plus(top, j), self.given["c_stride"]), left))
            for c in range(0, SQUARE, TILE_ROWS):
                mask = self.first_lanes(b.sub(self.given["n"], self.plus(left, c)))
                before = b.select(begins, v.const(0.0), self.load(self.at(line, c), mask))
                own = self.load(self.at(self.sums, self.plus(self.times(j, SQUARE), c)))
                self.store(b.fadd(before, own), self.at(line, c), mask)
