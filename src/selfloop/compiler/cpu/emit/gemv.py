"""Products of matrices with few vectors, of weights where they lie: `gemv`, y += A x, and `gemv_transposed`, y += Aᵀ x.

Packing a matrix reads and writes it once, which takes longer than a product of few vectors. These functions depend on
no cell and no size, so that a processor compiles them once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from llvmlite import ir

from selfloop.compiler.cpu.emit.function import Function, Index, declared
from selfloop.compiler.cpu.emit.vectors import POINTER
from selfloop.compiler.cpu.targets import GEMV_ROWS, Target

NAMES = ("gemv", "gemv_transposed")
"""Of the functions, by whether the transpose is multiplied."""

CHAINS = 8
"""Sums that `gemv` adds to in turns, at least: enough that no FMA waits for the one before it."""

ROWS = 4
"""Rows of A that `gemv_transposed` adds at a time: more would be more streams than processors prefetch."""


def declare_gemv(module: ir.Module, is_transposed: bool, target: Target) -> ir.Function:
    """The function, which is written elsewhere.

    ``void gemv(float *A, float *x[GEMV_ROWS], float *y, sizes…)`` takes a matrix of m rows and n columns, the
    elements of a row side by side, the addresses of GEMV_ROWS vectors, and room for as many results, whatever `height`
    is: what is computed of those beyond it means nothing. The sizes are intptr_t:

        pitch       the elements from one row of A to the next
        y_pitch     the elements from one result to the next; each has room for whole vectors
        m, n        of A
        height      how many vectors are meant
    """
    index = ir.IntType(target.index_bits)
    function = declared(module, NAMES[is_transposed], [POINTER, POINTER, POINTER, *[index] * 5])
    function.attributes.add("nonlazybind")  # called by way of the table of addresses: it may be far away
    return function


def emit_gemv(module: ir.Module, is_transposed: bool, target: Target, bits: int) -> None:
    """Write the function that `declare_gemv` declares."""
    declare_gemv(module, is_transposed, target)
    (_Columns if is_transposed else _Rows)(module, NAMES[is_transposed], target, bits).write()


class _Gemv(Function, ABC):
    def __init__(self, module: ir.Module, name: str, target: Target, bits: int) -> None:
        super().__init__(module, name, target, bits)
        self.matrix, self.table, self.y, self.pitch, self.y_pitch, self.m, self.n, self.height = self.function.args

    def write(self) -> None:
        """The whole function: for one vector, for two, and for as many as there may be."""
        b, cases = self.builder, []
        for count in (1, 2, GEMV_ROWS):
            cases.append(self.function.append_basic_block(f"rows{count}"))
            b.position_at_end(cases[-1])
            places = [self.at(self.table, r, POINTER) for r in range(count)]
            self.write_rows([b.load(place, typ=POINTER) for place in places])
            self.finish()
        b.position_at_end(self.function.entry_basic_block)
        switch = b.switch(self.height, cases[-1])
        for count, case in enumerate(cases[:-1], start=1):
            switch.add_case(self.index(count), case)

    @abstractmethod
    def write_rows(self, given: Sequence[ir.Value]) -> None:
        """The products of the vectors at these addresses."""

    def line(self, k: Index) -> ir.Value:
        """The address of a row of A."""
        return self.at(self.matrix, self.times(k, self.pitch))

    def add(self, row: int, place: ir.Value, value: ir.Value, mask: ir.Value | None = None) -> None:
        """Add a vector to a result, from this element on."""
        address = self.at(self.y, self.plus(self.times(self.y_pitch, row), place))
        self.store(self.builder.fadd(self.load(address, mask), value), address, mask)

    def halved(self, sums: list[ir.Value], count: int) -> list[ir.Value]:
        """So many sums of several times as many."""
        while len(sums) > count:
            half = len(sums) // 2
            sums = [self.builder.fadd(a, b) for a, b in zip(sums[:half], sums[half:], strict=True)]
        return sums


class _Rows(_Gemv):
    """`gemv`: some rows of A at a time, whose sums are one for each lane, for each row of A and each vector."""

    def write_rows(self, given: Sequence[ir.Value]) -> None:
        """So many rows of A that all their sums make one vector."""
        b, lanes = self.builder, self.vectors.lanes
        high, turns = max(1, lanes // len(given)), max(1, CHAINS // lanes)
        with self.loop(0, self.m, high) as first:
            last = b.sub(self.m, self.index(1))  # stands in for the rows beyond it
            lines = [self.line(self.least(self.plus(first, r), last)) for r in range(high)]

            def turn(at: ir.Value, carried: Sequence[ir.Value], mask: ir.Value | None = None) -> list[ir.Value]:
                vectors = [self.load(self.at(own, at), mask) for own in given]
                totals: list[ir.Value] = []
                for line in lines:
                    weights = self.load(self.at(line, at), mask)
                    totals += [self.vectors.fma(weights, x, carried[len(totals) + k]) for k, x in enumerate(vectors)]
                return totals

            def several(at: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
                count = len(carried) // turns
                parts = [carried[k * count : (k + 1) * count] for k in range(turns)]
                return [own for k, part in enumerate(parts) for own in turn(self.plus(at, k * lanes), part)]

            whole = b.and_(self.n, self.index(-lanes * turns))
            start = [self.vectors.const(0.0)] * (high * len(given) * turns)
            sums = self.fold(0, whole, start, several, lanes * turns, may_be_empty=True)
            sums = self.fold(
                whole,
                self.n,
                self.halved(sums, high * len(given)),
                lambda at, carried: turn(at, carried, self.first_lanes(b.sub(self.n, at))),
                lanes,
                may_be_empty=True,
            )
            self.scatter(first, sums, high, len(given))

    def scatter(self, first: ir.Value, sums: list[ir.Value], high: int, count: int) -> None:
        """Add up the lanes of sums in the order [row of A][vector], and add them to the results from `first` on."""
        lanes = self.vectors.lanes
        for low in range(0, count, lanes):  # of the vectors, as many as there are lanes
            some = range(low, min(low + lanes, count))
            total = self.across([sums[r * count + k] for k in some for r in range(high)])
            if len(some) == 1:
                self.add(low, first, total)
                continue
            for k in some:
                place = (k - low) * high  # of its lanes
                mask = self.first_lanes(self.index(place + high))
                if place:
                    mask = self.builder.and_(mask, self.builder.not_(self.first_lanes(self.index(place))))
                self.add(k, self.builder.sub(first, self.index(place)), total, mask)

    def across(self, sums: list[ir.Value]) -> ir.Value:
        """The sums of the lanes of as many vectors as there are lanes, as one vector, in steps that halve them."""
        v, distance = self.vectors, 1
        while len(sums) > 1:
            own = [lane & distance == 0 for lane in range(v.lanes)]
            low = [lane if is_own else lane + v.lanes - distance for lane, is_own in enumerate(own)]
            high = [lane + distance if is_own else lane + v.lanes for lane, is_own in enumerate(own)]
            pairs = zip(sums[::2], sums[1::2], strict=True)
            sums = [self.builder.fadd(v.shuffled(a, b, low), v.shuffled(a, b, high)) for a, b in pairs]
            distance *= 2
        return sums[0]


class _Columns(_Gemv):
    """`gemv_transposed`: some rows of A at a time, whose elements are read as they lie, and added to the results."""

    def write_rows(self, given: Sequence[ir.Value]) -> None:
        """As many rows of A as registers hold factors of, then those that are left."""
        factors = min(ROWS, self.target.registers // 2 // len(given))
        together = 1 << max(1, factors).bit_length() - 1
        whole = self.builder.and_(self.m, self.index(-together))
        with self.loop(0, whole, together) as k:
            self.some(given, k, together)
        with self.loop(whole, self.m) as k:
            self.some(given, k, 1)

    def some(self, given: Sequence[ir.Value], first: ir.Value, count: int) -> None:
        """So many rows of A, from the first on."""
        lanes, rows = self.vectors.lanes, [self.plus(first, k) for k in range(count)]
        lines = [self.line(k) for k in rows]
        factors = [[self.load_scalar(self.at(own, k)) for k in rows] for own in given]

        def vector(place: ir.Value, mask: ir.Value | None) -> None:
            weights = [self.load(self.at(line, place), mask) for line in lines]
            for r, own in enumerate(factors):
                address = self.at(self.y, self.plus(self.times(self.y_pitch, r), place))
                total = self.load(address)
                for x, w in zip(own, weights, strict=True):
                    total = self.vectors.fma(x, w, total)
                self.store(total, address)

        whole = self.builder.and_(self.n, self.index(-lanes))
        with self.loop(0, whole, lanes) as place:
            vector(place, None)
        with self.loop(whole, self.n, lanes) as place:
            vector(place, self.first_lanes(self.builder.sub(self.n, place)))
