"""TileLoop -> Tiling: which products are multiplied together, in register tiles of what shape, and the packed weights.

A register tile holds sums of some rows (sequences) and some vectors of units. The weights of the products that read the
same arguments are one panel, packed in the order in which its tiles read them.
"""

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import NamedTuple

from selfloop.compiler.cpu.targets import GEMV_COLUMNS, GEMV_ROWS, MOST_ROWS, TILE_ROWS, PairProducts, Target
from selfloop.compiler.lower.program import Program, TileLoop
from selfloop.compiler.lower.step import Location, Submatrix

WEIGHT_FORMS = {"f32": 0, "bf16": 2, "int8": 1}
"""What packed weights can be kept as, and the bytes of each: as numbers of full size (0 stands for theirs), as
bfloat16, or as whole numbers with a scale for each unit. The shorter ones are widened where they are multiplied."""

Offsets = Mapping[str, Mapping[tuple[str, int], int]]
"""Where the fields of a buffer's row start, in elements, by its name and the index of their first elements."""


@dataclass(frozen=True)
class Panel:
    """The weights of products that read the same arguments, packed as one matrix. Panels of the same weights share it.

    The packed order is [block of units][columns of a register tile][k][vector][lane].

    Attributes:
        products: the values, in the order of the columns.
        arguments: where the arguments lie.
        lengths: the size of each.
        terms: for each argument, the submatrix of each product.
        size: the number of units.
        unroll: the vectors of units in a block.
        widths: the vectors in each register tile; their sum is the number of products times `unroll`.
    """

    products: tuple[int, ...]
    arguments: tuple[Location, ...]
    lengths: tuple[int, ...]
    terms: tuple[tuple[Submatrix, ...], ...]
    size: int
    unroll: int
    widths: tuple[int, ...]

    @property
    def packed(self) -> tuple[object, ...]:
        """What is packed: equal for panels of the same weights."""
        return self.terms, self.lengths, self.size, self.unroll, self.widths


@dataclass(frozen=True)
class Tiling:
    """A tile loop with the shape of its tiles.

    Attributes:
        loop: the loop.
        unroll: the vectors of units in a block.
        rows: the most rows in a register tile.
        panels: the packed weights of its products.
    """

    loop: TileLoop
    unroll: int
    rows: int
    panels: tuple[Panel, ...]


class Tile(NamedTuple):
    """A register tile: for each row and each of `width` vectors of units, the sum over k of row[k] · weights[k].

    Attributes:
        accumulators: for one row, two rows and so on, how many each sum has, which are added in the end: 1, 2 or 4.
        width: the number of vectors of units.
        bits: of an element.
        bfloat16: how products of numbers that are rounded to bfloat16 are made; None where they are not rounded.
            Lengths then count pairs.
        form: of the weights, see `WEIGHT_FORMS`.
    """

    accumulators: tuple[int, ...]
    width: int
    bits: int
    bfloat16: PairProducts | None
    form: str

    @property
    def is_short(self) -> bool:
        """Whether kernels have it in place: it is of one row."""
        return len(self.accumulators) == 1

    @property
    def name(self) -> str:
        """Of the function, among those of one kernel."""
        return f"tile_{len(self.accumulators)}x{self.width}x{max(self.accumulators)}"


def tiling_of(
    program: Program,
    loop: TileLoop,
    target: Target,
    lanes: int,
    offsets: Offsets,
    most_rows: int | None,
    bfloat16: PairProducts | None,
    in_place: bool = False,
) -> Tiling:
    """The tiles of a loop.

    Args:
        program: the loop's.
        loop: the loop.
        target: the processor.
        lanes: the elements of a vector.
        offsets: where the fields of each padded buffer start.
        most_rows: for how many sequences, if few; None for any number.
        bfloat16: how products of numbers that are rounded to bfloat16 are made; None where they are not rounded.
        in_place: whether weights are read where they lie.
    """
    by_arguments: dict[tuple[int, ...], list[int]] = {}
    for k in loop.products:
        by_arguments.setdefault(program.step.values[k].args, []).append(k)
    most = max((len(own) for own in by_arguments.values()), default=1)
    has_tiles = bfloat16 is not None and bfloat16.has_tiles
    columns = 2 if has_tiles else target.columns
    unroll = _unroll(ceil(loop.size / lanes), most, GEMV_COLUMNS if in_place else columns)
    panels = tuple(
        Panel(
            tuple(own),
            *_terms(program, arguments, own, offsets),
            loop.size,
            unroll,
            _widths(len(own) * unroll, columns),
        )
        for arguments, own in by_arguments.items()
    )
    widest = max((w for panel in panels for w in panel.widths), default=columns)
    of_registers = min(target.rows(widest), most_rows or MOST_ROWS)
    rows = GEMV_ROWS if in_place else 2 * TILE_ROWS if has_tiles else of_registers
    return Tiling(loop, unroll, rows, panels)


_Terms = tuple[tuple[Location, ...], tuple[int, ...], tuple[tuple[Submatrix, ...], ...]]


def _terms(program: Program, arguments: Sequence[int], products: Iterable[int], offsets: Offsets) -> _Terms:
    """The arguments of products, their lengths and their submatrices, in the order of the columns that multiply them:
    the order of a sum, and so its bits, does not depend on where arguments lie. Those that are adjacent in memory, and
    are multiplied by adjacent columns, become one.
    """
    values = program.step.values
    locations: list[Location] = []
    lengths: list[int] = []
    terms: list[tuple[Submatrix, ...]] = []
    own_terms = [tuple(values[p].terms[k][0] for p in products) for k, _ in enumerate(arguments)]
    for matrices, a in sorted(zip(own_terms, arguments, strict=True), key=lambda term: term[0]):
        at = _location(program, a)
        if locations and at.buffer in offsets and at.buffer == locations[-1].buffer:
            own, end = offsets[at.buffer], lengths[-1]
            is_adjacent = own[at[1:]] == own[locations[-1][1:]] + end
            if is_adjacent and matrices == tuple(_shifted(m, end) for m in terms[-1]):
                lengths[-1] += values[a].size
                continue
        locations.append(at)
        lengths.append(values[a].size)
        terms.append(matrices)
    return tuple(locations), tuple(lengths), tuple(terms)


def _shifted(matrix: Submatrix, by: int) -> Submatrix:
    """The submatrix that multiplies what comes `by` elements later."""
    if matrix.transposed:
        return matrix._replace(row=matrix.row + by)
    return matrix._replace(column=matrix.column + by)


def _unroll(vectors: int, products: int, columns: int) -> int:
    """How many vectors of units make a block: enough to fill the columns, and with little padding."""
    most = max(1, min(vectors, columns // products))
    return min(range(1, most + 1), key=lambda u: (ceil(vectors / u) * u, -u))


def _widths(total: int, columns: int) -> tuple[int, ...]:
    """So many vectors in register tiles of nearly equal width."""
    tiles = ceil(total / columns)
    return tuple(total * (k + 1) // tiles - total * k // tiles for k in range(tiles))


def _location(program: Program, value: int) -> Location:
    """Where an argument of a product lies."""
    own = program.step.values[value]
    return own.location or program.stored[value][1]


class PackedVectors(NamedTuple):
    """One vector of each block of units of a panel: what `emit.pack` is passed, but for addresses and strides.

    Attributes:
        matrix: where the weights come from.
        units: the units of the panel.
        first_unit: the first unit of the vector in the first block.
        unit_step: the units from one block to the next.
        length: the elements of the sum.
        packed: where the vector goes in the first block, in elements.
        packed_step: the elements from one block to the next.
        packed_k: the elements from one k to the next.
    """

    matrix: Submatrix
    units: int
    first_unit: int
    unit_step: int
    length: int
    packed: int
    packed_step: int
    packed_k: int


@dataclass(frozen=True, eq=False)
class Packing:
    """The packed weights of a kernel.

    Attributes:
        starts: where each panel starts, in elements.
        size: the elements of all.
        vectors: what is copied to where.
    """

    starts: tuple[int, ...]
    size: int
    vectors: tuple[PackedVectors, ...]

    @classmethod
    def of(cls, panels: Iterable[Panel], lanes: int, bfloat16: PairProducts | None) -> "Packing":
        """Panel after panel."""
        starts: list[int] = []
        vectors: list[PackedVectors] = []
        size = 0
        for panel in panels:
            starts.append(size)
            depths = [depth_of(length, bfloat16) for length in panel.lengths]
            depth, columns, step = sum(depths), sum(panel.widths), panel.unroll * lanes
            first = list(accumulate(panel.widths, initial=0))
            for q in range(columns):
                tile = bisect(first, q) - 1
                before = size + first[tile] * depth * lanes + (q - first[tile]) * lanes
                pitch, done = panel.widths[tile] * lanes, 0
                for matrices, length, own_depth in zip(panel.terms, panel.lengths, depths, strict=True):
                    matrix, own = matrices[q // panel.unroll], q % panel.unroll * lanes
                    packed, packed_step = before + done * pitch, depth * columns * lanes
                    vectors.append(PackedVectors(matrix, panel.size, own, step, length, packed, packed_step, pitch))
                    done += own_depth
            size += ceil(panel.size / step) * depth * columns * lanes
        return cls(tuple(starts), size, tuple(vectors))


def depth_of(length: int, bfloat16: PairProducts | None) -> int:
    """The elements of a sum that are packed; in bfloat16 the pairs."""
    return padded(length, bfloat16.depth) // 2 if bfloat16 else length


def padded(size: int, width: int) -> int:
    """The size, rounded up to a multiple of the width."""
    return ceil(size / width) * width
