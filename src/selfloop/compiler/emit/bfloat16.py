"""Products in bfloat16: pairs of numbers in 32 bits, and the processor's tiles that multiply them (Intel's AMX).

A tile has 16 rows of 64 bytes. One of 16 rows and 16 pairs, times one of 16 pairs and 16 columns, is added to one of
16 by 16 sums in float32.
"""

from llvmlite import ir

from selfloop.compiler.emit.loops import Function, Index
from selfloop.compiler.emit.vectors import I32

I8 = ir.IntType(8)

SIDE = 16
"""Rows of a tile, and sums in a row of it."""

DEPTH = 32
"""Elements of bfloat16 in a row of a tile: what a product is summed over is padded to these."""

AT_ONCE = 2
"""Tiles of rows, and tiles of columns, that are multiplied together: 4 of the 8 hold sums, and each that is loaded is
used twice, or else loading takes as long as multiplying."""

HIGH, WIDE = SIDE * AT_ONCE, AT_ONCE


def pairs(length: int) -> int:
    """So many elements as pairs, padded to whole tiles."""
    return -(-length // DEPTH) * SIDE


class _BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has not."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def rounded(f: Function, value: ir.Value) -> ir.Value:
    """A vector of float32 as that of bfloat16, in the lower halves of 32 bits."""
    b, lanes = f.builder, f.vectors.lanes
    short = b.bitcast(b.fptrunc(value, ir.VectorType(_BFloat(), lanes)), ir.VectorType(ir.IntType(16), lanes))
    return b.zext(short, ir.VectorType(I32, lanes))


def paired(f: Function, first: ir.Value, second: ir.Value) -> ir.Value:
    """Two vectors of float32 as one of pairs of bfloat16."""
    b, lanes = f.builder, f.vectors.lanes
    upper = b.shl(rounded(f, second), ir.Constant(ir.VectorType(I32, lanes), [16] * lanes))
    return f.vectors.to_floats(b.or_(rounded(f, first), upper))


class Tiles:
    """The processor's tiles in a function; between `open` and `close` they are all whole."""

    def __init__(self, function: Function) -> None:
        self.f = function

    def open(self) -> None:
        """Take the tiles: all of 16 rows of 64 bytes."""
        data = [1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[SIDE] * 8, *[0] * 8]
        module, kind = self.f.builder.module, ir.ArrayType(I8, len(data))
        shapes = module.globals.get("shapes") or ir.GlobalVariable(module, kind, "shapes")
        shapes.global_constant, shapes.linkage, shapes.initializer = True, "internal", ir.Constant(kind, data)
        self._call("ldtilecfg", shapes)

    def close(self) -> None:
        """Give them back."""
        self._call("tilerelease")

    def products(self, high: int, wide: int, sums: list[list[tuple[ir.Value, ir.Value]]], terms: list["Term"]) -> None:
        """Sum the products of up to 2 by 2 tiles over all terms and write the sums.

        Args:
            high: the tiles of rows.
            wide: the tiles of columns.
            sums: where the sums of each tile go, and how far apart their rows are, in bytes.
            terms: what is multiplied.
        """
        total = {(r, c): r * AT_ONCE + c for r in range(high) for c in range(wide)}
        for tile in total.values():
            self._call("tilezero", I8(tile))
        for term in terms:
            with self.f.loop(0, term.pairs, SIDE) as k:
                for r in range(high):
                    self._load(4 + r, term.row(k, r), term.row_pitch)
                for c in range(wide):
                    self._load(6 + c, term.column(k, c), term.column_pitch)
                for (r, c), tile in total.items():
                    self._call("tdpbf16ps", I8(tile), I8(4 + r), I8(6 + c))
        for (r, c), tile in total.items():
            address, pitch = sums[r][c]
            self._call("tilestored64", I8(tile), address, pitch)

    def _load(self, tile: int, address: ir.Value, pitch: ir.Value) -> None:
        self._call("tileloadd64", I8(tile), address, pitch)

    def _call(self, name: str, *arguments: ir.Value) -> None:
        self.f.vectors.call(f"llvm.x86.{name}", ir.VoidType(), arguments)


class Term:
    """A product of rows with columns: pairs of both, summed over `pairs`.

    Args:
        f: the function.
        pairs: how many, a whole number of tiles.
        rows: where the rows start.
        row_pitch: how far apart rows are, in bytes.
        columns: where the pairs of columns start.
        column_pitch: how far apart those of neighbouring pairs are, in bytes.
    """

    def __init__(
        self, f: Function, pairs: Index, rows: ir.Value, row_pitch: Index, columns: ir.Value, column_pitch: Index
    ) -> None:
        self.f, self.pairs, self.rows, self.columns = f, pairs, rows, columns
        self.row_pitch, self.column_pitch = f.number(row_pitch), f.number(column_pitch)

    def row(self, k: ir.Value, tile: int) -> ir.Value:
        """Where a tile of rows starts, from pair k on."""
        return self._at(self.rows, self.f.plus(self.f.times(self.row_pitch, tile * SIDE), self.f.times(k, 4)))

    def column(self, k: ir.Value, tile: int) -> ir.Value:
        """Where a tile of columns starts, from pair k on."""
        return self._at(self.columns, self.f.plus(self.f.times(self.column_pitch, k), tile * SIDE * 4))

    def _at(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        return self.f.at(base, offset, I8)
