"""Register tiles: functions that multiply a few rows by packed weights, with the sums in registers.

A kernel calls them for all its products, and what they are passed says how long these are. So they depend on no cell
and no size, and a processor compiles each of them once.
"""

from collections.abc import Sequence
from functools import partial

from llvmlite import ir

from selfloop.compiler.cpu.emit.bfloat16 import pair_products
from selfloop.compiler.cpu.emit.function import Function, Index, declared
from selfloop.compiler.cpu.emit.vectors import I8, I16, POINTER
from selfloop.compiler.cpu.layout import Tile
from selfloop.compiler.cpu.targets import MOST_ROWS, Target

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
        self.own = tile
        self.rows, self.sizes, self.weights, self.result, self.height = self.function.args
        self.multiply_add = partial(pair_products, self) if tile.bfloat16 else self.vectors.fma

    def write(self) -> None:
        """The whole function: unrolled for each number of rows."""
        b, cases = self.builder, []
        for rows, accumulators in enumerate(self.own.accumulators, start=1):
            cases.append(self.function.append_basic_block(f"rows{rows}"))
            b.position_at_end(cases[-1])
            self.sums(rows, accumulators)
            self.finish()
        b.position_at_end(self.function.entry_basic_block)
        switch = b.switch(self.height, cases[-1])
        for rows, case in enumerate(cases, start=1):
            switch.add_case(self.index(rows), case)

    def size(self, place: Index) -> ir.Value:
        """An entry of `sizes`."""
        return self.builder.load(self.at(self.sizes, place, self.index), typ=self.index)

    def sums(self, rows: int, accumulators: int) -> None:
        """A tile of so many rows."""
        v, b, width = self.vectors, self.builder, self.own.width
        weights, scales = self.weights, []
        if self.own.form == "int8":
            scales = [self.load(self.at(weights, c * v.lanes)) for c in range(width)]
            weights = self.at(weights, width * v.lanes)

        def term(k: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            weights, *total = carried
            places = [self.plus(self.times(k, MOST_ROWS), r) for r in range(rows)]
            own = [b.load(self.at(self.rows, place, POINTER), typ=POINTER) for place in places]
            length = self.size(self.plus(k, len(SIZES)))
            whole = b.and_(length, self.index(-UNROLL))
            turn = partial(self.turn, own, weights)
            total = self.fold(0, whole, total, partial(turn, UNROLL), UNROLL, may_be_empty=True)
            total = self.fold(whole, length, total, partial(turn, 1), may_be_empty=True)
            return [self.at(weights, self.times(length, width * v.lanes), CODES.get(self.own.form)), *total]

        zeros = [v.const(0.0)] * (rows * width * accumulators)
        _, *total = self.fold(0, self.size(SIZES.index("terms")), [weights, *zeros], term)
        while len(total) > rows * width:
            half = len(total) // 2
            total = [b.fadd(one, other) for one, other in zip(total[:half], total[half:], strict=True)]
        pitch = self.times(self.size(SIZES.index("pitch")), v.lanes)
        for place, value in enumerate(total):
            r, c = divmod(place, width)
            scaled = b.fmul(value, scales[c]) if scales else value
            self.store(scaled, self.at(self.at(self.result, self.times(pitch, r)), c * v.lanes))

    def turn(
        self, own: Sequence[ir.Value], weights: ir.Value, count: int, k: ir.Value, carried: list[ir.Value]
    ) -> list[ir.Value]:
        """The sums after `count` more elements; those whose turn it is come first."""
        v, width = self.vectors, self.own.width
        for n in range(count):
            at = self.plus(k, n)
            base = self.times(at, width * v.lanes)
            columns = [self.widened(weights, self.plus(base, c * v.lanes)) for c in range(width)]
            added: list[ir.Value] = []
            for row in own:  # one element after another: with all of them loaded first, sums are spilt
                element = self.load_scalar(self.at(row, at))
                added += [
                    self.multiply_add(element, column, carried[len(added) + c]) for c, column in enumerate(columns)
                ]
            carried = [*carried[len(added) :], *added]
        return carried

    def widened(self, weights: ir.Value, place: ir.Value) -> ir.Value:
        """A vector of weights, as numbers that can be multiplied."""
        v, b, form = self.vectors, self.builder, self.own.form
        if form not in CODES:
            return self.load(self.at(weights, place))
        code = CODES[form]
        codes = b.load(self.at(weights, place, code), typ=ir.VectorType(code, v.lanes), align=code.width // 8)
        if form == "int8":
            return b.sitofp(codes, v.type)
        return v.from_bits(b.shl(b.zext(codes, v.int_vector), v.iconst(16)))


CODES = {"bf16": I16, "int8": I8}
"""Elements of weights that are shorter than what is computed with."""
