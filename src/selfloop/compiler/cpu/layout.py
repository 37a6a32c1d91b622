"""Program -> KernelLayout: where values lie in memory, and what the function is passed.

A kernel is ``void kernel(int64_t *block)``. The argument block has a header of numbers, then the address of each
buffer, then the address of each packed panel of weights, or of each matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from selfloop.compiler.cpu.targets import TILE_DEPTH, PairProducts, Target
from selfloop.compiler.cpu.tiles import WEIGHT_FORMS, Packing, Panel, Tile, Tiling, depth_of, padded, tiling_of
from selfloop.compiler.lower.program import Program
from selfloop.compiler.lower.step import SCALAR, Location

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
        pitches: the elements from row to row of each matrix, where products read the matrices as they lie; None where
            panels are packed.
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
    pitches: Mapping[str, int] | None = None

    @property
    def has_tiles(self) -> bool:
        """Whether products are made of AMX tiles."""
        return self.bfloat16 is not None and self.bfloat16.has_tiles

    def depths(self, panel: Panel) -> list[int]:
        """The elements of each argument's sum in a packed panel, or in bfloat16 the pairs of them."""
        return [depth_of(length, self.bfloat16) for length in panel.lengths]

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
        """The register tiles that are functions; none where AMX multiplies, or weights are read where they lie."""
        pairs = ((tiling, panel) for tiling in self._tile_loops for panel in tiling.panels)
        has_none = self.has_tiles or self.pitches is not None
        return set() if has_none else {t for pair in pairs for t in self.tiles(*pair) if not t.is_short}

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """One panel for each matrix, in the order of the argument block where they are packed."""
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
    def packing(self) -> Packing:
        """How the weights are packed."""
        return Packing.of(self.panels if self.pitches is None else (), self.target.lanes(self.bits // 8), self.bfloat16)

    @cached_property
    def weight_bytes(self) -> int:
        """The bytes of weights that a step reads."""
        elements = sum(self.depth(p) * len(p.products) * p.size for p in self.panels)
        return elements * (WEIGHT_FORMS[self.weights] or self.bits // 8)


def lay_out(
    program: Program,
    target: Target,
    bits: int,
    fields: Mapping[str, Fields],
    most_rows: int | None = None,
    bfloat16: PairProducts | None = None,
    weights: str = "f32",
    pitches: Mapping[str, int] | None = None,
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
        pitches: see KernelLayout.
    """
    lanes = target.lanes(bits // 8)
    sizes = _sizes(program)
    own = {
        buffer: Fields.of({(at.name, at.offset): size for at, size in sizes.items() if at.buffer == buffer}, lanes)
        for buffer in SEQUENCE_BUFFERS
        if buffer not in fields
    }
    fields = {**fields, **own}
    offsets = {buffer: of_buffer.offsets for buffer, of_buffer in fields.items()}
    tilings = tuple(
        tuple(
            tiling_of(program, loop, target, lanes, offsets, most_rows, bfloat16, pitches is not None) for loop in stage
        )
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
    panels = {panel.packed: panel for stage in tilings for tiling in stage for panel in tiling.panels}
    if pitches is None:
        names += [("panel", str(k)) for k in range(len(panels))]
    else:
        matrices = {matrix.name for panel in panels.values() for term in panel.terms for matrix in term}
        names += [("matrix", name) for name in sorted(matrices)]
    arguments = {name: k for k, name in enumerate(names)}
    return KernelLayout(program, target, bits, tilings, arguments, fields, most_rows, bfloat16, weights, pitches)


def _sizes(program: Program) -> dict[Location, int]:
    """Every location that the program reads or writes, and the size of what lies there."""
    values = program.step.values
    sizes = {v.location: v.size for v in values if v.location}
    return sizes | {s.location: values[s.value].size for s in program.step.stores}
