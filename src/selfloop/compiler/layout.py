"""Program -> Layout: where its values lie, how its weights are packed, and what its function is given."""

from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil
from typing import NamedTuple

from selfloop.compiler.passes.schedule import Program, Tiles
from selfloop.compiler.step import SCALAR, Place, Weight
from selfloop.compiler.targets import Target

HEADER = ("first", "last", "stride", "part", "parts", "barrier", "give_way", "begin", "end", "starts", "counts", "seed")
"""What comes first in the block: this thread's rows are first, first + stride, … before last; its units are one part of
so many, which meet at a barrier; the steps; where each step's rows start in the tables, and how many there are."""

BY_TABLE = ("input", "old", "new", "above", "later", "earlier", "below")
"""Arrays of which each row has an address of its own, in a table: they are the user's, or move from step to step."""

DRAWN_FOR = ("when", "who")
"""What is drawn depends on the user's step of each row at each step, and on the user's row of each row."""

BY_STEP = ("record", "delta")
"""Arrays with a row for each sequence at each step, one after another."""

BY_ROW = ("scratch", "total")
"""Arrays with a row for each sequence."""

SPACES = (*BY_STEP, *BY_ROW)
"""Arrays whose fields are laid out here, padded to whole vectors."""

SIDE, DEPTH = 16, 32
"""Products in bfloat16 are made in tiles of so many rows and columns, summed over so many elements."""


@dataclass(frozen=True)
class Fields:
    """The fields of an array: where each starts in a row, by name and first element, and how long a row is."""

    offsets: Mapping[tuple[str, int], int]
    stride: int

    @classmethod
    def of(cls, sizes: Mapping[tuple[str, int], int], lanes: int) -> "Fields":
        """Vectors first, each padded to whole vectors, then scalars."""
        offsets, end = {}, 0
        for name, size in sorted(sizes.items(), key=lambda item: item[1] == SCALAR):
            offsets[name] = end
            end += padded(size, lanes) if size else 1
        return cls(offsets, padded(end, lanes))


@dataclass(frozen=True)
class Panel:
    """Products of one group that read the same things, as one packed matrix.

    The packed order is [block of units][columns at once][k][vector][lane].

    Attributes:
        products: the values, in the order of the columns.
        reads: where the things that are read lie.
        lengths: the size of each.
        terms: for each, the weight of each product.
        size: the units.
        unroll: the vectors of units in a block.
        widths: the vectors that are summed at once; their sum is the products times `unroll`.
    """

    products: tuple[int, ...]
    reads: tuple[Place, ...]
    lengths: tuple[int, ...]
    terms: tuple[tuple[Weight, ...], ...]
    size: int
    unroll: int
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Tiles with their shape: so many vectors of units in a block, at most so many rows, and the packed products."""

    tiles: Tiles
    unroll: int
    rows: int
    panels: tuple[Panel, ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """How a Program meets memory.

    Attributes:
        program: the program.
        target: the processor.
        bits: of an element.
        groups: for each stage of tiles, its groups.
        arguments: the block: the place of each number or address in it.
        fields: the arrays that are laid out here, by kind.
        few: whether it is for few rows, each of which then has several sums under way.
        bfloat16: whether products are made of numbers rounded to bfloat16.
    """

    program: Program
    target: Target
    bits: int
    groups: tuple[tuple[Group, ...], ...]
    arguments: Mapping[tuple[str, str], int]
    fields: Mapping[str, Fields]
    few: bool = False
    bfloat16: bool = False

    def depth(self, panel: Panel) -> int:
        """How many elements of a sum a packed matrix has, or pairs of them."""
        return sum(_depth(length, self.bfloat16) for length in panel.lengths)

    @cached_property
    def rounded(self) -> tuple[Mapping[tuple[Place, int], int], int]:
        """Where in a row what products read lies once it is rounded, by place and length; and its size, in bytes."""
        found: dict[tuple[Place, int], int] = {}
        end = 0
        for panel in self.panels if self.bfloat16 else ():
            for read in zip(panel.reads, panel.lengths, strict=True):
                if read not in found:
                    found[read] = end
                    end += _depth(read[1], True) * 4
        return found, end | 64  # an odd number of lines of the cache, so that rows do not fall on each other

    def chains(self, sums: int) -> int:
        """In how many chains each of so many sums is made: enough that no addition waits for the one before it."""
        return max(n for n in (1, 2, 4) if n == 1 or (self.few and n * sums <= self.target.registers // 2))

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All packed matrices, in the order of the block."""
        return tuple(panel for stage in self.groups for group in stage for panel in group.panels)

    @cached_property
    def packing(self) -> "Packing":
        """How the weights are packed."""
        return Packing.of(self.panels, self.target.lanes(self.bits // 8), self.bfloat16)

    @cached_property
    def weight_bytes(self) -> int:
        """What a step reads of packed matrices."""
        elements = sum(self.depth(p) * len(p.products) * p.size for p in self.panels)
        return elements * self.bits // 8


class Packed(NamedTuple):
    """A vector of each block of units of a panel: what `emit.pack` is told, but for addresses and strides."""

    weight: Weight
    units: int
    first: int
    step: int
    length: int
    goal: int
    goal_step: int
    goal_k: int


@dataclass(frozen=True, eq=False)
class Packing:
    """The packed weights of a function: where each panel starts, in elements; their size; and the vectors in them."""

    starts: tuple[int, ...]
    size: int
    vectors: tuple[Packed, ...]

    @classmethod
    def of(cls, panels: Iterable[Panel], lanes: int, bfloat16: bool) -> "Packing":
        """Panel after panel."""
        starts: list[int] = []
        vectors: list[Packed] = []
        size = 0
        for panel in panels:
            starts.append(size)
            depths = [_depth(length, bfloat16) for length in panel.lengths]
            depth, columns, step = sum(depths), sum(panel.widths), panel.unroll * lanes
            first = list(accumulate(panel.widths, initial=0))
            for q in range(columns):
                group = bisect(first, q) - 1
                before = size + first[group] * depth * lanes + (q - first[group]) * lanes
                pitch, done = panel.widths[group] * lanes, 0
                for weights, length, own_depth in zip(panel.terms, panel.lengths, depths, strict=True):
                    weight, own = weights[q // panel.unroll], q % panel.unroll * lanes
                    goal = before + done * pitch
                    vectors.append(Packed(weight, panel.size, own, step, length, goal, depth * columns * lanes, pitch))
                    done += own_depth
            size += ceil(panel.size / step) * depth * columns * lanes
        return cls(tuple(starts), size, tuple(vectors))


def _depth(length: int, bfloat16: bool) -> int:
    """How many elements of a sum are packed, or pairs of them: whole tiles."""
    return padded(length, DEPTH) // 2 if bfloat16 else length


def padded(size: int, width: int) -> int:
    """The size rounded up to whole vectors."""
    return ceil(size / width) * width


def lay_out(
    program: Program,
    target: Target,
    bits: int,
    fields: Mapping[str, Fields],
    few: bool = False,
    bfloat16: bool = False,
) -> Layout:
    """Give every value its place; `fields` has the arrays that more than one program shares."""
    lanes = target.lanes(bits // 8)
    places = _places(program)
    own = {
        kind: Fields.of({(p.name, p.offset): size for p, size in places.items() if p.kind == kind}, lanes)
        for kind in BY_ROW
        if kind not in fields
    }
    fields = {**fields, **own}
    groups = tuple(
        tuple(_group(program, tiles, target, lanes, fields, bfloat16) for tiles in stage)
        if isinstance(stage, tuple)
        else ()
        for stage in program.stages
    )
    arrays: dict[tuple[str, str], None] = {}
    for place in places:
        arrays[place.kind, "" if place.kind in SPACES else place.name] = None
    if any(value.op == "bernoulli" for value in program.step.values):
        arrays |= {(kind, ""): None for kind in DRAWN_FOR}
    if bfloat16:
        arrays["rounded", ""] = None
    names: list[tuple[str, str]] = [("header", name) for name in HEADER]
    names += sorted(arrays)
    names += [("panel", str(k)) for k in range(sum(len(group.panels) for stage in groups for group in stage))]
    return Layout(program, target, bits, groups, {name: k for k, name in enumerate(names)}, fields, few, bfloat16)


def _places(program: Program) -> dict[Place, int]:
    """Every place the program reads or writes, and the size of what lies there."""
    values = program.step.values
    places = {v.place: v.size for v in values if v.place}
    return places | {s.place: values[s.value].size for s in program.step.stores}


def _group(
    program: Program, tiles: Tiles, target: Target, lanes: int, fields: Mapping[str, Fields], bfloat16: bool
) -> Group:
    by_reading: dict[tuple[int, ...], list[int]] = {}
    for k in tiles.products:
        by_reading.setdefault(program.step.values[k].args, []).append(k)
    most = max((len(own) for own in by_reading.values()), default=1)
    columns = 2 if bfloat16 else target.columns
    unroll = _unroll(ceil(tiles.size / lanes), most, columns)
    panels = tuple(
        Panel(
            tuple(own),
            *_terms(program, reading, own, fields),
            tiles.size,
            unroll,
            _widths(len(own) * unroll, columns),
        )
        for reading, own in by_reading.items()
    )
    widest = max((w for panel in panels for w in panel.widths), default=columns)
    return Group(tiles, unroll, 2 * SIDE if bfloat16 else target.rows(widest), panels)


_Terms = tuple[tuple[Place, ...], tuple[int, ...], tuple[tuple[Weight, ...], ...]]


def _terms(program: Program, reading: Iterable[int], products: Iterable[int], fields: Mapping[str, Fields]) -> _Terms:
    """What is read, how long it is, and by which weights. Neighbours in memory are read as one."""
    values = program.step.values
    places: list[Place] = []
    lengths: list[int] = []
    terms: list[tuple[Weight, ...]] = []
    offsets = {kind: own.offsets for kind, own in fields.items()}
    found = [(_read(program, a), k, a) for k, a in enumerate(reading)]
    for place, k, a in sorted(found, key=lambda f: offsets[f[0].kind][f[0][1:]] if f[0].kind in offsets else -1):
        weights = tuple(values[p].terms[k][0] for p in products)
        if places and place.kind in fields and place.kind == places[-1].kind:
            own, end = offsets[place.kind], lengths[-1]
            near = own[place[1:]] == own[places[-1][1:]] + end
            if near and weights == tuple(_shifted(w, end) for w in terms[-1]):
                lengths[-1] += values[a].size
                continue
        places.append(place)
        lengths.append(values[a].size)
        terms.append(weights)
    return tuple(places), tuple(lengths), tuple(terms)


def _shifted(weight: Weight, by: int) -> Weight:
    """The block of the matrix that multiplies what comes `by` elements later."""
    if weight.transposed:
        return weight._replace(row=weight.row + by)
    return weight._replace(column=weight.column + by)


def _unroll(vectors: int, products: int, columns: int) -> int:
    """How many vectors of units make a block: enough to fill the columns, and with little padding."""
    most = max(1, min(vectors, columns // products))
    return min(range(1, most + 1), key=lambda u: (ceil(vectors / u) * u, -u))


def _widths(total: int, columns: int) -> tuple[int, ...]:
    """So many vectors in rounds of nearly equal width."""
    rounds = ceil(total / columns)
    return tuple(total * (k + 1) // rounds - total * k // rounds for k in range(rounds))


def _read(program: Program, value: int) -> Place:
    """Where an argument of a product lies."""
    own = program.step.values[value]
    return own.place or program.kept[value][1]
