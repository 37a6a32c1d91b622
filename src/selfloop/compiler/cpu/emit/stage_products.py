"""The products of a tile: by packed weights, in float32 or bfloat16, or by weights where they lie."""

from collections.abc import Iterable, Mapping

from llvmlite import ir

from selfloop.compiler.cpu.emit.amx import Block, Term, TileRegisters
from selfloop.compiler.cpu.emit.bfloat16 import rounded
from selfloop.compiler.cpu.emit.function import Index
from selfloop.compiler.cpu.emit.gemv import declare_gemv
from selfloop.compiler.cpu.emit.products import declare_tile, short_tile
from selfloop.compiler.cpu.emit.stage_memory import StageMemory
from selfloop.compiler.cpu.emit.vectors import I8, I16, POINTER
from selfloop.compiler.cpu.layout import KernelLayout
from selfloop.compiler.cpu.targets import MOST_ROWS, TILE_DEPTH, TILE_ROWS
from selfloop.compiler.cpu.tiles import Panel, Tiling, padded
from selfloop.compiler.lower.step import Location


class StageProducts(StageMemory):
    """The products of a kernel's stages.

    Attributes:
        tile: where the products of a tile go.
        amx: the tile registers of AMX.
    """

    def __init__(self, module: ir.Module, name: str, layout: KernelLayout) -> None:
        super().__init__(module, name, layout)
        largest = max((t.rows * columns_of(t) for stage in layout.tilings for t in stage), default=0)
        self.tile = self.space(max(1, largest))
        most = max((len(panel.arguments) for panel in layout.panels), default=0)
        self.row_addresses = self.builder.alloca(POINTER, size=self.index(max(1, most * MOST_ROWS)))
        self.amx = TileRegisters(self)

    def products_of(self, tiling: Tiling, block: ir.Value, low: ir.Value, height: ir.Value) -> None:
        """The products of a tile, stored in `self.tile`, row by row."""
        if self.layout.pitches is not None:
            self.products_in_place(tiling, block, low, height, self.layout.pitches)
        elif self.layout.has_tiles:
            self.amx_products(tiling, block, low, height)
        else:
            self.products(tiling, block, low, height)

    def products_in_place(
        self, tiling: Tiling, block: ir.Value, low: ir.Value, height: ir.Value, pitches: Mapping[str, int]
    ) -> None:
        """The products of a tile, by what `emit.gemv` writes."""
        b, lanes, columns = self.builder, self.vectors.lanes, columns_of(tiling)
        last = b.sub(self.plus(low, height), self.index(1))  # stands in for the rows beyond it
        first = self.times(block, tiling.unroll * lanes)
        units = self.least(tiling.unroll * lanes, b.sub(self.index(tiling.loop.size), first))
        with self.loop(0, tiling.rows * columns * lanes, lanes) as place:
            self.store(self.vectors.const(0.0), self.at(self.tile, place))
        column = 0
        for panel in tiling.panels:
            for r in range(tiling.rows):
                row = self.least(self.plus(low, r), last)
                for k in range(len(panel.arguments)):
                    place = self.at(self.row_addresses, k * tiling.rows + r, POINTER)
                    self.builder.store(self.factor(panel, k, row), place)
            for k, _ in enumerate(panel.products):
                result = self.at(self.tile, column * lanes)
                for term, (length, matrices) in enumerate(zip(panel.lengths, panel.terms, strict=True)):
                    matrix, rows = matrices[k], self.at(self.row_addresses, term * tiling.rows, POINTER)
                    gemv = declare_gemv(b.module, matrix.transposed, self.target)
                    pitch = pitches[matrix.name]
                    start = self.at(self.bases["matrix", matrix.name], matrix.row * pitch + matrix.column)
                    start = self.at(start, first if matrix.transposed else self.times(first, pitch))
                    size = (self.index(length), units) if matrix.transposed else (units, self.index(length))
                    numbers = self.index(pitch), self.index(columns * lanes), *size, height
                    b.call(gemv, [start, rows, result, *numbers])
                column += tiling.unroll

    def products(self, tiling: Tiling, block: ir.Value, low: ir.Value, height: ir.Value) -> None:
        """The products of a tile, by what `emit.products` writes."""
        rows = self.row_addresses
        columns = columns_of(tiling)
        column = 0
        for panel in tiling.panels:
            depths, arguments = self.layout.depths(panel), range(len(panel.arguments))
            tiles = self.layout.tiles(tiling, panel)
            if tiles[0].is_short:
                terms = [(self.factor(panel, k, low), depth) for k, depth in zip(arguments, depths, strict=True)]
            else:
                with self.loop(0, height) as r:
                    for k in arguments:
                        place = self.at(rows, self.plus(r, k * MOST_ROWS), POINTER)
                        self.builder.store(self.factor(panel, k, self.plus(low, r)), place)
                sizes = self.numbers((columns, len(depths), *depths))
            lengths = [self.layout.tile_bytes(sum(depths), width) for width in panel.widths]
            weights = self.at(self.weights(panel), self.times(block, sum(lengths)), I8)
            for tile, length in zip(tiles, lengths, strict=True):
                result = self.at(self.tile, column * self.vectors.lanes)
                if tile.is_short:
                    short_tile(self, tile, terms, weights, result)
                else:
                    function = declare_tile(self.builder.module, tile, self.target)
                    self.builder.call(function, [rows, sizes, weights, result, height])
                weights = self.at(weights, length, I8)
                column += tile.width

    def weights(self, panel: Panel) -> ir.Value:
        """The address of a panel."""
        return self.bases["panel", str(self.layout.panel_index(panel))]

    def rounded_place(self, location: Location, length: int) -> Index:
        """Where an argument of products lies in a row of those that are rounded to bfloat16, in bytes."""
        return self.number_of((location, length), self.layout.rounded[0][location, length])

    def factor(self, panel: Panel, k: int, row: ir.Value) -> ir.Value:
        """The address of the k-th argument of a panel for a row of this thread; in bfloat16 where it was rounded to."""
        if not self.layout.bfloat16:
            return self.address_of(panel.arguments[k], self.row(row))
        _, pitch = self.layout.rounded
        place = self.plus(self.times(row, pitch), self.rounded_place(panel.arguments[k], panel.lengths[k]))
        return self.at(self.bases["rounded", ""], place, I8)

    def round(self, tilings: Iterable[Tiling]) -> None:
        """Round the arguments of a stage's products to bfloat16."""
        _, pitch = self.layout.rounded
        panels = [panel for tiling in tilings for panel in tiling.panels]
        arguments = dict.fromkeys(a for panel in panels for a in zip(panel.arguments, panel.lengths, strict=True))
        with self.loop(0, self.rows if arguments else 0) as k:
            line = self.at(self.bases["rounded", ""], self.times(k, pitch), I8)
            row = self.row(k)
            for location, length in arguments:
                source, result = self.address_of(location, row), self.at(line, self.rounded_place(location, length), I8)
                with self.loop(0, padded(length, TILE_DEPTH), self.vectors.lanes) as lane:
                    mask = self.first_lanes(self.builder.sub(self.index(length), lane))
                    value = self.load(self.at(source, lane), mask)
                    self.builder.store(rounded(self, value), self.at(result, lane, I16), align=2)

    def amx_products(self, tiling: Tiling, block: ir.Value, low: ir.Value, height: ir.Value) -> None:
        """The products of one or two AMX tiles of rows, in bfloat16."""
        _, pitch = self.layout.rounded
        lanes, item = self.vectors.lanes, self.vectors.bytes
        columns = columns_of(tiling)
        line = self.at(self.bases["rounded", ""], self.times(low, pitch), I8)
        is_high = self.builder.icmp_signed(">", height, self.index(TILE_ROWS))
        column = 0
        for panel in tiling.panels:
            depth = self.layout.depth(panel)
            weights = self.at(self.weights(panel), self.times(block, depth * sum(panel.widths) * lanes))
            for width in panel.widths:
                terms, done = [], 0
                for location, length in zip(panel.arguments, panel.lengths, strict=True):
                    pairs = padded(length, TILE_DEPTH) // 2
                    rows = Block(self.at(line, self.rounded_place(location, length), I8), pitch)
                    terms.append(Term(rows, Block(self.at(weights, done * width * lanes), width * lanes * item), pairs))
                    done += pairs
                result = Block(self.at(self.tile, column * lanes), columns * lanes * item)
                with self.builder.if_else(is_high) as (two, one):
                    with two:
                        self.amx.products(2, width, terms, result)
                    with one:
                        self.amx.products(1, width, terms, result)
                weights = self.at(weights, depth * width * lanes)
                column += width


def columns_of(tiling: Tiling) -> int:
    """The vectors of products that a row of a tile has."""
    return sum(len(panel.products) for panel in tiling.panels) * tiling.unroll
