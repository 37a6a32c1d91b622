"""A cell in numbers -> its kernels: the passes in order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from llvmlite import ir

from selfloop.compiler.build import Code, build
from selfloop.compiler.emit import outer, outer_bfloat16
from selfloop.compiler.emit.launches import emit_launches
from selfloop.compiler.emit.pack import emit_pack
from selfloop.compiler.emit.sequence import emit_sequence
from selfloop.compiler.emit.stack import emit_stack
from selfloop.compiler.layout import Fields, Layout, lay_out
from selfloop.compiler.passes.differentiate import differentiate
from selfloop.compiler.passes.fuse import fuse
from selfloop.compiler.passes.hoist import Hoisted, hoist
from selfloop.compiler.passes.keep import Gradient, keep
from selfloop.compiler.passes.pieces import pieces
from selfloop.compiler.passes.schedule import Program, schedule, shared
from selfloop.compiler.step import Place, Step, Store, Weight, Writer
from selfloop.compiler.targets import Target
from selfloop.language.graph import Graph


@dataclass(frozen=True, eq=False)
class Kernels:
    """The functions of a cell, and how they meet memory.

    Attributes:
        target: the processor.
        bits: of an element.
        bfloat16: whether products are made of numbers rounded to bfloat16.
        project: the products of the input for all steps; None where there are none, or where they stay in the step.
        infer: the step forward.
        train: the step forward, which keeps a record.
        back: the step backward.
        below: the gradient of the input for all steps; None where nothing is owed through products.
        outers: those of the matrices, as products over all steps.
        totals: the size of each field of `total`: the gradients of vectors and scalars, a row for each sequence.
        direct: whether the step backward itself writes a gradient of the input.
        input: the name of the input.
        states: the size of each state; the first is the output.
        key: what the machine code is for.
    """

    target: Target
    bits: int
    bfloat16: bool
    project: Layout | None
    infer: Layout
    train: Layout
    back: Layout
    below: Layout | None
    outers: tuple["Outer", ...]
    totals: Mapping[tuple[str, int], int]
    direct: bool
    input: str
    states: Mapping[str, int]
    key: str

    @cached_property
    def forward_code(self) -> Code:
        """`project`, `infer` and `train`."""

        def write(module: ir.Module) -> None:
            for name in ("project", "infer", "train"):
                layout = getattr(self, name)
                if layout is not None:
                    emit_sequence(module, name, layout, backward=False)

        return build("forward " + self.key, self.target, write)

    @cached_property
    def backward_code(self) -> Code:
        """`back` and `below`."""

        def write(module: ir.Module) -> None:
            emit_sequence(module, "back", self.back, backward=True)
            if self.below is not None:
                emit_sequence(module, "below", self.below, backward=False)

        return build("backward " + self.key, self.target, write)

    @cached_property
    def step_code(self) -> Code:
        """`infer`, for one step at a time."""

        def write(module: ir.Module) -> None:
            emit_sequence(module, "infer", self.infer, backward=False)

        return build("step " + self.key, self.target, write)


class Outer(NamedTuple):
    """The gradient of a block of a matrix, as one product over all steps.

    Attributes:
        weight: the block.
        rows: its rows.
        columns: its columns.
        start: where in a row of `delta` lies what its rows are owed.
        argument: where what its columns multiplied lies.
    """

    weight: Weight
    rows: int
    columns: int
    start: int
    argument: Place


HOIST_FROM = 1 << 22
"""Bytes of weights from which the products of the input leave the step: below, the caches hold what a step reads, and
what the products give need not be written and read again (training an LSTM of 64, 128, 256 units takes 0.88, 0.91, 0.98
times as long with them in the step, and one of 512, 8 MiB, 1.02 times)."""


def compile(
    graph: Graph,
    sizes: Mapping[str, int],
    bits: int,
    target: Target,
    few: bool = False,
    hoist_from: int | None = HOIST_FROM,
    bfloat16: bool = False,
) -> Kernels:
    """The kernels of a cell.

    Args:
        graph: the cell.
        sizes: its named sizes.
        bits: of an element.
        target: the processor.
        few: for one row, whose sums are then made of several parts.
        hoist_from: bytes of weights above which the products of the input are made for all steps at once; None for
            never.
        bfloat16: whether products are made of numbers rounded to bfloat16.
    """
    lanes = target.lanes(bits // 8)
    states = {name: graph.shape(name)[0].value(sizes) for name in graph.states}
    step = fuse(pieces(graph, sizes))  # Graph -> Step
    hoisted: tuple[Hoisted, ...] = ()
    if hoist_from is not None and _weight_bytes(step, bits) > hoist_from:
        hoisted, step = hoist(step)  # Step -> products of the input, Step
    derivative = differentiate(step, states)  # Step -> Derivative
    kept = keep(step, derivative)  # Derivative -> what is kept, Step

    infer = schedule(step)  # Step -> Program
    train = schedule(Step(step.values, (*step.stores, *kept.stores)))
    back = schedule(kept.step)

    record = _record(train, hoisted, lanes)
    delta = Fields.of(_sizes(back, "delta"), lanes)
    gradients = kept.gradients + tuple(
        Gradient(h.weight, h.size, h.length, kept.projected[h.place.name], h.argument)
        for h in hoisted
        if h.place.name in kept.projected
    )
    below = _below(gradients, _sizes(back, "delta"), kept.step)
    return Kernels(
        target=target,
        bits=bits,
        bfloat16=bfloat16,
        project=lay_out(_project(hoisted), target, bits, {"record": record}, False, bfloat16) if hoisted else None,
        infer=lay_out(infer, target, bits, {"record": record}, few, bfloat16),
        train=lay_out(train, target, bits, {"record": record}, few, bfloat16),
        back=lay_out(back, target, bits, {"record": record, "delta": delta}, few, bfloat16),
        below=lay_out(below, target, bits, {"delta": delta}, False, bfloat16) if below else None,
        outers=_outers(gradients, delta),
        totals={place: max(1, size) for place, size in _sizes(back, "total").items()},
        direct=any(s.place.kind == "below" for s in kept.step.stores),
        input=graph.input,
        states=states,
        key=repr((graph.form, graph.params, graph.states, sorted(sizes.items()), bits, few, hoist_from, bfloat16)),
    )


@lru_cache(maxsize=8)
def tools(bits: int, target: Target, bfloat16: bool = False) -> Code:
    """What serves all cells: `launches`, `pack` and `outer`."""

    def write(module: ir.Module) -> None:
        emit_launches(module, "launches", target, bits)
        emit_pack(module, "pack", target, bits, bfloat16)
        (outer_bfloat16 if bfloat16 else outer).emit_outer(module, "outer", target, bits)

    return build(f"tools {bits} {bfloat16}", target, write)


@lru_cache(maxsize=8)
def stack_code(bits: int, target: Target) -> Code:
    """`stack`, which runs one step of layers."""

    def write(module: ir.Module) -> None:
        emit_stack(module, "stack", target, bits)

    return build(f"stack {bits}", target, write)


def _weight_bytes(step: Step, bits: int) -> int:
    """What a step reads of matrices."""
    return sum(value.size * step.values[a].size for value in step.values for _, a in value.terms) * bits // 8


def _sizes(program: Program, kind: str) -> dict[tuple[str, int], int]:
    """The fields of one kind that a program stores."""
    return {s.place[1:]: program.step.values[s.value].size for s in program.step.stores if s.place.kind == kind}


def _record(train: Program, hoisted: tuple[Hoisted, ...], lanes: int) -> Fields:
    """What is kept lies, where it can, in the place of the products of the input that it was made of."""
    sizes = _sizes(train, "record") | {h.place[1:]: h.size for h in hoisted}
    same = shared(train)
    fields = Fields.of({field: size for field, size in sizes.items() if field[0] not in same}, lanes)
    shares = {(name, 0): fields.offsets[other, 0] for name, other in same.items()}
    return Fields({**fields.offsets, **shares}, fields.stride)


def _outers(gradients: Iterable[Gradient], delta: Fields) -> tuple[Outer, ...]:
    """Blocks of rows that follow each other, in the matrix and in `delta`, are one."""
    found: list[Outer] = []
    for g in sorted(gradients, key=lambda g: (g.argument, g.columns, g.weight.column, delta.offsets[g.delta, 0])):
        own = Outer(g.weight, g.rows, g.columns, delta.offsets[g.delta, 0], g.argument)
        if found:
            rows = found[-1].rows
            weight = own.weight._replace(row=own.weight.row - rows)
            if found[-1] == own._replace(weight=weight, rows=rows, start=own.start - rows):
                found[-1] = found[-1]._replace(rows=rows + own.rows)
                continue
        found.append(own)
    return tuple(found)


def _project(hoisted: tuple[Hoisted, ...]) -> Program:
    """The products of the input."""
    writer = Writer()
    stores = [Store(h.place, writer.product(h.size, [(h.weight, writer.load(h.argument, h.length))])) for h in hoisted]
    return schedule(Step(tuple(writer.values), tuple(stores)))


def _below(gradients: tuple[Gradient, ...], deltas: Mapping[tuple[str, int], int], back: Step) -> Program | None:
    """What the input gets through the transposed weights, added to what the step backward has given it."""
    owed = [g for g in gradients if g.argument.kind == "input"]
    if not owed:
        return None
    direct = [
        (s.place.offset, s.place.offset + back.values[s.value].size) for s in back.stores if s.place.kind == "below"
    ]
    spans = [(g.argument.offset, g.argument.offset + g.columns) for g in owed]
    writer, stores = Writer(), []
    for start, end in pairwise(sorted({bound for span in (*direct, *spans) for bound in span})):
        terms = []
        for g, (first, last) in zip(owed, spans, strict=True):
            if first <= start and end <= last:
                weight = Weight(g.weight.name, g.weight.row, g.weight.column + start - first, transposed=True)
                terms.append((weight, writer.load(Place("delta", g.delta), deltas[g.delta, 0])))
        if terms:
            place = Place("below", owed[0].argument.name, start)
            total = writer.product(end - start, terms)
            if any(first <= start and end <= last for first, last in direct):
                total = writer.apply("add", total, writer.load(place, end - start))
            stores.append(Store(place, total))
    return schedule(Step(tuple(writer.values), tuple(stores)))
