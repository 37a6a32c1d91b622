"""Products in bfloat16 by Intel's AMX, whose tile registers have 16 rows of 64 bytes.

An instruction multiplies a tile of 16 rows × 16 pairs of bfloat16 by one of 16 pairs × 16 columns, and adds the result
to a tile of 16 × 16 sums in float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function, Index
from selfloop.compiler.cpu.emit.vectors import I8
from selfloop.compiler.cpu.targets import TILE_ROWS


class Block(NamedTuple):
    """A matrix in memory: the address of its first row, and the bytes from one row to the next."""

    start: ir.Value
    pitch: Index


class Term(NamedTuple):
    """A product of two matrices, summed over `pairs` pairs, which fill whole tiles."""

    rows: Block
    columns: Block
    pairs: Index


class TileRegisters:
    """The tile registers in a function; each is used whole."""

    def __init__(self, function: Function) -> None:
        self.f = function

    def open(self) -> None:
        """Configure the tile registers, which takes them into use."""
        data = [1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[TILE_ROWS] * 8, *[0] * 8]
        module, kind = self.f.builder.module, ir.ArrayType(I8, len(data))
        shapes = module.globals.get("shapes") or ir.GlobalVariable(module, kind, "shapes")
        shapes.global_constant, shapes.linkage, shapes.initializer = True, "internal", ir.Constant(kind, data)
        self._call("tile_config", shapes)

    def close(self) -> None:
        """Release them."""
        self._call("tile_release")

    def products(self, high: int, wide: int, terms: Sequence[Term], sums: Block) -> None:
        """Accumulate the products of all terms, `high` tiles of rows by `wide` tiles of columns, at most 2 by 2.

        Four registers hold sums, and each tile that is loaded is used twice: else loading takes as long as multiplying.
        """
        f = self.f
        total = {(r, c): 2 * r + c for r in range(high) for c in range(wide)}
        for tile in total.values():
            self._call("tile_zero", I8(tile))
        for term in terms:
            with f.loop(0, term.pairs, TILE_ROWS) as k:
                for r in range(high):
                    row = f.plus(f.times(term.rows.pitch, r * TILE_ROWS), f.times(k, 4))
                    self._call("tile_load", I8(4 + r), f.at(term.rows.start, row, I8), f.number(term.rows.pitch))
                for c in range(wide):
                    column = f.plus(f.times(term.columns.pitch, k), c * TILE_ROWS * 4)
                    start = f.at(term.columns.start, column, I8)
                    self._call("tile_load", I8(6 + c), start, f.number(term.columns.pitch))
                for (r, c), tile in total.items():
                    self._call("tile_multiply", I8(tile), I8(4 + r), I8(6 + c))
        for (r, c), tile in total.items():
            place = f.plus(f.times(sums.pitch, r * TILE_ROWS), c * TILE_ROWS * 4)
            self._call("tile_store", I8(tile), f.at(sums.start, place, I8), f.number(sums.pitch))

    def _call(self, name: str, *arguments: ir.Value) -> None:
        self.f.vectors.call(self.f.target.intrinsics[name].name, ir.VoidType(), arguments)
