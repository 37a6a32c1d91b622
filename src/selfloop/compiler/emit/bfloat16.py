"""Products in bfloat16: pairs of numbers in 32 bits, and the processor's tiles that multiply them (Intel's AMX).

A tile has 16 rows of 64 bytes. One of 16 rows and 16 pairs, times one of 16 pairs and 16 columns, is added to one of
16 by 16 sums in float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

from llvmlite import ir

from selfloop.compiler.emit.loops import Function, Index
from selfloop.compiler.emit.vectors import I32
from selfloop.compiler.layout import SIDE

I8, I16 = ir.IntType(8), ir.IntType(16)


class _BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def rounded(f: Function, value: ir.Value) -> ir.Value:
    """A vector of float32 as bfloat16, 16 bits each."""
    lanes = f.vectors.lanes
    short = f.builder.fptrunc(value, ir.VectorType(_BFloat(), lanes))
    return f.builder.bitcast(short, ir.VectorType(I16, lanes))


def paired(f: Function, first: ir.Value, second: ir.Value) -> ir.Value:
    """Two vectors of float32 as one of pairs of bfloat16."""
    b = f.builder
    kind = ir.VectorType(I32, f.vectors.lanes)
    low, high = (b.zext(rounded(f, value), kind) for value in (first, second))
    return f.vectors.to_floats(b.or_(low, b.shl(high, ir.Constant(kind, [16] * kind.count))))


class Block(NamedTuple):
    """Numbers in memory: where they start, and how far apart their rows are, in bytes."""

    start: ir.Value
    pitch: Index


class Term(NamedTuple):
    """Rows of pairs, times pairs of columns, summed over so many pairs: a whole number of tiles."""

    rows: Block
    columns: Block
    pairs: Index


class Tiles:
    """The processor's tiles in a function, which are all whole."""

    def __init__(self, function: Function) -> None:
        self.f = function

    def open(self) -> None:
        """Take the tiles."""
        data = [1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8]
        module, kind = self.f.builder.module, ir.ArrayType(I8, len(data))
        shapes = module.globals.get("shapes") or ir.GlobalVariable(module, kind, "shapes")
        shapes.global_constant, shapes.linkage, shapes.initializer = True, "internal", ir.Constant(kind, data)
        self._call("ldtilecfg", shapes)

    def close(self) -> None:
        """Give them back."""
        self._call("tilerelease")

    def products(self, high: int, wide: int, terms: Sequence[Term], sums: Block) -> None:
        """Sum the products of all terms in up to two tiles of rows by two of columns.

        Four tiles hold sums, and each that is loaded is used twice, or else loading takes as long as multiplying.
        """
        f = self.f
        total = {(r, c): 2 * r + c for r in range(high) for c in range(wide)}
        for tile in total.values():
            self._call("tilezero", I8(tile))
        for term in terms:
            with f.loop(0, term.pairs, SIDE) as k:
                for r in range(high):
                    row = f.plus(f.times(term.rows.pitch, r * SIDE), f.times(k, 4))
                    self._call("tileloadd64", I8(4 + r), f.at(term.rows.start, row, I8), f.number(term.rows.pitch))
                for c in range(wide):
                    column = f.plus(f.times(term.columns.pitch, k), c * SIDE * 4)
                    start = f.at(term.columns.start, column, I8)
                    self._call("tileloadd64", I8(6 + c), start, f.number(term.columns.pitch))
                for (r, c), tile in total.items():
                    self._call("tdpbf16ps", I8(tile), I8(4 + r), I8(6 + c))
        for (r, c), tile in total.items():
            place = f.plus(f.times(sums.pitch, r * SIDE), c * SIDE * 4)
            self._call("tilestored64", I8(tile), f.at(sums.start, place, I8), f.number(sums.pitch))

    def _call(self, name: str, *arguments: ir.Value) -> None:
        self.f.vectors.call(f"llvm.x86.{name}", ir.VoidType(), arguments)
