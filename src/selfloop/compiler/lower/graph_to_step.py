"""Graph -> Step: sizes become numbers, and vectors are cut into pieces where they are split or concatenated.

After this pass `split` and `concat` are gone, and each piece of a vector is a value of its own. In an LSTM the four
gates `W @ x + U @ h + b` become four sums of products, each of size h, of a quarter of the rows of `W` and `U`.

Matrices that differ from step to step are not cut. What multiplies one is put together again where it was cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import prod
from typing import NamedTuple

from selfloop.compiler.lower.operations import OPERATIONS, OWN_ARITY
from selfloop.compiler.lower.step import SCALAR, Bernoulli, Builder, Location, Matvec, Step, Store, Submatrix, Value
from selfloop.compiler.lower.verify import verified
from selfloop.language.graph import STORED, Graph, Node
from selfloop.language.operations import OF_MATRICES


class Piece(NamedTuple):
    """A contiguous part of a vector: the index of its first element, and the value that holds it."""

    start: int
    value: int


class Block(NamedTuple):
    """A part of a matrix that is not zero: where it begins in the matrix, its size, and where it lies."""

    row: int
    column: int
    rows: int
    columns: int
    stored: Submatrix


@verified
def graph_to_step(graph: Graph, sizes: Mapping[str, int]) -> Step:
    """The forward step of a cell.

    Args:
        graph: the cell.
        sizes: the number of each of its named sizes, as ``{"x": 64, "h": 128}``.
    """
    lengths = [prod(size.value(sizes) for size in node.shape) if node.shape else SCALAR for node in graph.nodes]
    cuts = _cuts(graph, lengths, sizes)
    builder = Builder()
    pieces: list[list[Piece]] = []
    for k, node in enumerate(graph.nodes):
        spans = [(a, b - a) for a, b in pairwise(sorted(cuts[k]))]
        lower = LOWERINGS.get(node.op, _elementwise)
        pieces.append(
            lower(
                _Site(builder, node, spans, sizes),
                *(_Operand(pieces[a], lengths[a], _blocks(graph, a, sizes)) for a in node.args),
            )
        )
    return builder.finish(
        Store(Location("h_next", state, piece.start), piece.value)
        for state, k in zip(graph.states, graph.outputs, strict=True)
        for piece in pieces[k]
    )


def _cuts(graph: Graph, lengths: list[int], sizes: Mapping[str, int]) -> list[set[int]]:
    """Where each vector is cut: all operands of an elementwise operation are cut in the same places."""
    cuts = [{0, lengths[k]} for k in range(len(graph.nodes))]

    def share(a: int, b: int, start: int) -> bool:
        """Make the cuts of b those of a from `start` on, and the other way round."""
        inner = {c - start for c in cuts[a] if start <= c <= start + lengths[b]}
        outer = {c + start for c in cuts[b]}
        changed = not (inner <= cuts[b] and outer <= cuts[a])
        cuts[b] |= inner
        cuts[a] |= outer
        return changed

    for k, node in enumerate(graph.nodes):
        if node.op == "matmul":
            matrix, vector = node.args
            for block in _blocks(graph, matrix, sizes):
                cuts[k] |= {block.row, block.row + block.rows}
                cuts[vector] |= {block.column, block.column + block.columns}
    changed = True
    while changed:
        changed = False
        for k, node in enumerate(graph.nodes):
            if node.op == "part":
                changed |= share(node.args[0], k, node.span(sizes)[0])
            elif node.op == "concat":
                start = 0
                for a in node.args:
                    if lengths[a] == SCALAR:
                        changed |= not {start, start + 1} <= cuts[k]
                        cuts[k] |= {start, start + 1}
                    else:
                        changed |= share(k, a, start)
                    start += lengths[a] or 1
            elif node.shape and node.op not in OF_MATRICES | {"matmul"}:
                for a in node.args:
                    if lengths[a] != SCALAR:
                        changed |= share(k, a, 0)
    return cuts


def _blocks(graph: Graph, k: int, sizes: Mapping[str, int]) -> tuple[Block, ...]:
    """The blocks of a stored matrix: one, or those of a block-diagonal one, of which no other element is stored."""
    node = graph.nodes[k]
    if node.op not in STORED or len(node.shape) != 2:
        return ()
    rows, columns = (size.value(sizes) for size in node.shape)
    if node.op == "param":
        return (Block(0, 0, rows, columns, Submatrix(str(node.value), 0, 0)),)
    stacked, heads = node.blocks(sizes)
    name, height, width = str(graph.nodes[node.args[0]].value), rows // (stacked * heads), columns // heads
    if heads == 1:
        return (Block(0, 0, rows, columns, Submatrix(name, 0, 0)),)
    starts = ((number * height, number % heads * width) for number in range(stacked * heads))
    return tuple(Block(row, column, height, width, Submatrix(name, row, 0)) for row, column in starts)


@dataclass(frozen=True)
class _Site:
    """A node that is being lowered: where its values go, the (start, size) of each piece of its result, named sizes."""

    builder: Builder
    node: Node
    spans: list[tuple[int, int]]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class _Operand:
    """An argument of a node: its pieces and its length; of a matrix, its blocks."""

    pieces: list[Piece]
    length: int
    blocks: tuple[Block, ...]

    def at(self, start: int) -> int:
        """The piece that starts here; a scalar has the same value everywhere."""
        return next(p.value for p in self.pieces if p.start == start or self.length == SCALAR)


Lowering = Callable[..., list[Piece]]


def _elementwise(site: _Site, *operands: _Operand) -> list[Piece]:
    extra = site.node.value if isinstance(site.node.value, int | float) else None
    starts = [start for start, _ in site.spans] if site.node.shape else [0]
    return [
        Piece(start, site.builder.apply(site.node.op, *(own.at(start) for own in operands), attribute=extra))
        for start in starts
    ]


def _load(buffer: str) -> Lowering:
    def lowering(site: _Site) -> list[Piece]:
        location = Location(buffer, str(site.node.value))
        if len(site.node.shape) == 2:
            rows, columns = (size.value(site.sizes) for size in site.node.shape)
            return [Piece(0, site.builder.load(location, rows * columns, rows))]
        if not site.node.shape:
            return [Piece(0, site.builder.load(location, SCALAR))]
        return [Piece(start, site.builder.load(location._replace(offset=start), size)) for start, size in site.spans]

    return lowering


def _const(site: _Site) -> list[Piece]:
    assert isinstance(site.node.value, float)
    return [Piece(0, site.builder.const(site.node.value))]


def _bernoulli(site: _Site) -> list[Piece]:
    spans = site.spans if site.node.shape else [(0, SCALAR)]
    return [
        Piece(start, site.builder.add(Value("bernoulli", (), size, Bernoulli(*site.node.drawn, start))))
        for start, size in spans
    ]


def _part(site: _Site, vector: _Operand) -> list[Piece]:
    first, end = site.node.span(site.sizes)
    return [Piece(p.start - first, p.value) for p in vector.pieces if first <= p.start < end]


def _concat(site: _Site, *vectors: _Operand) -> list[Piece]:
    joined: list[Piece] = []
    start = 0
    for vector in vectors:
        if vector.length == SCALAR:
            joined.append(Piece(start, site.builder.add(Value("broadcast", (vector.at(0),), 1))))
        else:
            joined += [Piece(start + p.start, p.value) for p in vector.pieces]
        start += vector.length or 1
    return joined


def _reduction(op: str, combine: str) -> Lowering:
    """A reduction of each piece, and those combined."""

    def lowering(site: _Site, vector: _Operand) -> list[Piece]:
        builder = site.builder
        parts = (builder.reduce(op, p.value) for p in vector.pieces)
        return [Piece(0, reduce(lambda a, b: builder.apply(combine, a, b), parts))]

    return lowering


def _scan(op: str, combine: str) -> Lowering:
    """A scan of each piece, combined with the reduction of the pieces before it."""
    reduction = next(name for name, row in OPERATIONS.items() if row.kind == "reduction" and row.combine == combine)

    def lowering(site: _Site, vector: _Operand) -> list[Piece]:
        builder, found = site.builder, []
        before: int | None = None
        for start, value in vector.pieces:
            own = builder.scan(op, value)
            found.append(Piece(start, own if before is None else builder.apply(combine, before, own)))
            total = builder.reduce(reduction, value)
            before = total if before is None else builder.apply(combine, before, total)
        return found

    return lowering


def _mean(site: _Site, vector: _Operand) -> list[Piece]:
    ((_, total),) = _reduction("sum", "add")(site, vector)
    return [Piece(0, site.builder.apply("mul", total, site.builder.const(1 / vector.length)))]


def _matmul(site: _Site, matrix: _Operand, vector: _Operand) -> list[Piece]:
    builder, found = site.builder, []
    if not matrix.blocks:
        return _matvec(site, matrix.at(0), _whole(builder, vector))
    for start, size in site.spans:
        products = []
        for row, column, rows, columns, (name, first_row, first_column, _) in matrix.blocks:
            if row <= start < row + rows:
                own = [p for p in vector.pieces if column <= p.start < column + columns]
                for p in _joined(builder, own):
                    stored = Submatrix(name, first_row + start - row, first_column + p.start - column)
                    products.append(builder.product(size, [(stored, p.value)]))
        found.append(Piece(start, builder.sum(products)))
    return found


def _no_pieces(site: _Site, blocks: _Operand) -> list[Piece]:
    """A block-diagonal matrix is only ever part of a product."""
    del site, blocks
    return []


def _matvec(site: _Site, matrix: int, vector: int) -> list[Piece]:
    """The product of a matrix that differs from step to step; its transpose is read where it lies."""
    builder = site.builder
    turned = builder.values[matrix].op == "transpose"
    stored = builder.values[matrix].args[0] if turned else matrix
    return [
        Piece(start, builder.add(Value("matvec", (stored, vector), size, Matvec(start, turned))))
        for start, size in site.spans
    ]


def _outer(site: _Site, a: _Operand, b: _Operand) -> list[Piece]:
    args = _whole(site.builder, a), _whole(site.builder, b)
    return [Piece(0, site.builder.add(Value("outer", args, a.length * b.length, rows=a.length)))]


def _transpose(site: _Site, matrix: _Operand) -> list[Piece]:
    own = site.builder.values[matrix.at(0)]
    return [Piece(0, site.builder.add(Value("transpose", (matrix.at(0),), own.size, rows=own.columns)))]


def _whole(builder: Builder, vector: _Operand) -> int:
    """A vector as one value, wherever it is cut."""
    pieces = _joined(builder, vector.pieces)
    if len(pieces) == 1:
        return pieces[0].value
    return builder.add(Value("concat", tuple(p.value for p in pieces), vector.length))


def _joined(builder: Builder, pieces: list[Piece]) -> list[Piece]:
    """Adjacent loads from one buffer as one load: a product reads a vector whole, wherever it is cut."""
    joined: list[Piece] = []
    for piece in pieces:
        here = builder.values[piece.value]
        if joined and here.location:
            first, before = joined[-1].start, builder.values[joined[-1].value]
            end = before.location and before.location._replace(offset=before.location.offset + before.size)
            if before.location and here.location == end:
                joined[-1] = Piece(first, builder.load(before.location, before.size + here.size))
                continue
        joined.append(piece)
    return joined


LOWERINGS: dict[str, Lowering] = {
    "input": _load("x"),
    "state": _load("h_prev"),
    "param": _load("param"),
    "const": _const,
    "bernoulli": _bernoulli,
    "part": _part,
    "concat": _concat,
    "matmul": _matmul,
    "block_diagonal": _no_pieces,
    "outer": _outer,
    "transpose": _transpose,
    "mean": _mean,
    **{name: _reduction(name, row.combine) for name, row in OPERATIONS.items() if row.kind == "reduction"},
    **{
        name: _scan(name, row.combine)
        for name, row in OPERATIONS.items()
        if row.kind == "scan" and name not in OWN_ARITY
    },
}
"""How each operation of a Graph is lowered. An operation without a row is elementwise."""
