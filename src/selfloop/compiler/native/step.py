"""Program -> code: one time step of a cell, by a Writer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from selfloop.compiler.lower.operations import OPERATIONS
from selfloop.compiler.lower.program import Program, ReductionLoop, TileLoop, WholeLoop, loops
from selfloop.compiler.lower.step import SCALAR, Location, Matvec, Store
from selfloop.compiler.lower.step import Value as StepValue
from selfloop.compiler.native.weights import PartLayout
from selfloop.compiler.native.writer import Products, Value, Writer

STATE = "s_"
"""Before the name of a state: it may be that of anything else."""


def write_step(
    writer: Writer,
    name: str,
    program: Program,
    states: Mapping[str, int],
    params: Mapping[str, int],
    layout: PartLayout,
) -> None:
    """The function ``void name(weights, const float *x, float *h, …)``: a step that reads states and renews them.

    Args:
        writer: of the code.
        name: of the function.
        program: the step, for inference, in one piece.
        states: the size of each state.
        params: the size of each vector or scalar parameter, and of each matrix that the step computes with element by
            element.
        layout: of the layer's weights.
    """
    pointers = [("floats", "w"), *([(layout.layout.form, "q")] if layout.layout.form != "f32" else [])]
    parameters = [*pointers, ("floats", "x"), *(("room", STATE + state) for state in states)]
    with writer.function(name, parameters) as given:
        named = {parameter: value for (_, parameter), value in zip(parameters, given, strict=True)}
        step = _Step(writer, program, layout, layout.vectors(params), named, {}, {}, updated_in_place(program))
        step.make_room(states)
        for number, stage in enumerate(program.stages):
            for loop in loops(stage):
                step.write(number, loop)
        writer.comment("The new states take the place of the old ones.")
        for state, size in states.items():
            if state not in step.in_place:
                keep(writer, step.new[state], named[STATE + state], size)


def updated_in_place(program: Program) -> frozenset[str]:
    """The matrices among the states whose new elements take the place of the old ones at once.

    No loop reads the old ones after it, and the loop itself reads of them the element that it writes.
    """
    values, found = program.step.values, set()
    reading = [
        (number, loop, {values[k].location for k in program.inputs((s.value for s in loop.stores), number)})
        for number, stage in enumerate(program.stages)
        for loop in loops(stage)
    ]
    for number, loop, _ in reading:
        for store in loop.stores if isinstance(loop, TileLoop) and loop.rows > 1 else ():
            buffer, state, _ = store.location
            old = Location("h_prev", state)
            is_read = any(old in read for later, other, read in reading if later >= number and other is not loop)
            if buffer == "h_next" and not is_read:
                found.add(state)
    return frozenset(found)


def keep(writer: Writer, new: Value, state: Value, size: int) -> None:
    """The new state in the place of the old one."""
    writer.each(size, lambda u, _: writer.store(_flushed(writer, writer.load(new, u)), state, u))


def _flushed(writer: Writer, value: Value) -> Value:
    """0 for numbers below 1e-30: those below 1e-38 are slow."""
    is_small = writer.op("lt", writer.op("abs", value), writer.const(1e-30))
    return writer.op("where", is_small, writer.const(0.0), value)


@dataclass
class _Step:
    writer: Writer
    program: Program
    layout: PartLayout
    vectors: Mapping[str, int]
    named: Mapping[str, Value]
    new: dict[str, Value]
    room: dict[tuple[str, int], Value]
    in_place: frozenset[str]

    def make_room(self, states: Mapping[str, int]) -> None:
        """For new states, and for what lives for the step."""
        for state, size in states.items():
            is_in_place = state in self.in_place
            self.new[state] = self.named[STATE + state] if is_in_place else self.writer.room(f"new_{state}", size)
        step = self.program.step
        sizes = step.sizes("workspace")
        for name, offset in sorted({s.location[1:] for s in step.stores if s.location.buffer == "workspace"}):
            self.room[name, offset] = self.writer.room(f"t{name}_{offset}", max(1, sizes[name, offset]))

    # Loops

    def write(self, stage: int, loop: TileLoop | ReductionLoop | WholeLoop) -> None:
        """One loop of a stage."""
        if isinstance(loop, WholeLoop):
            self.whole(loop)
        elif isinstance(loop, ReductionLoop):
            self.reductions(stage, loop)
        elif loop.rows > 1:
            self.rows(stage, loop)
        else:
            self.tiles(stage, loop)

    def whole(self, loop: WholeLoop) -> None:
        """One operation after the other."""
        values = self.program.step.values
        for store in loop.stores:
            value = values[store.value]
            args = [(values[a], self._pointer(self._place(a))) for a in value.args]
            WHOLE[value.op](self.writer, value, self._pointer(store.location), *args)

    def rows(self, stage: int, loop: TileLoop) -> None:
        """Matrices, row by row."""
        columns = loop.size // loop.rows
        with self.writer.loop(loop.rows) as row:

            def body(column: Value, _: list[Value]) -> None:
                u = row * columns + column
                found = _Values(self, stage, u, {}, (row, column))
                results = [found[store.value] for store in loop.stores]
                for store, result in zip(loop.stores, results, strict=True):
                    self._store(store, u, result)

            self.writer.each(columns, body)

    def tiles(self, stage: int, loop: TileLoop) -> None:
        """For each block of units the products, then what follows from them."""
        values = self.program.step.values
        arguments = {k: tuple(a for _, a in values[k].terms) for k in loop.products}
        summed, order = [], []
        lanes = self.writer.lanes(loop.size, max(1, len(loop.products)))  # all are summed at once, block by block
        for places, group in groupby(sorted(loop.products, key=arguments.__getitem__), key=arguments.__getitem__):
            products = list(group)
            terms = tuple(tuple(matrix for matrix, _ in values[k].terms) for k in products)
            lengths = tuple(values[a].size for a in places)
            panel = self.layout.panel(terms, lengths, loop.size, lanes)
            pointers = [self._pointer(self._place(a)) for a in places]
            summed.append(Products(panel, self.named["w"], self.named.get("q"), pointers))
            order += products

        def body(u: Value, sums: list[Value]) -> None:
            found = _Values(self, stage, u, dict(zip(order, sums, strict=True)))
            results = [found[store.value] for store in loop.stores]
            for store, result in zip(loop.stores, results, strict=True):
                self._store(store, u, result)

        self.writer.each(loop.size, body, summed)

    def reductions(self, stage: int, loop: ReductionLoop) -> None:
        """Sweeps over vectors, then the scalars that follow."""
        values = self.program.step.values
        scalars: dict[int, Value] = {}
        for sweep in loop.sweeps:
            operations = [OPERATIONS[values[k].op] for k in sweep]
            totals = self.writer.sweep(
                values[values[sweep[0]].args[0]].size,
                [operation.identity for operation in operations],
                partial(self._swept, stage, loop.stores, sweep, dict(scalars)),
                is_reversed=operations[0].is_reversed,
            )
            scalars |= {k: v for k, v, o in zip(sweep, totals, operations, strict=True) if o.kind == "reduction"}
        found = _Values(self, stage, None, scalars)
        own_stores = [s for s in loop.stores if values[s.value].size == SCALAR]
        for store, result in zip(own_stores, [found[s.value] for s in own_stores], strict=True):
            pointer = self._pointer(store.location)
            self.writer.store_one(result, pointer)

    def _swept(
        self,
        stage: int,
        stores: Sequence[Store],
        sweep: Sequence[int],
        scalars: Mapping[int, Value],
        u: Value,
        sums: list[Value],
    ) -> list[Value]:
        """One unit of a sweep: the next sums."""
        values = self.program.step.values
        found = _Values(self, stage, u, scalars)
        following = []
        for k, so_far, value in zip(sweep, sums, [found[values[k].args[0]] for k in sweep], strict=True):
            operation = OPERATIONS[values[k].op]
            following.append(self.writer.op(operation.combine, so_far, value))
            for store in stores:
                if store.value == k and operation.kind == "scan":
                    self._store(store, u, following[-1])
        return following

    # Memory

    def _place(self, k: int) -> Location:
        """Where the argument of a product lies."""
        return self.program.step.values[k].location or self.program.stored[k][1]

    def _pointer(self, location: Location) -> Value:
        buffer, name, offset = location
        if buffer == "workspace":
            return self.room[name, offset]
        base = {"x": self.named["x"], "h_prev": self.named.get(STATE + name), "h_next": self.new.get(name)}.get(buffer)
        if buffer == "param":
            base, offset = self.named["w"], offset + self.vectors[name]
        assert base is not None, buffer
        return self.writer.at(base, offset)

    def _store(self, store: Store, u: Value, value: Value) -> None:
        assert not store.accumulate
        if store.location.buffer == "h_next" and store.location.name in self.in_place:
            value = _flushed(self.writer, value)
        self.writer.store(value, self._pointer(store.location), u)


Placed = tuple[StepValue, Value]
"""A vector or a matrix of a step, and where it lies."""


def _concat(w: Writer, value: StepValue, to: Value, *parts: Placed) -> None:
    start = 0
    for part, pointer in parts:
        w.copy(pointer, w.at(to, start), part.size)
        start += part.size


def _transpose(w: Writer, value: StepValue, to: Value, matrix: Placed) -> None:
    own, pointer = matrix
    w.comment(f"A matrix of {own.rows} rows, turned.")
    with w.loop(own.rows) as row, w.loop(own.columns) as column:
        w.store_one(w.one(pointer, row * own.columns + column), to, column * own.rows + row)


def _matvec(w: Writer, value: StepValue, to: Value, matrix: Placed, vector: Placed) -> None:
    """Row by row; of a transpose the sum of all rows, each times an element of the vector."""
    (own, pointer), (_, x), how = matrix, vector, value.attribute
    assert isinstance(how, Matvec)
    w.comment(f"A matrix of {own.rows} rows{', turned,' if how.transposed else ''} times a vector.")
    first = w.at(pointer, how.first * (1 if how.transposed else own.columns))
    if not how.transposed:
        with w.loop(value.size) as row:
            w.store_one(w.dot(w.at(first, row * own.columns), x, own.columns), to, row)
        return
    w.fill(to, value.size, 0.0)
    with w.loop(own.rows) as row:
        start = w.at(first, row * own.columns)
        w.each(value.size, lambda u, _: w.store(w.load(to, u) + w.one(x, row) * w.load(start, u), to, u))


WHOLE: dict[str, Callable[..., None]] = {"concat": _concat, "transpose": _transpose, "matvec": _matvec}
"""Operations on whole vectors and matrices in memory."""


class _Values:
    """The values of one unit: loaded where they are stored, else computed.

    Args:
        step: that is written.
        stage: where it stands.
        u: the unit; None for scalars.
        known: values that are there.
        place: of matrices, the row and the column.
    """

    def __init__(
        self,
        step: _Step,
        stage: int,
        u: Value | None,
        known: Mapping[int, Value],
        place: tuple[Value, Value] | None = None,
    ) -> None:
        self.step, self.stage, self.u, self.place = step, stage, u, place
        self.known: dict[int, Value] = dict(known)

    def __getitem__(self, k: int) -> Value:
        if k not in self.known:
            self.known[k] = self._compute(k)
        return self.known[k]

    def _compute(self, k: int) -> Value:
        program, writer = self.step.program, self.step.writer
        value = program.step.values[k]
        first, location = program.stored.get(k, (len(program.stages) + 1, None))
        place = value.location or (location if first <= self.stage else None)
        if place is not None:
            pointer = self.step._pointer(place)
            if value.size == SCALAR or self.u is None:
                return writer.one(pointer)
            return writer.load(pointer, self.u, "t" if place.buffer == "workspace" else place.name)
        if value.op == "outer":
            assert self.u is not None
            a, b = (self.step._pointer(self.step._place(k)) for k in value.args)
            row, column = self.place or (0, self.u)  # a matrix of one row is as a vector
            return writer.one(a, row) * writer.load(b, column)
        if value.op == "const":
            number: Any = value.attribute
            return writer.const(number)
        return writer.op(value.op, *(self[a] for a in value.args), attribute=value.attribute)
