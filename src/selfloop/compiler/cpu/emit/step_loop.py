"""KernelLayout -> LLVM: the kernel that runs a Program for each time step.

for t in begin … end:                       (downwards in the backward step)
    for stage in stages:
        tile loop: for each block of units, for each tile of rows: the products, then the rest
        or reduction loop: for each row, sweeps over the vectors
        barrier
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from math import ceil

from llvmlite import ir

from selfloop.compiler.cpu.emit.amx import Block, Term, TileRegisters
from selfloop.compiler.cpu.emit.barrier import Barrier
from selfloop.compiler.cpu.emit.bernoulli import bernoulli
from selfloop.compiler.cpu.emit.bfloat16 import rounded
from selfloop.compiler.cpu.emit.function import Function, Index, declared
from selfloop.compiler.cpu.emit.gemv import declare_gemv
from selfloop.compiler.cpu.emit.operations import OPERATIONS
from selfloop.compiler.cpu.emit.products import declare_tile, short_tile
from selfloop.compiler.cpu.emit.stage_form import StageForm
from selfloop.compiler.cpu.emit.vectors import I8, I16, POINTER
from selfloop.compiler.cpu.layout import (
    PADDED_BUFFERS,
    RANDOM_TABLES,
    ROW_TABLES,
    STEP_BUFFERS,
    KernelLayout,
)
from selfloop.compiler.cpu.targets import MOST_ROWS, TILE_DEPTH, TILE_ROWS
from selfloop.compiler.cpu.tiles import Panel, Tiling, padded
from selfloop.compiler.lower.operations import OPERATIONS as LOWERED
from selfloop.compiler.lower.operations import Operation
from selfloop.compiler.lower.program import ReductionLoop
from selfloop.compiler.lower.step import SCALAR, Bernoulli, Location, Store, Value


def emit_step_loop(module: ir.Module, name: str, layout: KernelLayout, is_reversed: bool) -> None:
    """Write the function `name`, which runs the time steps upwards, or downwards if `is_reversed`."""
    _StepLoop(module, name, layout).write(is_reversed)


class _Row:
    """One sequence at one time step: its index in the batch, and its index in tables and buffers of all steps."""

    def __init__(self, in_batch: ir.Value, in_all: ir.Value) -> None:
        self.in_batch, self.in_all = in_batch, in_all


class _Stages(Function):
    """What stages of a kernel are written with.

    Attributes:
        layout: the kernel's.
        start: the first row of this thread in tables and buffers of all steps.
        rows: how many rows of the time step this thread has.
        is_odd: whether it is an odd time step.
    """

    start: ir.Value
    rows: ir.Value
    is_odd: ir.Value

    def __init__(self, module: ir.Module, name: str, layout: KernelLayout) -> None:
        super().__init__(module, name, layout.target, layout.bits)
        self.layout, self.program, self.values = layout, layout.program, layout.program.step.values
        self.bases = _Bases(self)
        self.arrays: dict[tuple[int, ...], ir.Value] = {}
        largest = max((t.rows * _columns(t) for stage in layout.tilings for t in stage), default=0)
        self.tile = self.space(max(1, largest))
        most = max((len(panel.arguments) for panel in layout.panels), default=0)
        self.row_addresses = self.builder.alloca(POINTER, size=self.index(max(1, most * MOST_ROWS)))
        self.first_row, self.end_row, self.row_stride = map(self.header, ("first_row", "end_row", "row_stride"))
        self.part, self.parts = self.header("part"), self.header("parts")
        self.amx = TileRegisters(self)

    def header(self, name: str) -> ir.Value:
        """A number of the argument block's header."""
        return self.argument(self.layout.arguments["header", name])

    def number_of(self, key: Hashable, number: int) -> Index:
        """A number by which stages of the same form may differ, see `StageForm`."""
        del key
        return number

    def numbers(self, values: tuple[int, ...]) -> ir.Value:
        """An array of these numbers, on the stack: constants would be memory that WebAssembly has to be given."""
        if values not in self.arrays:
            b = self.builder
            with b.goto_entry_block():
                self.arrays[values] = b.alloca(self.index, size=self.index(len(values)))
                for k, value in enumerate(values):
                    b.store(self.index(value), self.at(self.arrays[values], k, self.index))
        return self.arrays[values]

    def stage(self, number: int) -> None:
        """All loops of a stage."""
        own = self.program.stages[number]
        tilings = self.layout.tilings[number]
        if isinstance(own, ReductionLoop):
            self.reduction_loop(number, own)
        if self.layout.bfloat16:
            self.round(tilings)
        for tiling in tilings:
            self.tile_loop(number, tiling)

    def row(self, k: ir.Value) -> _Row:
        """The k-th row of this thread at this step."""
        steps = self.times(k, self.row_stride)
        return _Row(self.plus(self.first_row, steps), self.plus(self.start, steps))

    # Tile loops

    def tile_loop(self, stage: int, tiling: Tiling) -> None:
        """All values of one size: for each block of units and each tile of rows, the products, then the rest."""
        b = self.builder
        vectors = ceil(tiling.loop.size / self.vectors.lanes)
        blocks = ceil(vectors / tiling.unroll)
        begin = b.sdiv(self.times(self.part, blocks), self.parts)
        end = b.sdiv(self.times(self.plus(self.part, 1), blocks), self.parts)
        with self.loop(begin, end) as k:
            # Upwards at even steps, downwards at odd ones: where the cache does not hold all weights, a step begins
            # with those that the one before has left in it (an LSTM of 2 MiB, one sequence, a cache of 2 MiB: 20 µs a
            # step instead of 30).
            block = b.select(self.is_odd, b.sub(self.plus(begin, end), self.plus(k, 1)), k)
            here = self.least(tiling.unroll, b.sub(self.index(vectors), self.times(block, tiling.unroll)))
            if tiling.panels:
                tiles = b.sdiv(self.plus(self.rows, tiling.rows - 1), self.index(tiling.rows))
                with self.loop(0, tiles) as n:
                    low = b.sdiv(self.times(self.rows, n), tiles)
                    high = b.sdiv(self.times(self.rows, self.plus(n, 1)), tiles)
                    self.products_of(tiling, block, low, b.sub(high, low))
                    self.elementwise(stage, tiling, block, here, low, high)
            else:
                self.elementwise(stage, tiling, block, here, self.index(0), self.rows)

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
        b, lanes, columns = self.builder, self.vectors.lanes, _columns(tiling)
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
        columns = _columns(tiling)
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
        columns = _columns(tiling)
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

    def elementwise(
        self, stage: int, tiling: Tiling, block: ir.Value, here: ir.Value, low: ir.Value, high: ir.Value
    ) -> None:
        """What is computed from the products, vector by vector."""
        v, b = self.vectors, self.builder
        columns = _columns(tiling)
        column_of: dict[int, int] = {}
        for panel in tiling.panels:
            for k in panel.products:
                column_of[k] = len(column_of) * tiling.unroll
        with self.loop(low, high) as k, self.loop(0, here) as u:
            row = self.row(k)
            vector = self.plus(self.times(block, tiling.unroll), u)
            lane = self.times(vector, v.lanes)
            mask = self.mask(tiling.loop.size, lane)
            line = self.plus(self.times(b.sub(k, low), columns), u)

            def product(value: int) -> ir.Value:
                return self.load(self.at(self.tile, self.times(self.plus(line, column_of[value]), v.lanes)))

            values = _Values(self, stage, row, lane, mask, dict.fromkeys(column_of, product))
            results = [values[s.value] for s in tiling.loop.stores]
            for s, result in zip(tiling.loop.stores, results, strict=True):
                self.store_vector(s, row, lane, mask, result)

    # Reduction loops

    def reduction_loop(self, stage: int, loop: ReductionLoop) -> None:
        """Row by row: sweeps over the vectors, then the scalars that are computed from their results."""
        b = self.builder
        with self.loop(self.part, self.rows, self.parts) as k:
            row = self.row(k)
            scalars: dict[int, ir.Value] = {}
            for sweep in loop.sweeps:
                scalars |= self.sweep(stage, row, sweep, loop.stores, scalars)
            values = _Values(self, stage, row, self.index(0), None, {}, scalars)
            for s in loop.stores:
                if self.values[s.value].size == SCALAR:
                    address = self.address_of(s.location, row)
                    result = values[s.value]
                    self.store_scalar(b.fadd(self.load_scalar(address), result) if s.accumulate else result, address)

    def sweep(
        self, stage: int, row: _Row, sweep: tuple[int, ...], stores: Iterable[Store], scalars: dict[int, ir.Value]
    ) -> dict[int, ir.Value]:
        """Reductions and scans of vectors of one size, in one loop over them; the results of the reductions.

        Args:
            stage: the stage.
            row: the row.
            sweep: the reductions and scans.
            stores: those of the stage; the results of scans are stored here.
            scalars: the results of earlier sweeps.
        """
        v = self.vectors
        size = self.values[self.values[sweep[0]].args[0]].size
        count = ceil(size / v.lanes)
        operations = [LOWERED[self.values[k].op] for k in sweep]

        def body(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            if operations[0].is_reversed:
                index = self.builder.sub(self.index(count - 1), index)
            lane = self.times(index, v.lanes)
            mask = self.mask(size, lane)
            values = _Values(self, stage, row, lane, mask, {}, scalars)
            own = [values[self.values[k].args[0]] for k in sweep]
            if mask is not None:
                own = [v.select(mask, x, v.const(op.identity)) for x, op in zip(own, operations, strict=True)]
            totals = []
            for k, op, x, total in zip(sweep, operations, own, carried, strict=True):
                if op.kind == "scan":
                    scanned = self.combine(op, total, self.prefix(op, x))
                    for s in stores:
                        if s.value == k:
                            self.store_vector(s, row, lane, mask, scanned)
                    totals.append(v.lane(scanned, 0 if op.is_reversed else v.lanes - 1))
                else:
                    totals.append(self.combine(op, total, x))
            return totals

        totals = self.fold(0, count, [v.const(op.identity) for op in operations], body)
        results = zip(sweep, operations, totals, strict=True)
        return {k: self.across(op, total) for k, op, total in results if op.kind == "reduction"}

    def combine(self, op: Operation, a: ir.Value, b: ir.Value) -> ir.Value:
        """Two partial results as one."""
        return OPERATIONS[op.combine](self.vectors, a, b)

    def across(self, op: Operation, value: ir.Value) -> ir.Value:
        """The reduction of the lanes of a vector, in every lane."""
        lanes = self.vectors.lanes
        half = lanes // 2
        while half:
            swapped = self.vectors.shuffled(value, None, [lane ^ half for lane in range(lanes)])
            value = self.combine(op, value, swapped)
            half //= 2
        return value

    def prefix(self, op: Operation, value: ir.Value) -> ir.Value:
        """The scan of the lanes of a vector, in log2(lanes) steps (Hillis & Steele 1986)."""
        v, distance = self.vectors, 1
        while distance < v.lanes:
            others = [lane + distance if op.is_reversed else lane - distance for lane in range(v.lanes)]
            # Where there is no lane so far away, one of the identity, whose lanes come after those of the value.
            order = [other if 0 <= other < v.lanes else v.lanes for other in others]
            value = self.combine(op, value, v.shuffled(value, v.const(op.identity), order))
            distance *= 2
        return value

    # Memory

    def rng_place(self, row: _Row) -> tuple[ir.Value, ir.Value]:
        """The user's step and row, on which random draws depend."""
        steps, rows = (self.bases[table, ""] for table in RANDOM_TABLES)
        addresses = self.at(steps, row.in_all, self.index), self.at(rows, row.in_batch, self.index)
        step, own = (self.builder.load(address, typ=self.index) for address in addresses)
        return step, own

    def mask(self, size: int, lane: ir.Value) -> ir.Value | None:
        """Which lanes of the vector at `lane` are units; None where all are, in every vector."""
        if size % self.vectors.lanes == 0:
            return None
        return self.first_lanes(self.builder.sub(self.index(size), lane))

    def store_vector(self, s: Store, row: _Row, lane: ir.Value, mask: ir.Value | None, result: ir.Value) -> None:
        """Store the vector at `lane` of a value."""
        address = self.at(self.address_of(s.location, row), lane)
        outer = mask if s.location.buffer not in PADDED_BUFFERS else None
        total = self.builder.fadd(self.load(address, outer), result) if s.accumulate else result
        self.store(total, address, outer)

    def address_of(self, location: Location, row: _Row) -> ir.Value:
        """The address of a location for a row."""
        buffer, name, offset = location
        if buffer == "param":
            return self.at(self.bases[buffer, name], offset)
        if buffer in ROW_TABLES:
            return self.at(self.address(self.bases[buffer, name], row.in_all), offset)
        fields = self.layout.fields[buffer]
        index = row.in_all if buffer in STEP_BUFFERS else row.in_batch
        place = self.number_of(location, fields.offsets[name, offset])
        return self.at(self.bases[buffer, ""], self.plus(self.times(index, fields.stride), place))


class _Bases:
    """The addresses in the argument block, each read at the start of the function once it is asked for."""

    def __init__(self, function: _Stages) -> None:
        self._f = function
        self._read: dict[tuple[str, str], ir.Value] = {}

    def __getitem__(self, key: tuple[str, str]) -> ir.Value:
        if key not in self._read:
            with self._f.builder.goto_entry_block():
                self._read[key] = self._f.pointer(self._f.layout.arguments[key])
        return self._read[key]


class _StepLoop(_Stages):
    """The kernel."""

    def __init__(self, module: ir.Module, name: str, layout: KernelLayout) -> None:
        super().__init__(module, name, layout)
        self.barrier = Barrier(self, self.parts, self.header("barrier"), self.header("sched_yield"))
        self.forms = [StageForm(layout, stage) for stage in range(len(layout.tilings))]

    def write(self, is_reversed: bool) -> None:
        """The whole function."""
        begin, end = self.header("begin"), self.header("end")
        starts, counts = self.header("starts"), self.header("counts")
        b = self.builder
        starts, counts = (b.inttoptr(p, ir.PointerType()) for p in (starts, counts))
        if self.layout.has_tiles:
            self.amx.open()
        times = Counter(own.form for own in self.forms)
        functions: dict[Hashable, ir.Function] = {}
        with self.loop(begin, end) as k:
            t = b.sub(self.plus(begin, end), self.plus(k, 1)) if is_reversed else k
            self.is_odd = b.icmp_signed("!=", b.and_(t, self.index(1)), self.index(0))
            self.start = self.plus(b.load(self.at(starts, t, self.index), typ=self.index), self.first_row)
            stop = self.least(b.load(self.at(counts, t, self.index), typ=self.index), self.end_row)
            left = b.sub(self.plus(stop, self.row_stride), self.plus(self.first_row, 1))
            self.rows = self.most(b.sdiv(left, self.row_stride), 0)
            for stage, own in enumerate(self.forms):
                if times[own.form] == 1:
                    self.stage(stage)
                else:
                    if own.form not in functions:
                        name = f"{self.function.name}_stage{stage}"
                        functions[own.form] = _StageFunction(b.module, name, self.layout, stage, own).function
                    numbers = self.numbers(tuple(own.numbers))
                    arguments = [self.block, numbers, self.start, self.rows, b.zext(self.is_odd, self.index)]
                    b.call(functions[own.form], arguments)
                self.barrier.wait()
        if self.layout.has_tiles:
            self.amx.close()
        self.finish()


class _StageFunction(_Stages):
    """A stage that occurs several times: ``void stage(intptr_t *block, intptr_t *numbers, start, rows, is_odd)``."""

    def __init__(self, module: ir.Module, name: str, layout: KernelLayout, stage: int, own: StageForm) -> None:
        index = ir.IntType(layout.target.index_bits)
        declared(module, name, [POINTER, POINTER, index, index, index]).linkage = "internal"
        super().__init__(module, name, layout)
        _, self.passed, self.start, self.rows, is_odd = self.function.args
        self.is_odd = self.builder.icmp_signed("!=", is_odd, self.index(0))
        self.own = own
        self.known: dict[Hashable, ir.Value] = {}
        body = self.function.append_basic_block("body")
        self.builder.branch(body)
        self.builder.position_at_end(body)
        self.stage(stage)
        self.finish()

    def weights(self, panel: Panel) -> ir.Value:
        """Its index in the argument block is passed."""
        return self.pointer(self.passed_number(("panel", str(self.layout.panel_index(panel)))))

    def number_of(self, key: Hashable, number: int) -> Index:
        """It is passed."""
        del number
        return self.passed_number(key)

    def passed_number(self, key: Hashable) -> ir.Value:
        """A number that is passed."""
        if key not in self.known:
            with self.builder.goto_entry_block():
                place = self.at(self.passed, self.own.indices[key], self.index)
                self.known[key] = self.builder.load(place, typ=self.index)
        return self.known[key]


def _columns(tiling: Tiling) -> int:
    """The vectors of products that a row of a tile has."""
    return sum(len(panel.products) for panel in tiling.panels) * tiling.unroll


class _Values:
    """The values of one vector of units of one row: loaded where they are stored, else computed, once."""

    def __init__(
        self,
        loop: _Stages,
        stage: int,
        row: _Row,
        lane: Index,
        mask: ir.Value | None,
        products: dict[int, Callable[[int], ir.Value]],
        scalars: dict[int, ir.Value] | None = None,
    ) -> None:
        self.loop, self.stage, self.row, self.lane, self.mask = loop, stage, row, lane, mask
        self.products = products
        self.known: dict[int, ir.Value] = dict(scalars or {})

    def __getitem__(self, k: int) -> ir.Value:
        if k not in self.known:
            self.known[k] = self._compute(k, self.loop.values[k])
        return self.known[k]

    def _compute(self, k: int, value: Value) -> ir.Value:
        loop = self.loop
        if k in self.products:
            return self.products[k](k)
        if value.location:
            return self._load(value.location, value.size)
        first, location = loop.program.stored.get(k, (len(loop.program.stages) + 1, None))
        if location is not None and first <= self.stage:
            return self._load(location, value.size)
        match value.attribute:
            case Bernoulli():
                return bernoulli(loop, value.attribute, loop.header("seed"), *loop.rng_place(self.row), self.lane)
            case None:
                extra: tuple[float, ...] = ()
            case attribute:
                extra = (attribute,)  # type: ignore[assignment]
        return OPERATIONS[value.op](loop.vectors, *(self[a] for a in value.args), *extra)

    def _load(self, location: Location, size: int) -> ir.Value:
        address = self.loop.address_of(location, self.row)
        if size == SCALAR:
            return self.loop.load_scalar(address)
        mask = self.mask if location.buffer not in PADDED_BUFFERS else None
        return self.loop.load(self.loop.at(address, self.lane), mask)
