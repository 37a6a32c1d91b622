"""KernelLayout -> LLVM: the kernel that runs a Program for each time step.

for t in begin … end:                       (downwards in the backward step)
    for stage in stages:
        tile loop: for each block of units, for each tile of rows: the products, then the rest
        or reduction loop: for each row, sweeps over the vectors
        barrier
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from math import ceil

from llvmlite import ir

from selfloop.compiler.cpu.emit.barrier import Barrier
from selfloop.compiler.cpu.emit.bernoulli import bernoulli
from selfloop.compiler.cpu.emit.function import Index, declared
from selfloop.compiler.cpu.emit.operations import OPERATIONS
from selfloop.compiler.cpu.emit.stage_form import StageForm
from selfloop.compiler.cpu.emit.stage_memory import Row
from selfloop.compiler.cpu.emit.stage_products import StageProducts, columns_of
from selfloop.compiler.cpu.emit.vectors import POINTER
from selfloop.compiler.cpu.layout import PADDED_BUFFERS, KernelLayout
from selfloop.compiler.cpu.tiles import Panel, Tiling
from selfloop.compiler.lower.operations import OPERATIONS as LOWERED
from selfloop.compiler.lower.operations import Operation
from selfloop.compiler.lower.program import ReductionLoop
from selfloop.compiler.lower.step import SCALAR, Bernoulli, Location, Store, Value


def emit_step_loop(module: ir.Module, name: str, layout: KernelLayout, is_reversed: bool) -> None:
    """Write the function `name`, which runs the time steps upwards, or downwards if `is_reversed`."""
    _StepLoop(module, name, layout).write(is_reversed)


class _Stages(StageProducts):
    """What stages of a kernel are written with.

    Attributes:
        is_odd: whether it is an odd time step.
    """

    is_odd: ir.Value

    def __init__(self, module: ir.Module, name: str, layout: KernelLayout) -> None:
        super().__init__(module, name, layout)
        self.end_row, self.part, self.parts = map(self.header, ("end_row", "part", "parts"))

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

    def elementwise(
        self, stage: int, tiling: Tiling, block: ir.Value, here: ir.Value, low: ir.Value, high: ir.Value
    ) -> None:
        """What is computed from the products, vector by vector."""
        v, b = self.vectors, self.builder
        columns = columns_of(tiling)
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
        self, stage: int, row: Row, sweep: tuple[int, ...], stores: Iterable[Store], scalars: dict[int, ir.Value]
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


class _Values:
    """The values of one vector of units of one row: loaded where they are stored, else computed, once."""

    def __init__(
        self,
        loop: _Stages,
        stage: int,
        row: Row,
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
