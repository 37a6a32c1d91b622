"""Register tiles: functions that multiply a few rows by packed weights, with the sums in registers.

A kernel calls them for all its products, and what they are passed says how long these are. So they depend on no cell
and no size, and a processor compiles each of them once.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from llvmlite import ir

from selfloop.compiler.cpu.emit.bfloat16 import pair_products
from selfloop.compiler.cpu.emit.function import Function, Index, declared
from selfloop.compiler.cpu.emit.vectors import I8, I16, POINTER
from selfloop.compiler.cpu.targets import MOST_ROWS, Target
from selfloop.compiler.cpu.tiles import Tile

UNROLL = 4
"""How far the loop over k is unrolled."""

SIZES = ("pitch", "terms")
"""The numbers at the start of a tile's `sizes`: the vectors from one row of its result to the next, and how many terms
each sum has. The length of each term follows."""


def declare_tile(module: ir.Module, tile: Tile, target: Target) -> ir.Function:
    """The function of a tile, which is written elsewhere.

    ``void tile(float *rows[][MOST_ROWS], intptr_t sizes[], weights, float *result, intptr_t height)`` takes the address
    of each row of each term, see `SIZES`, the weights as [k][width][lane], one term after another, and how many rows
    there are.
    """
    function = declared(module, tile.name, [POINTER, POINTER, POINTER, POINTER, ir.IntType(target.index_bits)])
    function.attributes.add("nonlazybind")  # called by way of the table of addresses: it may be far away
    return function


def emit_tile(module: ir.Module, tile: Tile, target: Target) -> None:
    """Write the function that `declare_tile` declares."""
    declare_tile(module, tile, target)
    _Tile(module, tile, target).write()


class _Tile(Function):
    def __init__(self, module: ir.Module, tile: Tile, target: Target) -> None:
        super().__init__(module, tile.name, target, tile.bits)
        self.tile = tile
        self.rows, self.sizes, self.weights, self.result, self.height = self.function.args

    def write(self) -> None:
        """The whole function: unrolled for each number of rows."""
        b, cases = self.builder, []
        for rows in range(1, len(self.tile.accumulators) + 1):
            cases.append(self.function.append_basic_block(f"rows{rows}"))
            b.position_at_end(cases[-1])
            self.write_rows(rows)
            self.finish()
        b.position_at_end(self.function.entry_basic_block)
        switch = b.switch(self.height, cases[-1])
        for rows, case in enumerate(cases, start=1):
            switch.add_case(self.index(rows), case)

    def size(self, place: Index) -> ir.Value:
        """An entry of `sizes`."""
        return self.builder.load(self.at(self.sizes, place, self.index), typ=self.index)

    def write_rows(self, rows: int) -> None:
        """A tile of so many rows."""
        sums = _Sums(self, self.tile, rows, self.weights)

        def term(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            places = [self.plus(self.times(k, MOST_ROWS), r) for r in range(rows)]
            own = [self.builder.load(self.at(self.rows, place, POINTER), typ=POINTER) for place in places]
            return sums.term(own, self.size(self.plus(k, len(SIZES))), carried)

        total = self.fold(0, self.size(SIZES.index("terms")), sums.start, term)
        sums.store(total, self.result, self.times(self.size(SIZES.index("pitch")), self.vectors.lanes))


def short_tile(f: Function, tile: Tile, terms: Iterable[tuple[ir.Value, int]], weights: ir.Value, to: ir.Value) -> None:
    """A tile of one row in place, whose lengths are known: a call of a function would take as long as some of them.

    Args:
        f: where the code goes.
        tile: of one row.
        terms: the address of the row of each term, and its length.
        weights: as those of a tile's function.
        to: the address of the result.
    """
    sums = _Sums(f, tile, 1, weights)
    total = sums.start
    for row, length in terms:
        total = sums.term([row], length, total)
    sums.store(total, to, 0)


class _Sums:
    """What a tile of some rows adds up.

    Attributes:
        start: what is carried from term to term at first: where the weights of the term are, and the sums.
    """

    def __init__(self, f: Function, tile: Tile, rows: int, weights: ir.Value) -> None:
        v = f.vectors
        self.f, self.tile, self.rows = f, tile, rows
        self.multiply_add = partial(pair_products, f) if tile.bfloat16 else v.fma
        self.scales = []
        if tile.form == "int8":
            self.scales = [f.load(f.at(weights, c * v.lanes)) for c in range(tile.width)]
            weights = f.at(weights, tile.width * v.lanes)
        self.start = [weights, *[v.const(0.0)] * (rows * tile.width * tile.accumulators[rows - 1])]

    def term(self, own: Sequence[ir.Value], length: Index, carried: list[ir.Value]) -> list[ir.Value]:
        """What is carried after one more term, given the address of each row."""
        f, (weights, *total) = self.f, carried
        if isinstance(length, int):
            whole: Index = length - length % UNROLL
            if whole:
                total = f.fold(0, whole, total, partial(self.turn, own, weights, UNROLL), UNROLL)
            total = self.turn(own, weights, length % UNROLL, whole, total)
        else:
            whole = f.builder.and_(length, f.index(-UNROLL))
            total = f.fold(0, whole, total, partial(self.turn, own, weights, UNROLL), UNROLL, may_be_empty=True)
            total = f.fold(whole, length, total, partial(self.turn, own, weights, 1), may_be_empty=True)
        size = f.times(length, self.tile.width * f.vectors.lanes)
        return [f.at(weights, size, CODES.get(self.tile.form)), *total]

    def turn(
        self, own: Sequence[ir.Value], weights: ir.Value, count: int, k: Index, carried: list[ir.Value]
    ) -> list[ir.Value]:
        """The sums after `count` more elements; those whose turn it is come first."""
        f, width = self.f, self.tile.width
        for n in range(count):
            at = f.plus(k, n)
            base = f.times(at, width * f.vectors.lanes)
            columns = [self.widened(weights, f.plus(base, c * f.vectors.lanes)) for c in range(width)]
            added: list[ir.Value] = []
            for row in own:  # one element after another: with all of them loaded first, sums are spilt
                element = f.load_scalar(f.at(row, at))
                added += [
                    self.multiply_add(element, column, carried[len(added) + c]) for c, column in enumerate(columns)
                ]
            carried = [*carried[len(added) :], *added]
        return carried

    def widened(self, weights: ir.Value, place: Index) -> ir.Value:
        """A vector of weights, as numbers that can be multiplied."""
        f, v, b, form = self.f, self.f.vectors, self.f.builder, self.tile.form
        if form not in CODES:
            return f.load(f.at(weights, place))
        code = CODES[form]
        codes = b.load(f.at(weights, place, code), typ=ir.VectorType(code, v.lanes), align=code.width // 8)
        if form == "int8":
            return b.sitofp(codes, v.type)
        return v.from_bits(b.shl(b.zext(codes, v.int_vector), v.iconst(16)))

    def store(self, carried: list[ir.Value], to: ir.Value, pitch: Index) -> None:
        """Store the sums row by row, so many elements apart."""
        f, width, (_, *total) = self.f, self.tile.width, carried
        while len(total) > self.rows * width:
            half = len(total) // 2
            total = [f.builder.fadd(one, other) for one, other in zip(total[:half], total[half:], strict=True)]
        for place, value in enumerate(total):
            r, c = divmod(place, width)
            scaled = f.builder.fmul(value, self.scales[c]) if self.scales else value
            f.store(scaled, f.at(f.at(to, f.times(pitch, r)), c * f.vectors.lanes))


CODES = {"bf16": I16, "int8": I8}
"""Elements of weights that are shorter than what is computed with."""
