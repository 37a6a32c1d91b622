"""Graph -> Step: sizes become numbers, and vectors are cut where they are split or joined."""

import itertools
from collections.abc import Mapping

from selfloop.compiler.step import SCALAR, Place, Random, Step, Store, Value, Weight, Writer
from selfloop.language.graph import Graph, Node

Piece = tuple[int, int]
"""Where a piece of a vector starts, and the value that it is; or its size."""

_KINDS = {"input": "input", "state": "old", "param": "param"}


def pieces(graph: Graph, sizes: Mapping[str, int]) -> Step:
    """The step in numbers."""
    lengths = [node.shape[0].value(sizes) if node.shape else SCALAR for node in graph.nodes]
    cuts = _cuts(graph, lengths)
    writer = Writer()
    known: list[list[Piece]] = []
    for k, node in enumerate(graph.nodes):
        bounds = sorted(cuts[k])
        spans = [(a, b - a) for a, b in itertools.pairwise(bounds)]
        if node.op == "matmul":
            known.append(_matmul(writer, str(graph.nodes[node.args[0]].value), spans, known[node.args[1]]))
        else:
            known.append(_node(writer, node, spans, [known[a] for a in node.args], [lengths[a] for a in node.args]))
    stores = [
        Store(Place("new", state, start), value)
        for state, k in zip(graph.states, graph.outputs, strict=True)
        for start, value in known[k]
    ]
    return Step(tuple(writer.values), tuple(stores))


def _cuts(graph: Graph, lengths: list[int]) -> list[set[int]]:
    """Where each vector is cut: elementwise operations need the same cuts on all sides."""
    cuts = [{0, lengths[k]} for k in range(len(graph.nodes))]

    def share(a: int, b: int, start: int) -> bool:
        """What is cut in b is cut in a, from `start` on, and the other way round."""
        inner = {c - start for c in cuts[a] if start <= c <= start + lengths[b]}
        outer = {c + start for c in cuts[b]}
        changed = not (inner <= cuts[b] and outer <= cuts[a])
        cuts[b] |= inner
        cuts[a] |= outer
        return changed

    changed = True
    while changed:
        changed = False
        for k, node in enumerate(graph.nodes):
            if node.op == "part":
                changed |= share(node.args[0], k, node.part[0] * lengths[k])
            elif node.op == "concat":
                start = 0
                for a in node.args:
                    changed |= share(k, a, start)
                    start += lengths[a]
            elif node.shape and node.op != "matmul":
                for a in node.args:
                    if lengths[a] != SCALAR:
                        changed |= share(k, a, 0)
    return cuts


def _node(writer: Writer, node: Node, spans: list[Piece], args: list[list[Piece]], lengths: list[int]) -> list[Piece]:
    if node.op in _KINDS:
        place = Place(_KINDS[node.op], str(node.value))
        if not node.shape:
            return [(0, writer.load(place, SCALAR))]
        if len(node.shape) == 2:
            return []  # a matrix is only ever a weight
        return [(start, writer.load(place._replace(offset=start), size)) for start, size in spans]
    if node.op == "const":
        assert isinstance(node.value, float)
        return [(0, writer.const(node.value))]
    if node.op == "bernoulli":
        return [
            (start, writer.add(Value("bernoulli", (), size, Random(*node.drawn, start))))
            for start, size in spans or [(0, SCALAR)]
        ]
    if node.op == "part":
        length = sum(size for _, size in spans)
        first = node.part[0] * length
        last = first + length
        return [(start - first, value) for start, value in args[0] if first <= start < last]
    if node.op == "concat":
        joined: list[Piece] = []
        start = 0
        for own, size in zip(args, lengths, strict=True):
            joined += [(start + offset, value) for offset, value in own]
            start += size
        return joined
    if node.op in ("sum", "mean", "amax"):
        return [(0, _reduction(writer, node.op, args[0], lengths[0]))]
    if not node.shape:
        return [(0, writer.apply(node.op, *(own[0][1] for own in args)))]
    if not any(lengths):  # a vector in name, made of numbers alone
        return [(start, writer.apply(node.op, *(own[0][1] for own in args))) for start, _ in spans]
    by_start = [dict(own) for own in args]
    return [
        (
            start,
            writer.apply(
                node.op, *(own[start] if size else own[0] for own, size in zip(by_start, lengths, strict=True))
            ),
        )
        for start, _ in spans
    ]


def _reduction(writer: Writer, op: str, own: list[Piece], size: int) -> int:
    if op == "amax":
        total = writer.reduce("amax", own[0][1])
        for _, value in own[1:]:
            total = writer.apply("maximum", total, writer.reduce("amax", value))
        return total
    total = writer.sum(writer.reduce("sum", value) for _, value in own)
    return writer.apply("mul", total, writer.const(1 / size)) if op == "mean" else total


def _matmul(writer: Writer, name: str, spans: list[Piece], vector: list[Piece]) -> list[Piece]:
    terms = _joined(writer, vector)
    return [
        (row, writer.sum(writer.product(size, [(Weight(name, row, column), value)]) for column, value in terms))
        for row, size in spans
    ]


def _joined(writer: Writer, vector: list[Piece]) -> list[Piece]:
    """Neighbouring loads from one array as one load: a product does not mind where a vector is cut."""
    joined: list[Piece] = []
    for start, value in vector:
        here = writer.values[value]
        if joined and here.place:
            first, before = joined[-1][0], writer.values[joined[-1][1]]
            if before.place and here.place == before.place._replace(offset=before.place.offset + before.size):
                joined[-1] = (first, writer.load(before.place, before.size + here.size))
                continue
        joined.append((start, value))
    return joined
