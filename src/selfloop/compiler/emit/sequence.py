"""Layout -> LLVM: the function that walks the steps."""

from collections.abc import Callable, Iterable
from math import ceil

from llvmlite import ir

from selfloop.compiler.emit.barrier import Barrier
from selfloop.compiler.emit.bfloat16 import I8, I16, Block, Term, Tiles, rounded
from selfloop.compiler.emit.loops import Function, Index
from selfloop.compiler.emit.operations import OPERATIONS
from selfloop.compiler.emit.products import sums
from selfloop.compiler.emit.random import bernoulli
from selfloop.compiler.emit.vectors import I32, I64
from selfloop.compiler.layout import BY_STEP, BY_TABLE, DEPTH, DRAWN_FOR, SIDE, SPACES, Group, Layout, padded
from selfloop.compiler.passes.schedule import Reductions
from selfloop.compiler.step import REDUCTIONS, SCALAR, Place, Random, Value

Load = Callable[[Place, int], ir.Value]


def emit_sequence(module: ir.Module, name: str, layout: Layout, backward: bool) -> None:
    """Write the function `name`, which walks the steps up, or down where it is backward."""
    _Sequence(module, name, layout).write(backward)


class _Row:
    """One sequence at one step: its place in the batch, and in the arrays of all steps."""

    def __init__(self, own: ir.Value, place: ir.Value) -> None:
        self.own, self.place = own, place


class _Sequence(Function):
    def __init__(self, module: ir.Module, name: str, layout: Layout) -> None:
        super().__init__(module, name, layout.target, layout.bits)
        self.layout, self.program, self.values = layout, layout.program, layout.program.step.values
        self.bases = {key: self.pointer(k) for key, k in layout.arguments.items() if key[0] != "header"}
        self.panels = {panel: self.bases["panel", str(k)] for k, panel in enumerate(layout.panels)}
        tile = max(
            (
                group.rows * sum(len(p.products) for p in group.panels) * group.unroll
                for s in layout.groups
                for group in s
            ),
            default=0,
        )
        self.tile = self.space(max(1, tile))
        self.first, self.last, self.stride = (self.header(name) for name in ("first", "last", "stride"))
        self.part, self.parts = self.header("part"), self.header("parts")
        self.processor = Tiles(self)
        self.barrier = Barrier(self, self.parts, self.header("barrier"), self.header("give_way"))

    def header(self, name: str) -> ir.Value:
        """A number at the start of the block."""
        return self.argument(self.layout.arguments["header", name])

    def write(self, backward: bool) -> None:
        """The whole function."""
        begin, end = self.header("begin"), self.header("end")
        starts, counts = self.header("starts"), self.header("counts")
        b = self.builder
        starts, counts = (b.inttoptr(p, ir.PointerType()) for p in (starts, counts))
        if self.layout.bfloat16:
            self.processor.open()
        with self.loop(begin, end) as k:
            t = b.sub(self.plus(begin, end), self.plus(k, 1)) if backward else k
            self.is_odd = b.icmp_signed("!=", b.and_(t, I64(1)), I64(0))
            self.start = self.plus(b.load(self.at(starts, t, I64), typ=I64), self.first)
            stop = self.least(b.load(self.at(counts, t, I64), typ=I64), self.last)
            left = b.sub(self.plus(stop, self.stride), self.plus(self.first, 1))
            self.rows = self.most(b.sdiv(left, self.stride), 0)
            for stage, groups in enumerate(self.layout.groups):
                own = self.program.stages[stage]
                if isinstance(own, Reductions):
                    self.reductions(stage, own)
                if self.layout.bfloat16:
                    self.round(groups)
                for group in groups:
                    self.tiles(stage, group)
                self.barrier.meet()
        if self.layout.bfloat16:
            self.processor.close()
        self.finish()

    def row(self, k: ir.Value) -> _Row:
        """The k-th row of this thread."""
        steps = self.times(k, self.stride)
        return _Row(self.plus(self.first, steps), self.plus(self.start, steps))

    # Tiles.

    def tiles(self, stage: int, group: Group) -> None:
        """All values of one size: block of units by block of units, rows by rows, products first."""
        b = self.builder
        vectors = ceil(group.tiles.size / self.vectors.lanes)
        blocks = ceil(vectors / group.unroll)
        begin = b.sdiv(self.times(self.part, blocks), self.parts)
        end = b.sdiv(self.times(self.plus(self.part, 1), blocks), self.parts)
        with self.loop(begin, end) as k:
            # Up at even steps, down at odd ones: where the cache has no room for all weights, each begins with those
            # that the one before left there (an LSTM of 2 MiB, one sequence, a cache of 2 MiB: 20 µs a step, not 30).
            block = b.select(self.is_odd, b.sub(self.plus(begin, end), self.plus(k, 1)), k)
            here = self.least(group.unroll, b.sub(I64(vectors), self.times(block, group.unroll)))
            if group.panels:
                rounds = b.sdiv(self.plus(self.rows, group.rows - 1), I64(group.rows))
                with self.loop(0, rounds) as n:
                    low = b.sdiv(self.times(self.rows, n), rounds)
                    high = b.sdiv(self.times(self.rows, self.plus(n, 1)), rounds)
                    products = self.products_of_tiles if self.layout.bfloat16 else self.products
                    products(group, block, low, b.sub(high, low))
                    self.rest(stage, group, block, here, low, high)
            else:
                self.rest(stage, group, block, here, I64(0), self.rows)

    def products(self, group: Group, block: ir.Value, low: ir.Value, height: ir.Value) -> None:
        """The products of a tile, by a piece of code for each height."""
        b = self.builder
        after = self.function.append_basic_block("summed")
        cases = [self.function.append_basic_block(f"rows{rows}") for rows in range(1, group.rows + 1)]
        switch = b.switch(height, cases[-1])
        for rows, case in enumerate(cases, start=1):
            switch.add_case(I64(rows), case)
            b.position_at_end(case)
            own = [self.row(self.plus(low, r)) for r in range(rows)]
            column = 0
            total = sum(len(panel.products) * panel.unroll for panel in group.panels)
            for panel in group.panels:
                addresses = [[self.address_of(place, row) for row in own] for place in panel.reads]
                depth = self.layout.depth(panel)
                width_all = sum(panel.widths)
                weights = self.at(self.panels[panel], self.times(block, depth * width_all * self.vectors.lanes))
                start = 0
                for width in panel.widths:
                    here = self.at(weights, start * depth * self.vectors.lanes)
                    result = sums(self, addresses, panel.lengths, here, width, self.layout.chains(rows * width))
                    for r in range(rows):
                        for c in range(width):
                            slot = r * total + column + start + c
                            self.store(result[r][c], self.at(self.tile, slot * self.vectors.lanes))
                    start += width
                column += width_all
            b.branch(after)
        b.position_at_end(after)

    def round(self, groups: Iterable[Group]) -> None:
        """What the products of a stage read, rounded to bfloat16."""
        places, pitch = self.layout.rounded
        panels = [panel for group in groups for panel in group.panels]
        reads = dict.fromkeys(read for panel in panels for read in zip(panel.reads, panel.lengths, strict=True))
        with self.loop(0, self.rows if reads else 0) as k:
            line = self.at(self.bases["rounded", ""], self.times(k, pitch), I8)
            row = self.row(k)
            for place, length in reads:
                source, goal = self.address_of(place, row), self.at(line, places[place, length], I8)
                with self.loop(0, padded(length, DEPTH), self.vectors.lanes) as lane:
                    value = self.load(self.at(source, lane), self.first_lanes(self.builder.sub(I64(length), lane)))
                    self.builder.store(rounded(self, value), self.at(goal, lane, I16), align=2)

    def products_of_tiles(self, group: Group, block: ir.Value, low: ir.Value, height: ir.Value) -> None:
        """The products of one or two tiles of rows, in bfloat16."""
        places, pitch = self.layout.rounded
        lanes, item = self.vectors.lanes, self.vectors.bytes
        total = sum(len(panel.products) * panel.unroll for panel in group.panels)
        line = self.at(self.bases["rounded", ""], self.times(low, pitch), I8)
        is_high = self.builder.icmp_signed(">", height, I64(SIDE))
        column = 0
        for panel in group.panels:
            depth = self.layout.depth(panel)
            weights = self.at(self.panels[panel], self.times(block, depth * sum(panel.widths) * lanes))
            for width in panel.widths:
                terms, done = [], 0
                for place, length in zip(panel.reads, panel.lengths, strict=True):
                    pairs = padded(length, DEPTH) // 2
                    rows = Block(self.at(line, places[place, length], I8), pitch)
                    terms.append(Term(rows, Block(self.at(weights, done * width * lanes), width * lanes * item), pairs))
                    done += pairs
                sums = Block(self.at(self.tile, column * lanes), total * lanes * item)
                with self.builder.if_else(is_high) as (two, one):
                    with two:
                        self.processor.products(2, width, terms, sums)
                    with one:
                        self.processor.products(1, width, terms, sums)
                weights = self.at(weights, depth * width * lanes)
                column += width

    def rest(self, stage: int, group: Group, block: ir.Value, here: ir.Value, low: ir.Value, high: ir.Value) -> None:
        """What is made of the products, vector by vector."""
        v, b = self.vectors, self.builder
        total = sum(len(panel.products) * panel.unroll for panel in group.panels)
        columns: dict[int, int] = {}
        for panel in group.panels:
            for k in panel.products:
                columns[k] = len(columns) * group.unroll
        with self.loop(low, high) as k, self.loop(0, here) as u:
            row = self.row(k)
            vector = self.plus(self.times(block, group.unroll), u)
            lane = self.times(vector, v.lanes)
            mask = self.mask(group.tiles.size, lane)
            line = self.plus(self.times(b.sub(k, low), total), u)

            def summed(value: int) -> ir.Value:
                return self.load(self.at(self.tile, self.times(self.plus(line, columns[value]), v.lanes)))

            made = _Values(self, stage, row, lane, mask, dict.fromkeys(columns, summed))
            results = [made[s.value] for s in group.tiles.stores]
            for s, result in zip(group.tiles.stores, results, strict=True):
                address = self.at(self.address_of(s.place, row), lane)
                outer = mask if s.place.kind not in SPACES else None
                total = b.fadd(self.load(address, outer), result) if s.add else result
                self.store(total, address, outer)

    # Reductions.

    def reductions(self, stage: int, own: Reductions) -> None:
        """Row by row: walks over the vectors, then what is made of their sums."""
        b = self.builder
        with self.loop(self.part, self.rows, self.parts) as k:
            row = self.row(k)
            scalars: dict[int, ir.Value] = {}
            for walk in own.passes:
                scalars |= self.walk(stage, row, walk, scalars)
            made = _Values(self, stage, row, I64(0), None, {}, scalars)
            for s in own.stores:
                address = self.address_of(s.place, row)
                result = made[s.value]
                self.store_scalar(b.fadd(self.load_scalar(address), result) if s.add else result, address)

    def walk(
        self, stage: int, row: _Row, reductions: tuple[int, ...], scalars: dict[int, ir.Value]
    ) -> dict[int, ir.Value]:
        """Reductions of one size, made together; `scalars` are those that are known."""
        size = self.values[self.values[reductions[0]].args[0]].size
        ops = [self.values[r].op for r in reductions]

        def body(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            lane = self.times(index, self.vectors.lanes)
            mask = self.mask(size, lane)
            made = _Values(self, stage, row, lane, mask, {}, scalars)
            own = [made[self.values[r].args[0]] for r in reductions]
            if mask is not None:
                own = [self.vectors.select(mask, v, self.neutral(op)) for v, op in zip(own, ops, strict=True)]
            return [self.join(op, total, v) for op, total, v in zip(ops, carried, own, strict=True)]

        totals = self.fold(0, ceil(size / self.vectors.lanes), [self.neutral(op) for op in ops], body)
        return {r: self.across(op, total) for r, op, total in zip(reductions, ops, totals, strict=True)}

    def neutral(self, op: str) -> ir.Value:
        """What changes nothing."""
        return self.vectors.const(0.0 if op == "sum" else float("-inf"))

    def join(self, op: str, a: ir.Value, b: ir.Value) -> ir.Value:
        """Two parts of a reduction."""
        return OPERATIONS["add" if op == "sum" else "maximum"](self.vectors, a, b)

    def across(self, op: str, value: ir.Value) -> ir.Value:
        """The reduction of the lanes, in every lane."""
        v, half = self.vectors, self.vectors.lanes // 2
        while half:
            order = ir.Constant(ir.VectorType(I32, v.lanes), [lane ^ half for lane in range(v.lanes)])
            value = self.join(op, value, self.builder.shuffle_vector(value, ir.Constant(v.type, ir.Undefined), order))
            half //= 2
        return value

    # Memory.

    def drawn_for(self, row: _Row) -> tuple[ir.Value, ir.Value]:
        """The user's step and row."""
        when, who = (self.bases[kind, ""] for kind in DRAWN_FOR)
        places = self.at(when, row.place, I64), self.at(who, row.own, I64)
        step, own = (self.builder.load(place, typ=I64) for place in places)
        return step, own

    def mask(self, size: int, lane: ir.Value) -> ir.Value | None:
        """Which lanes of the vector at `lane` are units, where not all always are."""
        if size % self.vectors.lanes == 0:
            return None
        return self.first_lanes(self.builder.sub(I64(size), lane))

    def address_of(self, place: Place, row: _Row) -> ir.Value:
        """Where a place lies for a row."""
        if place.kind == "param":
            return self.at(self.bases["param", place.name], place.offset)
        if place.kind in BY_TABLE:
            return self.at(self.address(self.bases[place.kind, place.name], row.place), place.offset)
        fields = self.layout.fields[place.kind]
        index = row.place if place.kind in BY_STEP else row.own
        offset = fields.offsets[place.name, place.offset]
        return self.at(self.bases[place.kind, ""], self.plus(self.times(index, fields.stride), offset))


class _Values:
    """The values of one vector of units of one row: loaded where they are kept, else made, once."""

    def __init__(
        self,
        sequence: _Sequence,
        stage: int,
        row: _Row,
        lane: Index,
        mask: ir.Value | None,
        summed: dict[int, Callable[[int], ir.Value]],
        scalars: dict[int, ir.Value] | None = None,
    ) -> None:
        self.sequence, self.stage, self.row, self.lane, self.mask = sequence, stage, row, lane, mask
        self.summed = summed
        self.known: dict[int, ir.Value] = dict(scalars or {})

    def __getitem__(self, k: int) -> ir.Value:
        if k not in self.known:
            self.known[k] = self._make(k, self.sequence.values[k])
        return self.known[k]

    def _make(self, k: int, value: Value) -> ir.Value:
        s = self.sequence
        if k in self.summed:
            return self.summed[k](k)
        if value.place:
            return self._load(value.place, value.size)
        made, place = s.program.kept.get(k, (len(s.program.stages) + 1, None))
        if place is not None and made <= self.stage:
            return self._load(place, value.size)
        match value.op:
            case "const":
                assert isinstance(value.detail, float)
                return s.vectors.const(value.detail)
            case "zeros":
                return s.vectors.const(0.0)
            case "bernoulli":
                assert isinstance(value.detail, Random)
                return bernoulli(s, value.detail, s.header("seed"), *s.drawn_for(self.row), self.lane)
        assert value.op not in (*REDUCTIONS, "product"), f"{value} is not at hand in stage {self.stage}"
        return OPERATIONS[value.op](s.vectors, *(self[a] for a in value.args))

    def _load(self, place: Place, size: int) -> ir.Value:
        address = self.sequence.address_of(place, self.row)
        if size == SCALAR:
            return self.sequence.load_scalar(address)
        mask = self.mask if place.kind not in SPACES else None
        return self.sequence.load(self.sequence.at(address, self.lane), mask)
