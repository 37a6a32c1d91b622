"""Program -> KernelLayout: where values lie in memory, how weights are packed, and what the function is passed.

A kernel is ``void kernel(int64_t *block)``. The argument block has a header of numbers, then the address of each
buffer, then the address of each packed panel of weights.
"""

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil
from typing import NamedTuple

from selfloop.compiler.cpu.targets import MOST_ROWS, TILE_DEPTH, TILE_ROWS, PairProducts, Target
from selfloop.compiler.lower.program import Program, TileLoop
from selfloop.compiler.lower.step import SCALAR, Location, Submatrix

HEADER = (
    *("first_row", "end_row", "row_stride", "part", "parts", "barrier", "sched_yield"),
    *("begin", "end", "starts", "counts", "seed"),
)
"""The numbers at the start of the argument block.

    first_row, end_row, row_stride
                            the rows of this thread at each step: first_row, first_row + row_stride, … below end_row
    part, parts             this thread computes part `part` of `parts` of the units, where threads share the units
    barrier, sched_yield    the counter that such threads synchronise on, and the function that lets other threads run
    begin, end              the time steps
    starts, counts          tables: starts[t] is the first row of step t, counts[t] its number of rows (sequences)
    seed                    of what is drawn at random
"""

ROW_TABLES = ("x", "h_prev", "h_next", "dy", "dh_next", "dh_prev", "dx")
"""Buffers that are tables with the address of each row: they are the user's, or move from step to step."""

RANDOM_TABLES = ("rng_step", "rng_row")
"""For each row of each step, the user's step, and for each sequence the user's row: what is drawn depends on both."""

STEP_BUFFERS = ("residual", "cotangent")
"""Buffers with a row for each sequence of each step, one after another."""

SEQUENCE_BUFFERS = ("workspace", "dparam")
"""Buffers with a row for each sequence."""

PADDED_BUFFERS = (*STEP_BUFFERS, *SEQUENCE_BUFFERS)
"""Buffers whose fields are laid out here: each is padded to whole vectors, and needs no mask."""

WEIGHT_FORMS = {"f32": 0, "bf16": 2, "int8": 1}
"""What packed weights can be kept as, and the bytes of each: as numbers of full size (0 stands for theirs), as
bfloat16, or as whole numbers with a scale for each unit. The shorter ones are widened where they are multiplied."""

_ORDER = (
    *("dy", "dx", "cotangent", "dh_prev", "x", "dh_next", "h_next", "h_prev"),
    *("param", "residual", "rounded", "workspace", "dparam", *RANDOM_TABLES),
)
"""The order of the buffers in the argument block."""


@dataclass(frozen=True)
class Fields:
    """The fields of a buffer's row.

    Attributes:
        offsets: where each starts, in elements, by its name and the index of its first element.
        stride: the elements from one row to the next.
    """

    offsets: Mapping[tuple[str, int], int]
    stride: int

    @classmethod
    def of(cls, sizes: Mapping[tuple[str, int], int], lanes: int) -> "Fields":
        """Vectors first, each padded to whole vectors of `lanes` elements, then scalars."""
        offsets, end = {}, 0
        for name, size in sorted(sizes.items(), key=lambda item: item[1] == SCALAR):
            offsets[name] = end
            end += padded(size, lanes) if size else 1
        return cls(offsets, padded(end, lanes))

    def sharing(self, shared: Mapping[str, str]) -> "Fields":
        """These fields, and others that lie where one of these lies."""
        return Fields(
            {**self.offsets, **{(name, 0): self.offsets[other, 0] for name, other in shared.items()}}, self.stride
        )


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


@dataclass(frozen=True, eq=False)
class KernelLayout:
    """How a kernel's Program meets memory and registers.

    Attributes:
        program: the program.
        target: the processor.
        bits: of an element.
        tilings: for each stage, its tile loops with their shapes; empty for a reduction loop.
        arguments: the index of each number or address in the argument block.
        fields: the fields of the padded buffers.
        most_rows: for how many sequences it is, if few; each sum then has several accumulators. None for any number.
        bfloat16: how products of numbers that are rounded to bfloat16 are made; None where they are not rounded.
        weights: one of `WEIGHT_FORMS`. A tile of a panel with shorter ones begins with its scales, if they have any.
    """

    program: Program
    target: Target
    bits: int
    tilings: tuple[tuple[Tiling, ...], ...]
    arguments: Mapping[tuple[str, str], int]
    fields: Mapping[str, Fields]
    most_rows: int | None = None
    bfloat16: PairProducts | None = None
    weights: str = "f32"

    @property
    def has_tiles(self) -> bool:
        """Whether products are made of AMX tiles."""
        return self.bfloat16 is not None and self.bfloat16.has_tiles

    def depths(self, panel: Panel) -> list[int]:
        """The elements of each argument's sum in a packed panel, or in bfloat16 the pairs of them."""
        return [_depth(length, self.bfloat16) for length in panel.lengths]

    def depth(self, panel: Panel) -> int:
        """The elements of a whole sum in a packed panel, or in bfloat16 the pairs of them."""
        return sum(self.depths(panel))

    @cached_property
    def rounded(self) -> tuple[Mapping[tuple[Location, int], int], int]:
        """Where the arguments of products lie once they are rounded to bfloat16, by location and length; and the bytes
        from one row to the next.
        """
        found: dict[tuple[Location, int], int] = {}
        end = 0
        for panel in self.all_panels if self.bfloat16 else ():
            for argument in zip(panel.arguments, panel.lengths, strict=True):
                if argument not in found:
                    found[argument] = end
                    end += padded(argument[1], TILE_DEPTH) * 2
        return found, end | 64  # an odd number of cache lines, so that rows do not map to the same sets of the cache

    def tile_bytes(self, depth: int, width: int) -> int:
        """The bytes of a tile of a packed panel."""
        item = WEIGHT_FORMS[self.weights] or self.bits // 8
        scale = self.bits // 8 if self.weights == "int8" else 0
        return width * self.target.lanes(self.bits // 8) * (depth * item + scale)

    def tiles(self, tiling: Tiling, panel: Panel) -> tuple[Tile, ...]:
        """The register tiles of a panel's products, from left to right."""
        return tuple(
            Tile(
                tuple(self._accumulators(rows * width) for rows in range(1, tiling.rows + 1)),
                width,
                self.bits,
                self.bfloat16,
                self.weights,
            )
            for width in panel.widths
        )

    def _accumulators(self, sums: int) -> int:
        """How many accumulators each of so many sums has: enough that no FMA waits for the one before it."""
        most = self.target.registers // 2
        return max(n for n in (1, 2, 4) if n == 1 or (self.most_rows and n * sums <= most))

    @property
    def all_tiles(self) -> set[Tile]:
        """The register tiles that are functions; none where AMX multiplies."""
        pairs = ((tiling, panel) for tiling in self._tile_loops for panel in tiling.panels)
        return set() if self.has_tiles else {t for pair in pairs for t in self.tiles(*pair) if not t.is_short}

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """One panel for each matrix that is packed, in the order of the argument block."""
        return tuple({panel.packed: panel for panel in self.all_panels}.values())

    @cached_property
    def _panel_indices(self) -> Mapping[tuple[object, ...], int]:
        return {panel.packed: k for k, panel in enumerate(self.panels)}

    def panel_index(self, panel: Panel) -> int:
        """The index in `panels` of the one whose weights this panel has."""
        return self._panel_indices[panel.packed]

    @property
    def all_panels(self) -> tuple[Panel, ...]:
        """The panels of all tile loops."""
        return tuple(panel for tiling in self._tile_loops for panel in tiling.panels)

    @property
    def _tile_loops(self) -> tuple[Tiling, ...]:
        return tuple(tiling for stage in self.tilings for tiling in stage)

    @cached_property
    def packing(self) -> "Packing":
        """How the weights are packed."""
        return Packing.of(self.panels, self.target.lanes(self.bits // 8), self.bfloat16)

    @cached_property
    def weight_bytes(self) -> int:
        """The bytes of packed weights that a step reads."""
        elements = sum(self.depth(p) * len(p.products) * p.size for p in self.panels)
        return elements * (WEIGHT_FORMS[self.weights] or self.bits // 8)


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
            depths = [_depth(length, bfloat16) for length in panel.lengths]
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


def _depth(length: int, bfloat16: PairProducts | None) -> int:
    """The elements of a sum that are packed; in bfloat16 the pairs."""
    return padded(length, bfloat16.depth) // 2 if bfloat16 else length


def padded(size: int, width: int) -> int:
    """The size, rounded up to a multiple of the width."""
    return ceil(size / width) * width


def lay_out(
    program: Program,
    target: Target,
    bits: int,
    fields: Mapping[str, Fields],
    most_rows: int | None = None,
    bfloat16: PairProducts | None = None,
    weights: str = "f32",
) -> KernelLayout:
    """Give each value its place.

    Args:
        program: the program.
        target: the processor.
        bits: of an element.
        fields: those of the buffers that several programs share.
        most_rows: see KernelLayout.
        bfloat16: see KernelLayout.
        weights: see KernelLayout.
    """
    lanes = target.lanes(bits // 8)
    sizes = _sizes(program)
    own = {
        buffer: Fields.of({(at.name, at.offset): size for at, size in sizes.items() if at.buffer == buffer}, lanes)
        for buffer in SEQUENCE_BUFFERS
        if buffer not in fields
    }
    fields = {**fields, **own}
    tilings = tuple(
        tuple(_tiling(program, loop, target, lanes, fields, most_rows, bfloat16) for loop in stage)
        if isinstance(stage, tuple)
        else ()
        for stage in program.stages
    )
    buffers: dict[tuple[str, str], None] = {}
    for at in sizes:
        buffers[at.buffer, "" if at.buffer in PADDED_BUFFERS else at.name] = None
    if any(value.op == "bernoulli" for value in program.step.values):
        buffers |= {(table, ""): None for table in RANDOM_TABLES}
    if bfloat16:
        buffers["rounded", ""] = None
    names: list[tuple[str, str]] = [("header", name) for name in HEADER]
    names += sorted(buffers, key=lambda key: (_ORDER.index(key[0]), key[1]))
    packed = {panel.packed for stage in tilings for tiling in stage for panel in tiling.panels}
    names += [("panel", str(k)) for k in range(len(packed))]
    arguments = {name: k for k, name in enumerate(names)}
    return KernelLayout(program, target, bits, tilings, arguments, fields, most_rows, bfloat16, weights)


def _sizes(program: Program) -> dict[Location, int]:
    """Every location that the program reads or writes, and the size of what lies there."""
    values = program.step.values
    sizes = {v.location: v.size for v in values if v.location}
    return sizes | {s.location: values[s.value].size for s in program.step.stores}


def _tiling(
    program: Program,
    loop: TileLoop,
    target: Target,
    lanes: int,
    fields: Mapping[str, Fields],
    most_rows: int | None,
    bfloat16: PairProducts | None,
) -> Tiling:
    by_arguments: dict[tuple[int, ...], list[int]] = {}
    for k in loop.products:
        by_arguments.setdefault(program.step.values[k].args, []).append(k)
    most = max((len(own) for own in by_arguments.values()), default=1)
    has_tiles = bfloat16 is not None and bfloat16.has_tiles
    columns = 2 if has_tiles else target.columns
    unroll = _unroll(ceil(loop.size / lanes), most, columns)
    panels = tuple(
        Panel(
            tuple(own),
            *_terms(program, arguments, own, fields),
            loop.size,
            unroll,
            _widths(len(own) * unroll, columns),
        )
        for arguments, own in by_arguments.items()
    )
    widest = max((w for panel in panels for w in panel.widths), default=columns)
    rows = 2 * TILE_ROWS if has_tiles else min(target.rows(widest), most_rows or MOST_ROWS)
    return Tiling(loop, unroll, rows, panels)


_Terms = tuple[tuple[Location, ...], tuple[int, ...], tuple[tuple[Submatrix, ...], ...]]


def _terms(program: Program, arguments: Sequence[int], products: Iterable[int], fields: Mapping[str, Fields]) -> _Terms:
    """The arguments of products, their lengths and their submatrices, in the order of the columns that multiply them:
    the order of a sum, and so its bits, does not depend on where arguments lie. Those that are adjacent in memory, and
    are multiplied by adjacent columns, become one.
    """
    values = program.step.values
    locations: list[Location] = []
    lengths: list[int] = []
    terms: list[tuple[Submatrix, ...]] = []
    offsets = {buffer: own.offsets for buffer, own in fields.items()}
    own_terms = [tuple(values[p].terms[k][0] for p in products) for k, _ in enumerate(arguments)]
    for matrices, a in sorted(zip(own_terms, arguments, strict=True), key=lambda term: term[0]):
        at = _location(program, a)
        if locations and at.buffer in fields and at.buffer == locations[-1].buffer:
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
